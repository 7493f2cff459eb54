from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import autorec_zoo
from autorec_kernel.errors import AutoRecError, ContractError, UsageError
from autorec_kernel.models import build_network
from autorec_zoo import BST, DIN, DSSM, ESMM, FM, MF, Bag, DeepFM, Field, History, LightGCN, MMoE, Numeric, SASRec, SharedBottom

REFERENCE = {  # the 21 models of the reference and the arguments that it lists, in its order
    "DSSM": "user_features item_features hidden_units dropout_rates embedding_dim",
    "FaceBookDSSM": "user_features item_features hidden_units num_tasks task_types",
    "YouTubeDNN": "user_features item_features hidden_units embedding_dim max_seq_len",
    "GRU4Rec": "item_num hidden_size num_layers dropout_rate embedding_dim",
    "NARM": "item_num hidden_size attention_size dropout_rate embedding_dim",
    "SASRec": "item_num max_len num_heads num_layers hidden_size dropout_rate",
    "MIND": "item_num num_interests routing_iterations hidden_size embedding_dim",
    "WideDeep": "wide_features deep_features hidden_units dropout_rates",
    "DeepFM": "features hidden_units dropout_rates embedding_dim",
    "DCN": "features cross_num hidden_units",
    "DCNv2": "features cross_num hidden_units cross_parameterization",
    "AFM": "features attention_units embedding_dim dropout_rate",
    "FiBiNET": "features bilinear_type hidden_units reduction_ratio",
    "DIN": "features behavior_features attention_units hidden_units activation",
    "DIEN": "features behavior_features interest_units gru_type hidden_units",
    "BST": "features behavior_features num_heads num_layers hidden_size dropout_rate",
    "EDCN": "features cross_num hidden_units gate_type",
    "SharedBottom": "features hidden_units task_hidden_units num_tasks task_types",
    "ESMM": "features hidden_units tower_units embedding_dim",
    "MMoE": "features expert_units num_experts num_tasks expert_activation gate_activation",
    "PLE": "features expert_units num_experts num_layers num_shared_experts task_types",
}
COLUMNS = [Field("user_id", 20), Field("item_id", 30), Field("device", 3), Bag("genres", 6), Numeric("price", 2)]
PAST = History("history", "item_id", 30)
BATCH = {
    "user_id": torch.tensor([1, 2, 0]),
    "item_id": torch.tensor([30, 1, 0]),
    "device": torch.tensor([3, 0, 1]),
    "genres": torch.tensor([[1, 2], [6, 0], [0, 0]]),
    "price": torch.randn(3, 2),
    "history": torch.tensor([[1, 2, 3], [4, 0, 0], [0, 0, 0]]),
}


def arguments(name: str) -> dict[str, object]:
    """Return what any model of the reference can be built from, without data."""
    asked = set(inspect.signature(getattr(autorec_zoo, name)).parameters)
    offered = {
        "features": COLUMNS,
        "wide_features": COLUMNS[:3],
        "deep_features": COLUMNS,
        "behavior_features": [PAST],
        "user_features": [Field("user_id", 20)],
        "item_features": [Field("item_id", 30), Bag("genres", 6)],
        "item_num": 30,
    }
    return {key: value for key, value in offered.items() if key in asked} | ({"columns": [PAST]} if name == "YouTubeDNN" else {})


@pytest.mark.parametrize("name", REFERENCE)
def test_the_listed_arguments_come_first_and_in_order(name):
    listed = REFERENCE[name].split()
    found = [key for key, value in inspect.signature(getattr(autorec_zoo, name)).parameters.items() if value.kind != value.KEYWORD_ONLY]
    assert [key for key in found if key in listed] == listed, "the reference's arguments are missing or in another order"
    assert found[: len(listed)] == listed, "options of our own follow those of the reference"


@pytest.mark.parametrize("name", REFERENCE)
def test_a_model_is_built_from_records_alone(name):
    network = getattr(autorec_zoo, name)(**arguments(name))
    assert isinstance(network, nn.Module)
    assert sum(parameter.numel() for parameter in network.parameters()) > 0


@pytest.mark.parametrize("name", REFERENCE)
def test_an_unknown_argument_is_a_type_error_that_offers_the_nearest(name):
    listed = REFERENCE[name].split()[-1]
    with pytest.raises(TypeError, match="has no argument") as caught:
        getattr(autorec_zoo, name)(**{listed[:-1] + "z": 1})
    assert isinstance(caught.value, UsageError)
    assert repr(listed) in caught.value.hint


def test_an_argument_like_no_other_is_answered_with_the_list():
    with pytest.raises(TypeError, match="qqqq") as caught:
        DeepFM(qqqq=1)
    assert "hidden_units" in caught.value.hint


def test_arguments_may_be_given_by_place_but_not_twice():
    assert len(DeepFM(COLUMNS, [8]).parts["n_deep"]) == len(DeepFM(COLUMNS, hidden_units=[8]).parts["n_deep"])
    with pytest.raises(TypeError, match="multiple values"):
        DeepFM(COLUMNS, features=COLUMNS)


def test_a_wrong_value_names_the_model_and_the_option():
    with pytest.raises(UsageError, match=r"zoo/deepfm.*hidden_units"):
        DeepFM(COLUMNS, hidden_units="wide")


@pytest.mark.parametrize(("model", "task"), [("DeepFM", "click"), ("DIN", "click"), ("DIEN", "rate"), ("SASRec", "recommend")])
def test_constructor_and_recipe_give_the_same_network_byte_for_byte(kernel, features_of, model, task):
    schema = features_of(task).schema
    with torch.random.fork_rng():
        torch.manual_seed(99)
        made = getattr(autorec_zoo, model)(schema=schema, seed=5, kernel=kernel)
    graph = kernel.create("blueprint", f"zoo/{model.lower()}").architecture(schema)
    recipe = build_network(graph, schema, kernel, seed=5)
    assert made.architecture.to_json() == recipe.architecture.to_json()
    first, second = made.state_dict(), recipe.state_dict()
    assert list(first) == list(second)
    assert all(first[name].numpy().tobytes() == second[name].numpy().tobytes() for name in first)


def test_features_may_be_named_columns_of_a_schema(features_of):
    network = DeepFM(features=["user_id", "item_id", "price"], schema=features_of("click").schema)
    assert network.inputs == ("user_id", "item_id", "price")


def test_a_record_beside_a_schema_is_refused(features_of):
    with pytest.raises(UsageError, match="describes columns"):
        DeepFM(features=[Field("user_id", 3)], schema=features_of("click").schema)


def test_the_network_reads_what_the_records_say():
    network = DeepFM(COLUMNS, hidden_units=[8], embedding_dim=4).eval()
    assert network.inputs == tuple(column.name for column in COLUMNS)
    (answers,) = network.serve(*(BATCH[name] for name in network.inputs))
    assert answers.shape == (3,)
    assert ((answers > 0) & (answers < 1)).all()
    assert network.stores["4"].weight.shape == (21 + 31 + 4 + 7, 4), "each vocabulary has one row more: the unknown one"


def test_another_seed_gives_other_weights():
    first, second, third = (FM(COLUMNS, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], third[name]) for name in first)


def test_history_and_item_column_share_their_embeddings():
    network = DIN(COLUMNS, [PAST], activation="relu")
    assert network.parts["n_history"].keys == network.parts["n_candidate"].keys == ("item_id",)


def test_item_num_counts_real_items():
    network = SASRec(item_num=30, max_len=5, hidden_size=8, num_heads=1).eval()
    assert network.item_vectors().shape == (31, 8)
    assert network.serve(torch.tensor([[30, 1, 0]]))[0].shape == (1, 8)


def test_item_num_must_agree_with_the_schema(features_of):
    schema = features_of("recommend").schema
    assert SASRec(item_num=schema.items - 1, schema=schema).item_vectors().shape[0] == schema.items
    with pytest.raises(ContractError, match="item_num"):
        SASRec(item_num=7, schema=schema)


def test_labels_become_tasks():
    assert DeepFM(COLUMNS).tasks == ("label",)
    assert FM(COLUMNS, labels="clicked").tasks == ("clicked",)
    assert ESMM(COLUMNS).tasks == ("click", "conversion")
    assert MMoE(COLUMNS, num_tasks=3).tasks == ("task_1", "task_2", "task_3")
    mixed = SharedBottom(COLUMNS, task_types=["classification", "regression"], labels=["clicked", "stars"])
    assert mixed.links == {"clicked": "logit", "stars": "value"}
    assert MMoE(COLUMNS, labels=["a", "b"], tasks=["regression", "regression"]).links == {"a": "value", "b": "value"}
    assert FM(COLUMNS, labels={"minutes": (0, 90)}).parts["n_score"].offset.item() == pytest.approx(45.0)


def test_labels_and_their_kinds_must_be_as_many():
    with pytest.raises(UsageError, match="1 labels"):
        SharedBottom(COLUMNS, task_types=["classification", "regression"], labels=["clicked"])
    with pytest.raises(UsageError, match="'ordinal'"):
        FM(COLUMNS, labels={"stars": "ordinal"})


def test_columns_of_one_vocabulary_must_agree_in_size():
    with pytest.raises(UsageError, match="one size"):
        DIN([Field("item_id", 30)], [History("history", "item_id", 29)])
    with pytest.raises(UsageError, match="two ways"):
        DSSM(user_features=[Field("user_id", 3)], item_features=[Field("item_id", 4), Field("user_id", 5)])


def test_a_history_without_its_item_column_is_refused():
    with pytest.raises(ContractError, match="candidate"):
        BST([Field("device", 3)], [PAST])


def test_models_without_feature_lists_take_columns():
    assert MF(columns=[Field("user_id", 20), Field("item_id", 30)], embedding_dim=8).item_vectors().shape == (31, 8)


def test_closed_forms_are_solved_on_a_feature_set(features_of):
    features = features_of("recommend")
    network = LightGCN(schema=features).eval()
    assert np.abs(network.item_vectors().numpy()[1:]).sum() > 0


def test_every_blueprint_of_the_zoo_has_a_constructor():
    from autorec_zoo.plugin import autorec_blueprints

    public = set(dir(autorec_zoo))
    assert set(REFERENCE) <= public
    assert len([name for name in public if name in autorec_zoo.constructors.names.constructor_names()]) == len(autorec_blueprints())


def test_help_tells_every_argument():
    text = inspect.getdoc(DeepFM)
    assert all(f"{name}:" in text for name in inspect.signature(DeepFM).parameters)
    assert DeepFM.__name__ == "DeepFM"
    assert DeepFM is autorec_zoo.DeepFM


def test_a_misspelt_model_is_answered_with_the_nearest():
    with pytest.raises(AttributeError, match="DeepFM"):
        _ = autorec_zoo.DeepFm


def test_importing_the_zoo_and_reading_its_help_loads_no_torch():
    code = "import sys, inspect, autorec_zoo\ninspect.getdoc(autorec_zoo.DeepFM); dir(autorec_zoo)\nprint('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout == "False\n"


def test_errors_of_constructors_are_errors_of_the_kernel():
    with pytest.raises(AutoRecError):
        DeepFM(hidden_unit=1)


def test_what_is_solved_on_events_is_refused_without_them(features_of):
    with pytest.raises(ContractError, match="needs data") as caught:
        LightGCN(columns=[Field("user_id", 20), Field("item_id", 30)])
    assert "schema=<FeatureSet>" in caught.value.hint
    with pytest.raises(ContractError, match="needs data"):
        LightGCN(schema=features_of("recommend").schema)


def test_towers_without_data_count_every_item_alike():
    network = DSSM([Field("user_id", 20)], [Field("item_id", 30)], dropout_rates=[]).train()
    ids = torch.tensor([1, 2, 3])
    batch = {"user_id": ids, "item_id": ids + 4, "@target": ids + 4}
    values = network(batch)
    scores = values["user"] @ values["chosen"].T
    plain = torch.nn.functional.cross_entropy(scores, torch.arange(3))
    assert values["loss"].item() == pytest.approx(plain.item(), abs=1e-5)


def test_an_item_tower_of_ids_is_served_without_data():
    assert DSSM([Field("user_id", 20)], [Field("item_id", 30)], embedding_dim=32).eval().item_vectors().shape == (31, 32)
    network = DSSM([Field("user_id", 20)], [Field("item_id", 30), Bag("genres", 6)]).eval()
    with pytest.raises(ContractError, match="genres") as caught:
        network.item_vectors()
    assert "attach" in caught.value.hint


def test_a_new_network_is_in_training_mode_like_any_module():
    assert DeepFM(COLUMNS).training
    assert ".eval()" in inspect.getdoc(DeepFM)


@pytest.mark.parametrize("size", [-3, 0, "x", 3.5, True])
def test_a_column_is_told_how_many_values_it_can_have(size):
    for record in (lambda: Field("a", size), lambda: Bag("a", size), lambda: Numeric("a", size), lambda: History("a", "item_id", size)):
        with pytest.raises(UsageError, match=r"'a'.*whole number of at least 1"):
            record()
    assert Field("a", np.int64(3)).size == 3


def test_a_side_or_a_schema_of_another_kind_is_refused():
    with pytest.raises(UsageError, match="'users'"):
        Field("a", 3, of="users")
    with pytest.raises(UsageError, match="got a dict"):
        DeepFM(["a"], schema={})


def test_the_only_id_of_users_is_the_user():
    network = DSSM([Field("member", 20, of="user")], [Field("item_id", 30)])
    assert network.inputs == ("member",)
