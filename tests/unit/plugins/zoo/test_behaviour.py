"""DIN, DIEN and BST and the words they are made of: formulas against loops, what padding and order do, and options that are honoured."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from autorec_blocks.dense import Mlp
from autorec_blocks.dice import Dice
from autorec_blocks.pool import AttentionWeights
from autorec_blocks.recurrent import AttentionGru
from autorec_blocks.scale_loss import ScaleLoss
from autorec_blocks.sequence import Gru
from autorec_blocks.sequence_parts import AppendStep, NextSteps, ProjectSteps, ScaleSteps
from autorec_kernel.errors import ContractError
from autorec_kernel.models import build_network
from autorec_kernel.models.products import derived
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.records.features import Feature
from autorec_kernel.testing.block_cases import build
from autorec_kernel.testing.network_cases import batches, network_for, train_steps
from autorec_zoo import BST, DIEN, DIN, Bag, Field, History

STEPS_OF_4 = TensorSpec("sequence", width=4)
WEIGHTS = TensorSpec("sequence", width=1)
VECTOR = TensorSpec("vector", width=4)
LENGTHS = [5, 3, 1, 0]
MASK = torch.arange(5) < torch.tensor(LENGTHS)[:, None]


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


STEPS = drawn(4, 5, 4) * MASK[..., None]
NOISY = torch.where(MASK[..., None], STEPS, torch.full_like(STEPS, 7.0))  # other numbers on padding
TARGET = drawn(4, 4, seed=3)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


# --- Dice -----------------------------------------------------------------------------------------------------------------------


def test_dice_in_training_standardises_by_the_batch():
    module = Dice(3)
    module.alpha.data = torch.tensor([0.0, 0.25, -0.5])
    values = drawn(6, 3) * 3 + 1
    found = module(values).detach().numpy()
    for row in range(6):
        for channel in range(3):
            column = values[:, channel].numpy()
            share = sigmoid((column[row] - column.mean()) / np.sqrt(column.var() + 1e-8))
            expected = share * column[row] + (1 - share) * module.alpha[channel].item() * column[row]
            assert found[row, channel] == pytest.approx(expected, abs=1e-5)


def test_dice_in_serving_reads_running_moments_so_that_a_row_is_answered_alike_in_any_batch():
    module = Dice(3).train()
    for seed in range(200):
        module(drawn(64, 3, seed=seed) * 2 + 5)
    assert torch.allclose(module.mean, torch.full((3,), 5.0), atol=0.3)
    assert torch.allclose(module.variance, torch.full((3,), 4.0), atol=0.8)
    module.eval()
    values = drawn(9, 3)
    alone = torch.cat([module(values[row : row + 1]) for row in range(9)])
    assert torch.equal(module(values), alone)
    assert "mean" in module.state_dict(), "moments are stored with the weights"


def test_masked_steps_do_not_enter_the_moments_of_dice():
    first, second = Dice(4).train(), Dice(4).train()
    on_real, on_all = first(STEPS, MASK), second(NOISY, MASK)
    assert torch.allclose(on_real[MASK], on_all[MASK])
    assert torch.equal(first.mean, second.mean)


@pytest.mark.parametrize("rows", [2, 3, 5000])  # the last takes several blocks of rows
def test_the_gradient_of_dice_by_hand_is_the_derived_one(rows):
    values, given = drawn(rows, 16) * 2 + 1, drawn(rows, 16, seed=1)
    found = []
    for by_torch in (False, True):
        module, own = Dice(16).train(), values.clone().requires_grad_()
        module.alpha.data = torch.linspace(-0.5, 0.5, 16)
        with derived() if by_torch else nullcontext():
            made = module(own)
            made.backward(given)
        found.append((made.detach(), own.grad, module.alpha.grad / rows, module.mean, module.variance))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=2e-6)


@pytest.mark.parametrize("activation", ["dice", "prelu", "sigmoid", "relu"])
def test_an_activation_unit_trained_on_real_steps_alone_has_the_weights_and_gradients_of_all_steps(activation):
    found = []
    for by_torch in (False, True):
        module = build(
            AttentionWeights(AttentionWeights.Config(activation=activation, attention_dims=(6, 3))), [STEPS_OF_4, VECTOR]
        ).train()
        own, target = NOISY.clone().requires_grad_(), TARGET.clone().requires_grad_()
        with derived() if by_torch else nullcontext():
            weights = module((own, MASK), target)[0]
            (weights * torch.arange(1.0, 6.0)[:, None]).sum().backward()
        found.append([weights.detach(), own.grad, target.grad, *(one.grad for one in module.parameters())])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_dice_of_a_single_row_is_finite():
    assert torch.isfinite(Dice(3).train()(drawn(1, 3))).all()


def test_dice_remembers_a_tenth_of_each_batch():
    module, mean, variance = Dice(3).train(), torch.zeros(3), torch.ones(3)
    for seed in range(4):
        rows = drawn(50, 3) * (seed + 1) + seed
        module(rows)
        mean, variance = 0.9 * mean + 0.1 * rows.mean(0), 0.9 * variance + 0.1 * rows.var(0, unbiased=False)
        assert torch.allclose(module.mean, mean, atol=1e-5)
        assert torch.allclose(module.variance, variance, rtol=1e-4)


@pytest.mark.parametrize("real", [0, 1])
def test_dice_keeps_its_moments_where_less_than_two_rows_are_real(real):
    module = Dice(3).train()
    module(drawn(50, 3) + 2)
    kept = module.mean.clone(), module.variance.clone()
    module(drawn(5, 3), torch.arange(5) < real)
    assert torch.equal(module.mean, kept[0])
    assert torch.equal(module.variance, kept[1])


# --- perceptron: one dropout rate a layer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dropout", "rates"), [(0.0, []), ((), []), (0.3, [0.3, 0.3, 0.3]), ((0.1, 0.2), [0.1, 0.2, 0.2]), ((0.0, 0.5, 0.0), [0.5])]
)
def test_a_shorter_list_of_rates_repeats_its_last_one(dropout, rates):
    module = build(Mlp(Mlp.Config(hidden_dims=(8, 8, 8), dropout=dropout)), [VECTOR])
    assert [layer.rate for layer in module if hasattr(layer, "rate")] == rates


def test_a_perceptron_without_layers_hands_its_input_on():
    block = Mlp(Mlp.Config(hidden_dims=()))
    assert block.output([VECTOR]) == VECTOR
    assert torch.equal(build(block, [VECTOR])(TARGET), TARGET)


# --- attention ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("activation", ["sigmoid", "dice", "prelu"])
def test_a_unit_weighs_each_real_step_by_step_target_difference_and_product(softmax, activation):
    config = AttentionWeights.Config(softmax=softmax, activation=activation, attention_dims=(6, 3))
    module = build(AttentionWeights(config), [STEPS_OF_4, VECTOR]).eval()
    expected = torch.zeros(4, 5)
    for row, length in enumerate(LENGTHS):
        pairs = [torch.cat([s, TARGET[row], s - TARGET[row], s * TARGET[row]]) for s in STEPS[row, :length]]
        weights = torch.stack([module.unit(pair)[0] for pair in pairs]) if pairs else torch.zeros(0)
        expected[row, :length] = torch.softmax(weights, 0) if softmax and pairs else weights
    weights, mask = module((NOISY, MASK), TARGET)
    assert torch.allclose(weights[..., 0], expected, atol=1e-5)
    assert torch.equal(mask, MASK)


@pytest.mark.parametrize("form", ["unit", "bilinear"])
@pytest.mark.parametrize("softmax", [False, True])
def test_padded_steps_weigh_exactly_nothing(form, softmax):
    module = build(AttentionWeights(AttentionWeights.Config(form=form, softmax=softmax)), [STEPS_OF_4, VECTOR]).eval()
    weights, _ = module((NOISY * 1e6, MASK), TARGET)
    assert not weights[~MASK].any()
    assert torch.isfinite(weights).all()


def test_bilinear_weights_are_a_softmax_of_products_through_a_matrix():
    wide = TensorSpec("vector", width=6)
    module = build(AttentionWeights(AttentionWeights.Config(form="bilinear", softmax=True)), [STEPS_OF_4, wide]).eval()
    target, matrix = drawn(4, 6, seed=8).numpy(), module.weight.weight.detach().numpy()
    weights = module((NOISY, MASK), torch.from_numpy(target))[0].detach().numpy()
    for row, length in enumerate(LENGTHS[:3]):
        scores = np.array([STEPS[row, t].numpy() @ matrix @ target[row] for t in range(length)])
        assert weights[row, :length, 0] == pytest.approx(np.exp(scores) / np.exp(scores).sum(), abs=1e-5)


def test_a_unit_compares_equal_widths():
    with pytest.raises(ContractError, match="width"):
        AttentionWeights(AttentionWeights.Config()).output([STEPS_OF_4, TensorSpec("vector", width=5)])


# --- recurrent units --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["augru", "agru"])
def test_an_attention_cell_follows_its_equations(mode):
    module = build(AttentionGru(AttentionGru.Config(width=3, mode=mode)), [STEPS_OF_4, WEIGHTS]).eval()
    share = torch.rand(4, 5, 1, generator=torch.Generator().manual_seed(5))
    inputs, bias = module.inputs.weight.detach().numpy().reshape(-1, 3, 4), module.inputs.bias.detach().numpy().reshape(-1, 3)
    states = module.states.weight.detach().numpy().reshape(-1, 3, 3)
    found = module((NOISY, MASK), (share, MASK))[0].detach().numpy()
    for row, length in enumerate(LENGTHS):
        state = np.zeros(3)
        for t in range(length):
            step, a = STEPS[row, t].numpy(), share[row, t, 0].item()
            reset = sigmoid(inputs[0] @ step + bias[0] + states[0] @ state)
            new = np.tanh(inputs[-1] @ step + bias[-1] + reset * (states[-1] @ state))
            update = a * sigmoid(inputs[1] @ step + bias[1] + states[1] @ state) if mode == "augru" else a
            state = (1 - update) * state + update * new
            assert found[row, t] == pytest.approx(state, abs=1e-5)
        assert not found[row, length:].any()


def test_a_step_without_attention_leaves_the_state_of_an_attention_cell():
    module = build(AttentionGru(AttentionGru.Config(width=3)), [STEPS_OF_4, WEIGHTS]).eval()
    share = torch.ones(4, 5, 1)
    share[0, 2] = 0
    states = module((STEPS, MASK), (share, MASK))[0]
    assert torch.equal(states[0, 2], states[0, 1])


def test_a_plain_unit_over_scaled_inputs_is_the_aigru_cell():
    scale, unit = build(ScaleSteps(ScaleSteps.Config()), [STEPS_OF_4, WEIGHTS]), build(Gru(Gru.Config(width=3)), [STEPS_OF_4]).eval()
    share = torch.rand(4, 5, 1, generator=torch.Generator().manual_seed(6))
    found = unit(scale((NOISY, MASK), (share, MASK)))[0].detach().numpy()
    weights = {name: value.detach().numpy() for name, value in unit.unit.named_parameters()}
    ins, hid = weights["weight_ih_l0"].reshape(3, 3, 4), weights["weight_hh_l0"].reshape(3, 3, 3)
    b_in, b_hid = weights["bias_ih_l0"].reshape(3, 3), weights["bias_hh_l0"].reshape(3, 3)
    state = np.zeros(3)
    for t in range(5):
        step = STEPS[0, t].numpy() * share[0, t, 0].item()
        reset, keep = (sigmoid(ins[g] @ step + b_in[g] + hid[g] @ state + b_hid[g]) for g in (0, 1))
        state = keep * state + (1 - keep) * np.tanh(ins[2] @ step + b_in[2] + reset * (hid[2] @ state + b_hid[2]))
        assert found[0, t] == pytest.approx(state, abs=1e-5)


def test_an_attention_unit_takes_one_weight_a_step():
    with pytest.raises(ContractError, match="one weight"):
        AttentionGru(AttentionGru.Config()).output([STEPS_OF_4, STEPS_OF_4])


# --- words for steps ----------------------------------------------------------------------------------------------------------------


def test_a_vector_is_appended_right_behind_the_last_real_step():
    steps, mask = build(AppendStep(AppendStep.Config()), [STEPS_OF_4, VECTOR])((NOISY, MASK), TARGET)
    assert steps.shape == (4, 6, 4)
    for row, length in enumerate(LENGTHS):
        assert torch.equal(steps[row, :length], STEPS[row, :length])
        assert torch.equal(steps[row, length], TARGET[row])
        assert not steps[row, length + 1 :].any()
        assert mask[row].tolist() == [True] * (length + 1) + [False] * (5 - length)


def test_each_step_is_followed_by_the_next_one_and_the_last_by_none():
    ids = torch.tensor([[4, 2, 9, 0], [5, 0, 0, 0], [0, 0, 0, 0]])
    ahead, mask = build(NextSteps(NextSteps.Config()), [TensorSpec("sequence", index=True, rows=10)])((ids, ids != 0))
    assert ahead.tolist() == [[2, 9, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert torch.equal(mask, ahead != 0)


def test_steps_are_projected_alike_and_padding_stays_zero():
    module = build(ProjectSteps(ProjectSteps.Config(width=2, activation="tanh")), [STEPS_OF_4])
    steps, _ = module((NOISY, MASK))
    assert torch.allclose(steps[MASK], torch.tanh(STEPS[MASK] @ module.layer.weight.T + module.layer.bias))
    assert not steps[~MASK].any()


def test_a_scaled_loss_has_a_scaled_gradient():
    loss = torch.tensor(3.0, requires_grad=True)
    found = build(ScaleLoss(ScaleLoss.Config(weight=0.25)), [TensorSpec("loss")])(loss)
    found.backward()
    assert (found.item(), loss.grad.item()) == (0.75, 0.25)


# --- blueprints -------------------------------------------------------------------------------------------------------------------------

ITEM, PAST = Field("item_id", 30), History("history", "item_id", 30)
COLUMNS = [Field("user_id", 20), ITEM, Field("device", 3)]
BATCH = {
    "user_id": torch.tensor([1, 2, 3]),
    "item_id": torch.tensor([7, 7, 8]),
    "device": torch.tensor([1, 1, 1]),
    "history": torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0], [0, 0, 0, 0]]),
}
MODELS = {"DIN": DIN, "DIEN": DIEN, "BST": BST}


def score(network, **changed: torch.Tensor) -> torch.Tensor:
    batch = {**BATCH, **changed}
    with torch.no_grad():
        return network.eval().serve(*(batch[name] for name in network.inputs))[0]


def trained(model: str, kernel, suits, **config):
    blueprint = kernel.create("blueprint", f"zoo/{model.lower()}", **config)
    network = network_for(blueprint, suits(blueprint), kernel)
    train_steps(network, batches(network, suits(blueprint), 64, 2), 5)
    return network


@pytest.mark.parametrize("model", MODELS)
def test_history_and_candidate_share_the_item_table_with_the_fields(model):
    network = MODELS[model](COLUMNS, [PAST])
    assert {network.parts[f"n_{name}"].keys[-1] for name in ("history", "candidate")} == {"item_id"}
    assert len({network.parts[f"n_{name}"].store for name in ("history", "candidate", "fields")}) == 1


@pytest.mark.parametrize("model", MODELS)
def test_the_candidate_decides_what_a_history_says(model):
    network = MODELS[model](COLUMNS, [PAST], embedding_dim=8)
    with torch.no_grad():
        network.stores["8"].weight.mul_(20)
    network.eval()
    with torch.no_grad():
        interest = [
            network.forward({**BATCH, "item_id": ids, "@label:label": torch.zeros(3), **_drawn(network)})["interest"] for ids in _PAIR
        ]
    assert not torch.allclose(interest[0][0], interest[1][0], atol=1e-4)
    if model != "BST":  # there the candidate itself is a step
        assert torch.allclose(interest[0][2], interest[1][2]), "an empty history says nothing"


_PAIR = (torch.tensor([7, 7, 8]), torch.tensor([9, 9, 9]))


def _drawn(network) -> dict[str, torch.Tensor]:
    return {"@negatives": torch.arange(1, 30)} if "@negatives" in network.training_inputs else {}


@pytest.mark.parametrize(("model", "heeds_order"), [("DIN", False), ("DIEN", True), ("BST", True)])
def test_the_order_of_a_history_counts_where_the_model_says_so(model, heeds_order):
    network = MODELS[model](COLUMNS, [PAST], embedding_dim=8, activation="relu")
    with torch.no_grad():
        network.stores["8"].weight.mul_(20)
        for name, weight in network.named_parameters():
            if "placed" in name:
                weight.mul_(20)
    turned = BATCH["history"].clone()
    turned[0] = torch.tensor([3, 1, 4, 2])
    assert torch.allclose(score(network), score(network, history=turned), atol=1e-6) != heeds_order


@pytest.mark.parametrize("activation", ["dice", "prelu", "relu", "gelu", "silu", "tanh", "sigmoid"])
def test_every_activation_is_accepted_and_used(activation):
    names = {"dice": "Dice", "prelu": "PReLU", "relu": "ReLU", "gelu": "GELU", "silu": "SiLU", "tanh": "Tanh", "sigmoid": "Sigmoid"}
    network = DIN(COLUMNS, [PAST], activation=activation)
    for part in ("n_weights", "n_deep"):
        assert names[activation] in {type(module).__name__ for module in network.parts[part].modules()}


def test_unit_and_network_have_the_widths_that_are_asked_for():
    network = DIN(COLUMNS, [PAST], attention_units=[10, 5], hidden_units=[12, 7, 3], embedding_dim=8)
    unit = [layer.out_features for layer in network.parts["n_weights"].unit if hasattr(layer, "out_features")]
    deep = [layer.out_features for layer in network.parts["n_deep"] if hasattr(layer, "out_features")]
    assert (unit, deep) == ([10, 5, 1], [12, 7, 3])


def test_several_histories_are_pooled_one_by_one_each_against_its_own_candidate():
    columns, pasts = [*COLUMNS, Field("brand", 6, of="item")], [PAST, History("brands", "brand", 6)]
    network = DIN(columns, pasts)
    assert network.architecture["candidate"].config["columns"] == ["item_id"]
    assert network.architecture["candidate_1"].config["columns"] == ["brand"]
    assert network.architecture["all"].inputs == ("fields", "interest", "interest_1")
    one = DIN(columns, pasts[1:])
    assert "history" not in one.inputs
    assert "brands" in one.inputs


def test_each_gru_type_has_its_unit(kernel, suits):
    found = {kind: trained("DIEN", kernel, suits, gru_type=kind) for kind in ("AUGRU", "AIGRU", "AGRU")}
    blocks = {kind: network.architecture["evolved"].block for kind, network in found.items()}
    assert blocks == {"AUGRU": "blocks/attention-gru", "AIGRU": "blocks/gru", "AGRU": "blocks/attention-gru"}
    assert found["AUGRU"].architecture["evolved"].config["mode"] == "augru"


def test_interests_are_extracted_by_as_many_layers_as_are_asked_for():
    network = DIEN(COLUMNS, [PAST], interest_units=[12, 6])
    assert [network.architecture[f"extracted_{layer}"].config["width"] for layer in (0, 1)] == [12, 6]
    assert network.architecture["evolved"].config["width"] == 6


def test_the_auxiliary_loss_is_optional_and_exists_in_training_only():
    with_it, without = DIEN(COLUMNS, [PAST]), DIEN(COLUMNS, [PAST], auxiliary_weight=0)
    assert set(with_it.loss_nodes) == {"loss", "auxiliary"}
    assert "@negatives" in with_it.training_inputs
    assert with_it.inputs == without.inputs
    assert without.loss_nodes == ()
    assert "@negatives" not in without.training_inputs


def test_the_auxiliary_loss_reads_the_history_of_items_wherever_it_stands():
    network = DIEN([*COLUMNS, Field("brand", 6, of="item")], [History("brands", "brand", 6), PAST])
    assert set(network.loss_nodes) == {"loss", "auxiliary"}
    assert network.architecture["steps"].config["columns"] == ["history"]
    assert network.architecture["foreseen"].inputs == ("extracted_1_0",)


def test_the_auxiliary_loss_tells_the_next_step_from_drawn_items():
    network = DIEN(COLUMNS, [PAST], interest_units=[6], embedding_dim=8, auxiliary_weight=0.5, auxiliary_negatives=3)
    batch = {**BATCH, "@label:label": torch.tensor([1.0, 0.0, 1.0]), "@negatives": torch.tensor([11, 12, 13])}
    network.train()
    values = network.forward(batch)
    items = network.stores["8"].table("item_id").detach().numpy()
    states = values["foreseen"][0].detach().numpy()
    losses = []
    for row, history in enumerate(BATCH["history"].tolist()):
        real = [item for item in history if item]
        for t, following in enumerate(real[1:]):
            chosen = -np.log(sigmoid(states[row, t] @ items[following]))
            others = [-np.log(1 - sigmoid(states[row, t] @ items[item])) for item in (11, 12, 13)]
            losses.append((chosen + sum(others)) / 4)
    assert values["auxiliary"].item() == pytest.approx(0.5 * np.mean(losses), rel=1e-4)


def test_the_target_joins_the_sequence_of_a_transformer_as_its_newest_step():
    network = BST(COLUMNS, [PAST], embedding_dim=8).eval()
    with torch.no_grad():
        joined, mask = network.forward({**BATCH, "@label:label": torch.zeros(3)})["joined"]
    item = network.stores["8"].table("item_id")
    assert mask.sum(1).tolist() == [5, 3, 1]
    assert torch.equal(joined[1, 2], item[7])
    assert torch.equal(joined[1, 1], item[6])


def test_a_transformer_has_the_heads_layers_and_width_that_are_asked_for():
    network = BST(COLUMNS, [PAST], num_heads=4, num_layers=3, hidden_size=32, dropout_rate=0.1)
    encoder = network.parts["n_states"]
    assert len(encoder.layers) == 3
    assert encoder.layers[0].heads == 4
    assert network.specs["states"].width == 32
    with pytest.raises(ContractError, match="heads"):
        BST(COLUMNS, [PAST], num_heads=3, hidden_size=32)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_of_behaviour_needs_a_history_with_a_candidate(kernel, features_of, model):
    schema = features_of("click").schema
    blueprint = kernel.create("blueprint", f"zoo/{model.lower()}")
    with pytest.raises(ContractError, match="history"):
        blueprint.architecture(replace(schema, features=schema.of("id", "bag", "numeric")))
    strange = Feature("visits", "history", "user", True, "shop", 9, family="history")
    with pytest.raises(ContractError, match="candidate"):
        blueprint.architecture(replace(schema, features=(*schema.of("id"), strange)))
    with pytest.raises(ContractError, match="history"):
        kernel.create("blueprint", f"zoo/{model.lower()}", behavior_features=["item_id"]).architecture(schema)


@pytest.mark.parametrize("model", ["DIEN", "BST"])
def test_models_that_read_an_order_need_one(kernel, features_of, model):
    with pytest.raises(ContractError, match="order"):
        kernel.create("blueprint", f"zoo/{model.lower()}").architecture(replace(features_of("click").schema, ordered=False))


def test_longer_padding_of_history_and_bag_changes_no_score():
    for model in MODELS.values():
        network = model([*COLUMNS, Bag("genres", 6)], [PAST])
        bags = torch.tensor([[1, 2], [3, 0], [0, 0]])
        longer = {"history": torch.nn.functional.pad(BATCH["history"], (0, 3)), "genres": torch.nn.functional.pad(bags, (0, 4))}
        assert torch.allclose(score(network, genres=bags), score(network, **longer), atol=1e-6)


def test_a_listed_feature_is_read_and_no_other(kernel, features_of):
    schema = features_of("click").schema
    graph = kernel.create("blueprint", "zoo/din", features=["device"], behavior_features=["history"]).architecture(schema)
    assert set(build_network(graph, schema, kernel).inputs) == {"device", "history", "item_id"}
