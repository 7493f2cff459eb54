"""The shared promises of every model: strict options, answers, gradients, learning, storage, padding, export, options that matter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
from pydantic import ValidationError

from autorec_kernel.deploy.export import export_onnx, parity
from autorec_kernel.errors import AutoRecError, UsageError
from autorec_kernel.space import Choice, Domain
from autorec_kernel.testing.checks.blueprint_networks import check_network_survives_storage, check_padding_changes_no_answer
from autorec_kernel.testing.checks.blueprints import check_network_trains_and_serves
from autorec_kernel.testing.configs import corner
from autorec_kernel.testing.host import host
from autorec_kernel.testing.network_cases import answers, batches, network_for, train_steps

ALL = [row.id for row in host(None).components("blueprint") if row.usable]
LISTED = {  # arguments of the reference that one data set can tell apart; labels, items and histories are told apart below
    "dssm": "user_features item_features hidden_units dropout_rates embedding_dim",
    "facebook-dssm": "user_features item_features hidden_units",
    "youtube-dnn": "user_features item_features hidden_units embedding_dim max_seq_len",
    "gru4rec": "hidden_size num_layers dropout_rate embedding_dim",
    "narm": "hidden_size attention_size dropout_rate embedding_dim",
    "sasrec": "max_len num_heads num_layers hidden_size dropout_rate",
    "mind": "num_interests routing_iterations hidden_size embedding_dim",
    "widedeep": "wide_features deep_features hidden_units dropout_rates",
    "deepfm": "features hidden_units dropout_rates embedding_dim",
    "dcn": "features cross_num hidden_units",
    "dcnv2": "features cross_num hidden_units cross_parameterization",
    "afm": "features attention_units embedding_dim dropout_rate",
    "fibinet": "features bilinear_type hidden_units reduction_ratio",
    "din": "features attention_units hidden_units activation",
    "dien": "features interest_units gru_type hidden_units",
    "bst": "features num_heads num_layers hidden_size dropout_rate",
    "edcn": "features cross_num hidden_units gate_type",
    "shared-bottom": "features hidden_units task_hidden_units",
    "esmm": "features hidden_units tower_units embedding_dim",
    "mmoe": "features expert_units num_experts expert_activation gate_activation",
    "ple": "features expert_units num_experts num_layers num_shared_experts",
}
OPTIONS = [(f"zoo/{model}", option) for model, text in LISTED.items() for option in text.split()]
# The loss of a model that knows everything, where that is not 0: the log of the items a user chose.
FLOORS = {"zoo/multvae": 24.0, "zoo/multdae": 24.0}
SLOW_LEARNERS = {"zoo/lr", "baselines/logistic-regression"}  # linear in ids: they separate 64 rows, in more steps


def without_dropout(kind: Any) -> Any:
    """Return the default config without dropout, which keeps a network from fitting few rows."""
    rates = [name for name in kind.model_fields if "dropout" in name]
    return kind(**{name: () if isinstance(getattr(kind(), name), tuple) else 0.0 for name in rates})


@pytest.mark.parametrize("name", ALL)
def test_an_unknown_option_is_refused_with_the_nearest(kernel, name):
    options = list(kernel.load("blueprint", name).Config.model_fields)
    with pytest.raises(UsageError, match="unknown option") as caught:
        kernel.create("blueprint", name, **{f"{options[0]}_x" if options else "nothing": 1})
    assert not options or "did you mean" in str(caught.value)


@pytest.mark.parametrize("name", ALL)
def test_answers_are_finite_and_a_gradient_reaches_every_parameter(kernel, name):
    component = kernel.load("blueprint", name)
    check_network_trains_and_serves(component, component.Config(), kernel)


@pytest.mark.parametrize("name", ALL)
def test_sixty_four_rows_are_learned_by_heart(kernel, suits, name):
    component = kernel.load("blueprint", name)
    blueprint = component(without_dropout(component.Config))
    features = suits(blueprint)
    network = network_for(blueprint, features, kernel)
    if not network.trainable:
        pytest.skip("a closed form")
    few = batches(network, features, 64, 1)
    losses = train_steps(network, few, 400 if name in SLOW_LEARNERS else 120, 0.03 if name in SLOW_LEARNERS else 0.01)
    floor = FLOORS.get(name, 0.0)
    kept = (np.mean(losses[-5:]) - floor) / (losses[0] - floor)
    assert kept < (0.1 if component.role == "ranker" else 0.5), f"{kept:.0%} of the loss of {losses[0]:.3f} is left"


@pytest.mark.parametrize("name", ALL)
def test_stored_weights_give_the_same_answers(kernel, name):
    component = kernel.load("blueprint", name)
    check_network_survives_storage(component, component.Config(), kernel)


@pytest.mark.parametrize("name", ALL)
def test_padding_changes_no_answer(kernel, name):
    component = kernel.load("blueprint", name)
    check_padding_changes_no_answer(component, component.Config(), kernel)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_the_exported_graph_answers_alike_in_every_batch(kernel, suits, name):
    blueprint = kernel.create("blueprint", name)
    features = suits(blueprint)
    network = network_for(blueprint, features, kernel)
    if network.trainable:
        train_steps(network, batches(network, features, 64, 2), 4)
    sample = features.row_inputs(network.inputs, features.rows("valid")[:17])
    assert parity(network.eval(), export_onnx(network, sample), sample) <= 1e-5


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_listed_argument_changes_the_network(kernel, suits, name, option):
    component = kernel.load("blueprint", name)
    features = suits(component(component.Config()))
    configs = list(_alternatives(component.Config, option, features.schema))
    assert len(configs) >= 2, f"no two values of {option!r} were found to compare"
    marks = [_mark(component(config), features, kernel) for config in configs]
    closed = get_origin(component.Config.model_fields[option].annotation) is Literal
    different = len({mark for mark in marks if mark}) if closed else sum(mark != marks[0] for mark in marks) + 1
    assert different >= (len(configs) if closed else 2), f"values of {option!r} give the same network: {configs}"


def _alternatives(kind: Any, option: str, schema: Any) -> Iterator[Any]:
    """Yield configs that differ in one option."""
    info = kind.model_fields[option]
    default = info.get_default(call_default_factory=True)
    domain = next((part for part in info.metadata if isinstance(part, Domain)), None)
    if option.endswith("features"):
        values: list[Any] = [None, _some(option, schema)]
    elif get_origin(info.annotation) is Literal:
        values = list(get_args(info.annotation))
    elif isinstance(default, tuple):
        values = [(), (0.5,)] if "dropout" in option else [(8,), (16,), (8, 8)]
    elif isinstance(default, float):
        values = [0.0, 0.5]
    else:
        ends = domain.options if isinstance(domain, Choice) else () if domain is None else (corner(domain, False), corner(domain, True))
        values = [default, 2, *ends]
    for value in dict.fromkeys(values):
        try:
            yield kind(**{option: value})
        except (ValidationError, AutoRecError):
            continue


def _some(option: str, schema: Any) -> tuple[str, ...]:
    if option == "item_features":
        return (schema.item,)
    return (schema.user,) if option == "user_features" else (schema.user, schema.item)


def _mark(blueprint: Any, features: Any, kernel: Any) -> tuple[Any, ...]:
    """Return the shapes of a network's parameters and what it answers after ten steps; () where the value does not go with the others."""
    try:
        network = network_for(blueprint, features, kernel)
    except AutoRecError:
        return ()
    shapes = tuple((name, tuple(value.shape)) for name, value in network.named_parameters())
    train_steps(network, batches(network, features, 64, 2), 10)
    return (shapes, *(np.round(part, 6).tobytes() for part in answers(network, features)))
