"""How far a cheap evaluator is trusted: Kendall's tau with an interval, and a verdict that follows from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from autorec_kernel.contracts.evaluator import EvaluationContext, Rung
from autorec_kernel.models import NotFiniteError
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.space import Genotype, SearchSpace
from autorec_supernet.agreement import Agreement, measured, tau_b
from autorec_supernet.base import Cheap
from autorec_supernet.calibration import affordable, calibrated, drawn, merit
from autorec_supernet.options import CheapOptions

Context = Callable[..., EvaluationContext]
Point = Callable[..., Genotype]
SEED = np.random.SeedSequence(3)
LEARNED = {"zoo/deepfm.embedding_dim": 8}


def agreement(cheap: Any, full: Any, **told: Any) -> Agreement:
    return measured(cheap, full, **{"level": 0.9, "useful": 0.0, "seed": SEED, **told})


def test_tau_counts_pairs_that_both_order_the_same_way() -> None:
    one, other = np.array([1.0, 2.0, 3.0, 4.0, 4.0]), np.array([1.0, 3.0, 2.0, 2.0, 5.0])
    signs = [(np.sign(one[i] - one[j]), np.sign(other[i] - other[j])) for i in range(5) for j in range(i)]
    first, second = (sum(pair[side] != 0 for pair in signs) for side in (0, 1))
    assert tau_b(one, other) == pytest.approx(sum(a * b for a, b in signs) / np.sqrt(first * second))


def test_equal_orders_are_in_use_and_opposite_ones_are_not() -> None:
    values = np.arange(8.0)
    assert (agreement(values, values**3).tau, agreement(values, values**3).used) == (1.0, True)
    assert (agreement(values, -values).tau, agreement(values, -values).used) == (-1.0, False)


def test_noise_is_not_in_use_and_the_person_is_told() -> None:
    rng = np.random.default_rng(1)
    found = agreement(rng.normal(size=12), rng.normal(size=12))
    assert found.low is not None and found.high is not None and found.low < 0.0 < found.high
    assert not found.used
    assert "every candidate is trained in full" in found.sentence("supernet/one-shot")


@pytest.mark.parametrize(("cheap", "full"), [([1, 2, 3], [1, 2, 3]), ([1.0] * 8, range(8)), ([], [])])
def test_what_cannot_be_measured_is_not_used(cheap: Any, full: Any) -> None:
    found = agreement(cheap, full)
    assert (found.tau, found.used) == (None, False)
    assert "could not be measured" in found.sentence("x")


def test_the_threshold_is_what_the_lower_end_must_exceed() -> None:
    cheap, full = np.arange(12.0), np.array([1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10.0])
    low = agreement(cheap, full).low
    assert low is not None and 0.0 < low < 1.0
    assert agreement(cheap, full, useful=low - 0.01).used and not agreement(cheap, full, useful=low).used


def test_the_interval_covers_the_tau_of_a_planted_correlation() -> None:
    """Of normal pairs with correlation r, tau is 2 arcsin(r) / pi (Kruskal 1958)."""
    rng, inside, truth = np.random.default_rng(5), 0, 2 / np.pi * np.arcsin(0.8)
    for seed in range(12):
        first, noise = rng.normal(size=(2, 25))
        found = agreement(first, 0.8 * first + 0.6 * noise, seed=np.random.SeedSequence(seed))
        assert found.low is not None and found.high is not None
        inside += found.low <= truth <= found.high
    assert inside >= 9


def test_it_comes_back_from_json() -> None:
    found = agreement([3, 1, 2, 5, 4, 6], [1, 2, 3, 4, 5, 6], epochs=4)
    assert Agreement.from_json(found.to_json()) == found


class Planted(Cheap):
    """Knows (`sign` 1), or has backwards (−1), what full training finds; counts how often each is asked."""

    name: ClassVar[str] = "kit/planted"
    Config = CheapOptions
    sign: ClassVar[int] = 1
    trained: ClassVar[list[int]] = []
    judged: ClassVar[list[int]] = []
    deadlines: ClassVar[list[float | None]] = []

    def make(self, space: SearchSpace, context: EvaluationContext) -> dict[str, str]:
        (context.folder / "made.bin").write_bytes(b"")
        return {"made": "made.bin"}

    def judge(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> Evaluation:
        Planted.judged.append(context.trial)
        value = self.sign * float(genotype["ranker.training.learning_rate"])
        return Evaluation("complete", {"auc": value}, details={"best_epoch": 0})

    def full(self, context: EvaluationContext) -> Any:
        return Full()


class Full:
    fails: ClassVar[dict[int, BaseException]] = {}

    def evaluate(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> Evaluation:
        Planted.trained.append(context.trial)
        Planted.deadlines.append(context.deadline)
        if len(Planted.trained) in self.fails:
            raise self.fails[len(Planted.trained)]
        return Evaluation("complete", {"auc": float(genotype["ranker.training.learning_rate"])}, details={"best_epoch": 3})


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> type[Planted]:
    monkeypatch.setattr("autorec_supernet.calibration.trainer", lambda kernel, options: Full())
    for name in ("trained", "judged", "deadlines"):
        monkeypatch.setattr(Planted, name, [])
    return Planted


@pytest.mark.parametrize(("sign", "judge"), [(1, "kit/planted"), (-1, "training/full")])
def test_a_useful_evaluator_stays_on_and_a_useless_one_switches_itself_off(
    context: Context, point: Point, planted: type[Planted], monkeypatch: pytest.MonkeyPatch, sign: int, judge: str
) -> None:
    monkeypatch.setattr(planted, "sign", sign)
    given = context("training/full")
    evaluator = planted(CheapOptions(candidates=8))
    made = evaluator.prepare(given)
    assert len(planted.trained) == 8
    assert given.space is not None
    found = evaluator.evaluate(point(given.space, "zoo/deepfm"), Rung(0, 1.0), replace(given, artefacts=made))
    facts = found.details["judged"]
    assert (facts["by"], facts["agreement"]["used"], facts["agreement"]["tau"]) == (judge, sign == 1, sign)
    assert facts.get("because", "") == ("" if sign == 1 else "agreement too low")
    told = (given.folder / made["notes"]).read_text()
    assert ("in use" if sign == 1 else "every candidate is trained in full") in told


@pytest.mark.parametrize("error", [NotFiniteError("the loss is nan"), MemoryError(), ValueError("odd"), SystemExit(3)])
def test_a_candidate_that_diverges_or_breaks_is_left_out_and_the_others_count(
    context: Context, planted: type[Planted], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(Full, "fails", {2: error})
    given = context("training/full")
    made = planted(CheapOptions(candidates=8)).prepare(given)
    found = planted(CheapOptions()).agreement(replace(given, artefacts=made))
    assert (len(planted.trained), len(planted.judged), len(found.full), found.tau, found.used) == (8, 7, 7, 1.0, True)


def test_a_candidate_whose_cheap_judgement_raises_is_left_out_too(context: Context) -> None:
    given = context("training/full")
    assert given.space is not None

    def cheap(genotype: Genotype, place: EvaluationContext) -> float:
        raise NotFiniteError("the validation metric auc is undefined")

    told: Any = {"candidates": 2, "level": 0.9, "useful": 0.0}
    found = calibrated(given.space, given, cheap, {"epochs": 1, "batch_size": 256}, **told)
    assert (found.full, found.used) == ((), False)


def test_the_two_judgements_of_a_candidate_share_no_trial_number_and_so_no_noise(context: Context, planted: type[Planted]) -> None:
    planted(CheapOptions(candidates=8)).prepare(context("training/full"))
    assert len(planted.judged) == 8 and not set(planted.judged) & set(planted.trained)


def test_trainings_end_when_preparing_must_and_what_the_clock_cut_off_does_not_count(context: Context, planted: type[Planted]) -> None:
    given = context("training/full", deadline=time.monotonic() + 600.0)
    planted(CheapOptions(candidates=6)).prepare(given)
    assert planted.deadlines == [given.deadline] * 6
    late = context("training/full", deadline=time.monotonic() - 1.0)
    made = planted(CheapOptions(candidates=6)).prepare(late)
    assert planted(CheapOptions()).agreement(replace(late, artefacts=made)).full == ()


@pytest.mark.parametrize(
    ("metric", "value", "expected"), [("auc", 0.7, 0.7), ("ndcg@10", 0.2, 0.2), ("rmse", 0.9, -0.9), ("log_loss", 0.4, -0.4)]
)
def test_the_merit_of_an_error_falls_as_it_grows(metric: str, value: float, expected: float) -> None:
    assert merit({metric: value}, metric) == expected
    assert merit({}, metric) is None


def test_nothing_is_measured_where_nothing_is_asked_for(context: Context, planted: type[Planted]) -> None:
    given = context("training/full")
    made = planted(CheapOptions(candidates=0)).prepare(given)
    assert planted.trained == []
    assert "was not measured" in (given.folder / made["notes"]).read_text()


def test_candidates_are_as_many_as_their_predicted_trainings_have_time_for(context: Context) -> None:
    given = context("training/full")
    assert given.space is not None
    genotypes = drawn(given.space, given, 6)
    assert affordable(genotypes, given) == genotypes and len(set(genotypes)) == 6
    assert affordable(genotypes, replace(given, limits={"max_seconds": 1e-9})) == []
    some = affordable(genotypes, replace(given, limits={"max_seconds": 0.5}))
    assert some == affordable(genotypes, replace(given, limits={"max_seconds": 0.5})) == genotypes[: len(some)]


def test_nothing_is_prepared_without_a_space(context: Context, planted: type[Planted], tmp_path: Path) -> None:
    assert planted(CheapOptions()).prepare(context("training/full", space=None)) == {}
