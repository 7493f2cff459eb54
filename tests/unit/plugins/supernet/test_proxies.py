"""Zero-cost proxies: formulas on a network small enough to work out with numpy, and what a score may pass for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from autorec_kernel.contracts.evaluator import PROVISIONAL, EvaluationContext, Rung
from autorec_kernel.errors import UsageError
from autorec_kernel.evaluation import parse_metric
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import Network, build_network
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.space import Genotype
from autorec_supernet.agreement import Agreement
from autorec_supernet.base import AGREEMENT
from autorec_supernet.delegate import write_json
from autorec_supernet.options import ProxyOptions
from autorec_supernet.proxies import Proxies, stand_in
from autorec_supernet.scores import PROXIES, code_kernel, codes_of

FULL, FIRST = Rung(1, 1.0), Rung(0, 0.34)
Context = Callable[..., EvaluationContext]
Point = Callable[..., Genotype]
X, Y = np.array([[0.5, -1.0], [2.0, 0.25], [-1.5, 1.0]]), np.array([1.0, 0.0, 1.0])


@pytest.fixture
def tiny(kernel: Kernel) -> tuple[Network, dict[str, torch.Tensor], np.ndarray, float]:
    """A logistic regression of two numbers, a batch of three rows, its weights and its offset."""
    schema = FeatureSchema(
        (Feature("price", "numeric", "row", width=2),), tasks={"click": "logit"}, label_range={"click": (0.0, 1.0, 0.5)}, users=1, items=1
    )
    nodes = (
        Node("numbers", "@numeric", (), {"columns": ["price"]}),
        Node("head", "blocks/head", ("numbers",), {"tasks": ["click"], "link": "logit"}),
    )
    network = build_network(Architecture(nodes, {"click": "head"}), schema, kernel, seed=1).eval()
    found = dict(network.named_parameters())
    (weights,) = [value for value in found.values() if value.numel() == 2]
    (offset,) = [value for value in found.values() if value.numel() == 1]
    with torch.no_grad():
        weights.copy_(torch.tensor([0.7, -0.2]).reshape(weights.shape))
        offset.fill_(-0.3)
    batch = {"price": torch.tensor(X, dtype=torch.float32), "@label:click": torch.tensor(Y, dtype=torch.float32)}
    return network, batch, np.array([0.7, -0.2]), -0.3


def gradients(weights: np.ndarray, offset: float) -> tuple[np.ndarray, float]:
    """Return the gradients of the mean log loss."""
    error = 1 / (1 + np.exp(-(X @ weights + offset))) - Y
    return X.T @ error / len(Y), float(error.mean())


def test_the_gradient_norm_is_the_sum_of_the_norms_of_all_tensors(tiny: Any) -> None:
    network, batch, weights, offset = tiny
    of_weights, of_offset = gradients(weights, offset)
    expected = np.log1p(np.linalg.norm(of_weights) + abs(of_offset))
    assert PROXIES["gradient-norm"](network, batch) == pytest.approx(expected, rel=1e-5)


def test_snip_sums_weights_times_gradients(tiny: Any) -> None:
    network, batch, weights, offset = tiny
    of_weights, of_offset = gradients(weights, offset)
    expected = np.log1p(np.abs(of_weights * weights).sum() + abs(of_offset * offset))
    assert PROXIES["snip"](network, batch) == pytest.approx(expected, rel=1e-5)


def test_synflow_sums_the_flow_of_ones_through_the_sizes_of_weights(tiny: Any) -> None:
    network, batch, weights, offset = tiny
    state = {name: value.clone() for name, value in network.state_dict().items()}
    expected = np.log1p(3 * (np.abs(weights).sum() + abs(offset)))  # R = Σ rows (Σ |w| · 1 + |b|), and every |θ ∂R/∂θ| = rows · |θ|
    assert PROXIES["synflow"](network, batch) == pytest.approx(expected, rel=1e-5)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert all(value.grad is None for value in network.parameters())


def test_naswot_is_the_log_determinant_of_the_share_of_bits_in_common(tiny: Any) -> None:
    network, batch, weights, offset = tiny
    codes = np.stack([np.ones(3), (X @ weights + offset) > 0], 1).astype(bool)
    shares = np.array([[np.mean(one == other) for other in codes] for one in codes])
    found = code_kernel(codes_of(network(batch), network, 3))
    assert np.allclose(found.numpy(), shares)
    expected = np.linalg.slogdet(shares + 1e-3 * np.eye(3))[1] / 3
    assert PROXIES["naswot"](network, batch) == pytest.approx(expected, rel=1e-6)


def test_rows_that_a_network_tells_apart_score_higher() -> None:
    apart, alike = torch.eye(6, dtype=torch.bool), torch.ones(6, 6, dtype=torch.bool)
    first, second = (float(torch.linalg.slogdet(code_kernel(codes) + 1e-3 * torch.eye(6))[1]) for codes in (apart, alike))
    assert first > second


def agreement(full: tuple[float, ...] = (0.6, 0.7, 0.65), cheap: tuple[float, ...] = (1.0, 2.0, 3.0)) -> Agreement:
    return Agreement(0.5, 0.1, 0.8, 0.9, 0.0, cheap, full)


SCORES = (-1e9, 0.0, 1.0, 2.0, 2.5, 4.0, 1e9)


@pytest.mark.parametrize("full", [(0.6, 0.7, 0.65), (1e-6, 0.7, 0.65)])
def test_a_stand_in_rises_with_the_score_and_lies_below_every_candidate_that_was_trained(full: tuple[float, ...]) -> None:
    values = [stand_in(score, agreement(full), "auc") for score in SCORES]
    assert values == sorted(values) and len(set(values)) == len(values)
    assert values[0] >= -1.0 and values[-1] < 0.0


@pytest.mark.parametrize("metric", ["rmse", "log_loss", "mae"])
def test_a_stand_in_for_an_error_falls_as_the_score_rises_and_is_far_above_every_candidate_that_was_trained(metric: str) -> None:
    values = [stand_in(score, agreement((-0.9, -1.2, -0.95)), metric) for score in SCORES]
    assert values == sorted(values, reverse=True) and len(set(values)) == len(values)
    assert values[-1] >= 13.0 and values[0] <= 14.0


@pytest.mark.parametrize("candidates", [0, 5])
def test_proxies_are_refused_without_candidates_that_say_what_a_metric_is(kernel: Kernel, candidates: int) -> None:
    with pytest.raises(UsageError, match=r"'candidates'.*trained in full: 6 or more"):
        kernel.create("evaluator", "supernet/proxies", candidates=candidates)


def proxies(**options: Any) -> Proxies:
    return Proxies(ProxyOptions(**{"candidates": 6, "rows": 16, "full": {"epochs": 1, "batch_size": 256}, **options}))


def planted(evaluator: Proxies, given: EvaluationContext) -> EvaluationContext:
    """Return the context of a trial, with an agreement that nothing was trained for."""
    assert given.space is not None
    rises = parse_metric(given.metric)[0].higher_is_better
    found = agreement((0.6, 0.7, 0.65) if rises else (-0.9, -1.2, -0.95))
    return replace(given, artefacts={**evaluator.make(given.space, given), AGREEMENT: write_json(given, "agreement", found.to_json())})


@pytest.mark.parametrize("proxy", sorted(PROXIES))
@pytest.mark.parametrize(("task", "blueprint"), [("click", "zoo/dcn"), ("rate", "zoo/din"), ("recommend", "zoo/sasrec")])
def test_every_proxy_scores_every_kind_of_network(context: Context, point: Point, proxy: str, task: str, blueprint: str) -> None:
    given = context("supernet/proxies", task, (blueprint,))
    assert given.space is not None
    evaluator = proxies(proxy=proxy)
    given = planted(evaluator, given)
    first, second = (evaluator.evaluate(point(given.space, blueprint), FIRST, given) for _ in range(2))  # type: ignore[arg-type]
    assert (first.status, first.error, first.details["judged"]["by"]) == ("complete", "", "supernet/proxies")
    assert (first.metrics, first.details, first.cost) == (second.metrics, second.details, second.cost)
    assert first.cost.parameters > 0
    assert first.details[PROVISIONAL] is True
    value = first.metrics[given.metric]
    assert value > 10 * 1.2 if task == "rate" else value < 0.0


def test_the_best_are_trained_at_the_last_rung_and_others_are_not(context: Context, point: Point) -> None:
    given = context("supernet/proxies")
    assert given.space is not None
    given = planted(proxies(), given)
    genotype = point(given.space, "zoo/deepfm")
    scored, trained = (proxies().evaluate(genotype, rung, given) for rung in (FIRST, FULL))
    assert [one.details["judged"]["by"] for one in (scored, trained)] == ["supernet/proxies", "training/full"]
    assert (scored.details[PROVISIONAL], PROVISIONAL in trained.details) == (True, False)


def test_a_scored_trial_says_which_labels_it_predicts_as_a_trained_one_does(context: Context, point: Point) -> None:
    given = context("supernet/proxies", wanted=("zoo/mmoe",), further=True)
    assert given.space is not None
    given = planted(proxies(), given)
    scored, trained = (proxies().evaluate(point(given.space, "zoo/mmoe"), rung, given) for rung in (FIRST, FULL))
    assert (scored.details["judged"]["by"], trained.details["judged"]["by"]) == ("supernet/proxies", "training/full")
    assert scored.details["tasks"] == trained.details["tasks"] and len(scored.details["tasks"]) == 3


def test_what_breaks_a_limit_is_infeasible_and_gets_no_score(context: Context, point: Point) -> None:
    given = context("supernet/proxies")
    assert given.space is not None
    given = replace(planted(proxies(), given), limits={"max_params": 10})
    found = proxies().evaluate(point(given.space, "zoo/deepfm"), FIRST, given)
    assert (found.status, "score" in found.details) == ("infeasible", False)
    assert "max_params" in found.error
