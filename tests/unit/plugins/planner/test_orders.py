"""Plans made of probes: order rules, what is left for a later step, and what a plan is predicted to reach."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from autorec_kernel.contracts import Target
from autorec_planner.orders import drafts, in_order
from autorec_planner.probes import Probe, in_turn
from autorec_planner.verdict import Verdict
from autorec_planner.workshop import Setting

TARGET = Target("kit", max_drop=0.01)
START = 1000


def probe(
    name: str, saved: int, form: Literal["module", "graph"] = "graph", gain: float = 0.0, low: float | None = None, **more: Any
) -> Probe:
    verdict = Verdict("accepted", "auc", gain, gain - 0.001 if low is None else low, gain + 0.001, 100)
    touched = {name: 100 for name in more.pop("touched", ())}
    place = more.pop("place", None)
    return Probe(Setting(name, {"saved": saved}, form, place), saved=saved, verdict=verdict, touched=touched, bytes=START - saved, **more)


def best(*probes: Probe, target: Target = TARGET) -> Any:
    return drafts(probes, START, (100.0, 1000.0), target)[0]


def names(draft: Any) -> list[str]:
    return [step.setting.component for step in draft.steps]


def test_modules_come_before_graphs_exact_rewrites_first_and_what_compressors_state_decides_the_rest() -> None:
    probes = [
        probe("q/float16", 1, place=6),
        probe("q/int4-weights", 1, place=5),
        probe("q/int8-dynamic", 1, place=4),
        probe("p/tail-rows", 1, place=2),
        probe("x/unknown", 1),
        probe("x/rewrite", 1, exact=True),
        probe("p/magnitude", 1, "module", place=2),
        probe("d/student", 1, "module", place=1),
    ]
    found = [one.setting.component.partition("/")[2] for one in in_order(probes)]
    assert found == ["student", "magnitude", "rewrite", "tail-rows", "unknown", "int8-dynamic", "int4-weights", "float16"]


def test_bytes_add_up_over_what_each_step_touches() -> None:
    """Both steps shrink the same table: the second finds it done; a third touches another one."""
    eight, four = probe("q/a8", 300, touched=["table"], left=0.0), probe("q/b4", 350, touched=["table"], left=0.0)
    other = probe("q/c", 200, touched=["matrix"], left=0.0)
    found = best(eight, four, other)
    assert (names(found), found.bytes) == (["q/b4", "q/c"], 450.0)


def test_a_step_that_leaves_numbers_leaves_work_for_the_next() -> None:
    rows, eight = probe("p/tail-rows", 400, place=2, touched=["table"], left=0.5), probe("q/int8-tables", 600, touched=["table"], left=0.0)
    found = best(rows, eight)
    assert (names(found), found.bytes) == (["p/tail-rows", "q/int8-tables"], 300.0)


def test_after_a_module_step_graph_steps_save_a_share_of_what_is_left() -> None:
    found = best(probe("d/student", 500, "module"), probe("q/int8-tables", 600))
    assert (names(found), found.bytes) == (["d/student", "q/int8-tables"], 200.0)


def test_losses_add_up_and_a_gain_counts_where_it_is_one_for_sure() -> None:
    lossy, lucky, better = (
        probe(name, 100, gain=gain, low=low) for name, gain, low in (("a", -0.004, None), ("b", 0.5, -0.1), ("c", 0.006, 0.001))
    )
    assert best(lossy).loss == pytest.approx(0.004)
    assert best(lossy, lucky).loss == pytest.approx(0.004)
    assert best(lossy, better).loss == pytest.approx(-0.002)


def test_what_is_predicted_to_lose_too_much_or_to_be_too_large_ranks_behind() -> None:
    strong, mild = probe("a", 500, gain=-0.009), probe("b", 300, gain=-0.008)
    assert names(best(strong, mild)) == ["a"]
    tight = Target("kit", max_drop=0.01, max_bytes=100)
    assert names(best(strong, mild, target=tight)) == ["a", "b"] or best(strong, mild, target=tight).bytes <= 500


def test_two_module_steps_at_most_and_one_setting_of_a_compressor() -> None:
    modules = [probe(f"m/{name}", 100, "module") for name in "abc"]
    settings = [probe("q/x", 100), probe("q/x", 150)]
    found = best(*modules, *settings)
    assert len(found.steps) == 3 and found.steps[-1].saved == 150


def test_probes_that_were_refused_are_in_no_plan() -> None:
    assert names(best(probe("a", 900, reason="loses too much"), probe("b", 100))) == ["b"]


def test_the_price_of_latency_counts_as_much_as_bytes() -> None:
    """Four bits save more and cost more than they save: three times the price of a call."""
    quick, small = probe("q/a", 500, touched=["t"], left=0.0), probe("q/b", 600, touched=["t"], left=0.0, dearer=(200.0, 2000.0))
    assert names(best(quick, small)) == ["q/a"]
    assert names(best(quick, small, target=Target("kit", max_drop=0.01, max_bytes=400))) == ["q/b"]


def test_each_compressor_is_tried_once_before_any_is_tried_twice() -> None:
    told = [("a", "module"), ("a", "module"), ("b", "graph"), ("b", "graph"), ("c", "module"), ("d", "graph"), ("c", "module")]
    waiting = [Setting(name, {"at": place}, form) for place, (name, form) in enumerate(told)]  # type: ignore[arg-type]
    assert [one.config["at"] for one in in_turn(waiting)] == [2, 5, 3, 0, 4, 1, 6]
