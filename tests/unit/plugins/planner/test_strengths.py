"""Which strength is tried next, for every side a limit may lie on, and that odd options of a plugin cost nothing but themselves."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from autorec_kernel.space import Float, Int
from autorec_planner import strengths
from autorec_planner.probes import Probe
from autorec_planner.strengths import halved, refined
from autorec_planner.workshop import Setting

SHARE = {"share": Float(0.1, 0.9)}
SIZE = {"size": Float(0.1, 1.0)}
STEPS = {"steps": Int(8, 512, log=True)}
RATE = {"rate": Float(1e-6, 1e-2, log=True)}


def probe(weight: int, reason: str = "", **config: Any) -> Probe:
    return Probe(Setting("p/some", config, "graph"), reason, bytes=weight)


@pytest.mark.parametrize(
    ("rows", "scales", "expected"),
    [
        ([(800, "", 0.5), (600, "lost", 0.75)], SHARE, 0.625),
        ([(600, "lost", 0.75), (800, "", 0.5)], SHARE, 0.625),  # in whatever order they were tried
        ([(800, "lost", 0.5), (600, "lost", 0.75)], SHARE, 0.3),
        ([(800, "", 0.5), (600, "", 0.75)], SHARE, 0.825),
        ([(800, "", 0.5), (700, "lost", 0.625), (600, "", 0.75)], SHARE, 0.562),  # a harder one that is accepted by luck
        ([(800, "lost", 0.5), (600, "lost", 0.25)], SIZE, 0.75),  # less is harder here
        ([(800, "", 0.5), (600, "lost", 0.25)], SIZE, 0.375),
        ([(800, "", 100), (600, "lost", 50)], STEPS, 71),  # the middle of a logarithmic domain
        ([(800, "", 1e-5), (600, "lost", 1e-4)], RATE, 3.16e-5),
        ([(800, "", 0.5), (600, "lost", 0.51)], SHARE, None),  # nothing lies between
        ([(800, "", 0.5)], SHARE, None),
        ([(800, "", 0.5), (0, "failed", 0.75)], SHARE, None),  # one was never built
        ([(800, "", 0.5), (600, "lost", 0.95)], SHARE, None),  # outside the domain
        ([(800, "", None), (600, "lost", 0.5)], SHARE, None),
        ([(800, "", 0.5), (600, "lost", 0.75)], {}, None),  # no number that may vary
    ],
)
def test_the_next_strength(rows: list[tuple[int, str, Any]], scales: Mapping[str, Any], expected: Any) -> None:
    option = next(iter(scales), "share")
    found = halved([probe(size, reason, **{option: value, "other": 1}) for size, reason, value in rows], scales)
    assert (None if found is None else found.config) == (None if expected is None else {option: expected, "other": 1})


def test_two_options_that_differ_have_no_middle() -> None:
    rows = [probe(800, share=0.5, steps=8), probe(600, "lost", share=0.75, steps=16)]
    assert halved(rows, {**SHARE, **STEPS}) is None


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(900, "", 1.0, 0.33), (800, "", 0.5, 1.0), (500, "lost", 0.25, 1.0)], (0.375, 1.0)),
        ([(800, "", 0.5, 1.0), (500, "lost", 0.25, 1.0), (400, "lost", 0.25, 0.33)], (0.375, 1.0)),  # as a student proposes them
        ([(900, "", 1.0, 0.33), (800, "", 0.5, 1.0), (700, "lost", 0.5, 0.33), (500, "lost", 0.25, 1.0)], (0.75, 0.33)),
        ([(800, "", 0.5, 1.0), (700, "lost", 0.25, 0.33)], None),  # both differ
    ],
)
def test_of_settings_in_two_options_those_count_that_differ_in_one(rows: list[Any], expected: Any) -> None:
    found = halved([probe(weight, reason, size=size, depth=depth) for weight, reason, size, depth in rows], SIZE)
    assert (None if found is None else (found.config["size"], found.config["depth"])) == expected


def test_an_exhausted_group_hides_no_other() -> None:
    rows = [probe(900, share=0.5, steps=8), probe(800, "lost", share=0.51, steps=8), probe(700, "lost", share=0.5, steps=64)]
    found = halved(rows, {**SHARE, **STEPS})
    assert found is not None and found.config == {"share": 0.5, "steps": 23}


def test_options_that_cannot_be_read_are_told_once_and_stop_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """One compressor's domain is odd; the other one's strengths are tried all the same."""
    tried = []

    def alone(shop: Any, setting: Setting, start: Any) -> Probe:
        tried.append(setting)
        return Probe(setting, bytes=700)

    def scales(shop: Any, name: str) -> Mapping[str, Any]:
        if name == "p/odd":
            raise ZeroDivisionError("a domain of nothing")
        return SHARE

    monkeypatch.setattr(strengths, "probed_alone", alone)
    monkeypatch.setattr(strengths, "graph_of", lambda *given: None)
    monkeypatch.setattr(strengths, "_scales", scales)
    request = SimpleNamespace(deadline=1.0, start=None, target=SimpleNamespace(threads=1))
    rows = [probe(800, share=0.5), probe(600, "lost", share=0.75), Probe(Setting("p/odd", {"x": 1}, "graph"), bytes=500)]
    found = refined(SimpleNamespace(request=request, in_time=lambda training: True), rows)  # type: ignore[arg-type]
    told = [row for row in found if row.setting.component == "p/odd" and row.reason]
    assert [row.setting.config for row in told] == [{}] and "ZeroDivisionError: a domain of nothing" in told[0].reason
    assert [setting.config["share"] for setting in tried] == [0.625, 0.688]
