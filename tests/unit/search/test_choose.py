from __future__ import annotations

import math
from typing import Any

from autorec_kernel.evaluation import Comparison
from autorec_kernel.records.trial import Cost, Trial
from autorec_kernel.search.choose import choose
from autorec_kernel.space import Genotype


def trial(number: int, value: float, *, latency: float = 10.0, size: int = 100, status: Any = "complete") -> Trial:
    return Trial(number, Genotype(), status, () if math.isnan(value) else (value,), cost=Cost(1, size, latency, 1.0))


def within(error: float, sure: float = 1.96) -> Any:
    """Compare by value, with this paired standard error."""

    def compare(first: Trial, second: Trial) -> Comparison:
        gap = first.value - second.value
        return Comparison(gap, gap - sure * error, gap + sure * error, error, 100)

    return compare


def test_nothing_complete_means_nothing_to_serve() -> None:
    assert choose([trial(0, math.nan), trial(1, 0.5, status="stopped")], [], within(0.1)) is None


def test_the_best_metric_wins_and_the_lower_number_among_equals() -> None:
    found = choose([trial(0, 0.1), trial(1, 0.5), trial(2, 0.5)], [], within(0.0))
    assert found is not None and found.trial.number == 1 and found.reason == "best validation metric"


def test_a_cheaper_trial_within_one_standard_error_wins() -> None:
    trials = [trial(0, 0.50), trial(1, 0.49, latency=2.0), trial(2, 0.495, latency=3.0), trial(3, 0.40, latency=1.0)]
    found = choose(trials, [], within(0.02))
    assert found is not None and found.trial.number == 1
    assert found.reason == "as good as trial 0 within one paired standard error, and cheaper to serve"
    assert choose(trials, [], within(0.001)).trial.number == 0  # type: ignore[union-attr]
    assert choose(trials, [], within(0.2)).trial.number == 3  # type: ignore[union-attr]


def test_cheaper_means_clearly_faster_and_not_larger() -> None:
    for other in (trial(1, 0.49, latency=9.0), trial(1, 0.49, latency=2.0, size=101)):
        assert choose([trial(0, 0.50), other], [], within(0.1)).trial.number == 0  # type: ignore[union-attr]


def test_a_difference_that_cannot_be_judged_is_no_tie() -> None:
    trials = [trial(0, 0.50), trial(1, 0.49, latency=2.0)]
    for error, gap in ((math.inf, 0.0), (math.nan, 0.0), (1.0, math.nan)):
        assert choose(trials, [], lambda *_, e=error, g=gap: Comparison(g, g - e, g + e, e, 1)).trial.number == 0  # type: ignore[union-attr]
    assert choose(trials, [], lambda *_: None).trial.number == 0  # type: ignore[union-attr]


def test_what_beats_the_best_baseline_with_confidence_is_served() -> None:
    found = choose([trial(0, 0.3), trial(1, 0.4), trial(2, 0.5)], [0, 1], within(0.01))
    assert found is not None and found.trial.number == 2
    assert found.to_json()["against_best_baseline"]["difference"] == 0.5 - 0.4


def test_what_does_not_beat_the_best_baseline_with_confidence_is_not_served() -> None:
    found = choose([trial(0, 0.3), trial(1, 0.49, latency=20.0), trial(2, 0.5)], [0, 1], within(0.01))
    assert found is not None and found.trial.number == 1
    assert found.reason == "best baseline; trial 2 is not better with confidence"
    assert found.against_baseline is not None and found.against_baseline.difference > 0


def test_a_cheaper_tie_that_loses_its_lead_over_the_baseline_gives_way_to_the_best() -> None:
    trials = [trial(0, 0.40, latency=50.0), trial(1, 0.500), trial(2, 0.495, latency=2.0)]

    def compare(first: Trial, second: Trial) -> Comparison:
        error = 0.1 if (first.number, second.number) == (2, 0) else 0.01
        return within(error)(first, second)

    assert choose(trials, [0], compare).trial.number == 1  # type: ignore[union-attr]


def test_a_baseline_that_cannot_be_compared_with_does_not_hold_back_the_best() -> None:
    found = choose([trial(0, 0.4), trial(1, 0.5)], [0], lambda *_: None)
    assert found is not None and found.trial.number == 1 and found.to_json()["against_best_baseline"] is None


def test_a_baseline_can_be_the_best() -> None:
    found = choose([trial(0, 0.5), trial(1, 0.4)], [0], within(0.01))
    assert found is not None and found.trial.number == 0 and found.against_baseline is None
    cheaper = choose([trial(0, 0.5), trial(1, 0.49, latency=1.0)], [0, 1], within(0.05))
    assert cheaper is not None and cheaper.trial.number == 1


def test_a_failed_baseline_is_nothing_to_compare_with() -> None:
    found = choose([trial(0, math.nan, status="failed"), trial(1, 0.4)], [0], within(0.01))
    assert found is not None and found.trial.number == 1
