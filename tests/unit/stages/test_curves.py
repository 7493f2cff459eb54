from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from autorec_kernel.records.trial import Trial
from autorec_kernel.space import Genotype
from autorec_kernel.stages.curves import chart, draw_curves

SVG = "{http://www.w3.org/2000/svg}"
ROWS = [{"epoch": n, "rate": 0.1, "loss": 1.0 / n, "rmse": 2.0 - n, "mae": 0.5} for n in (1, 2, 3)]


def trial(**artefacts: str) -> Trial:
    details = {"blueprint": "zoo/<deepfm>", "best_epoch": 2}
    return replace(Trial(4, Genotype({}), "complete"), artefacts=artefacts, details=details)


def write(folder: Path, text: str) -> Trial:
    path = folder / "artefacts" / "curves" / "4-0.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return trial(curves="curves/4-0.jsonl")


def test_the_chart_of_a_trial_has_a_line_for_every_figure(tmp_path: Path) -> None:
    chosen = write(tmp_path, "\n".join(json.dumps(row) for row in ROWS))
    assert draw_curves(tmp_path, chosen)
    tree = ElementTree.parse(tmp_path / "curves.svg")
    texts = [text.text for text in tree.iter(f"{SVG}text")]
    assert texts[0] == "trial 4: zoo/<deepfm>"
    assert [text for text in texts if text and text.startswith(("training", "learning", "validation"))] == [
        "training loss",
        "learning rate",
        "validation rmse",
        "validation mae",
    ]
    assert len(list(tree.iter(f"{SVG}polyline"))) == len(list(tree.iter(f"{SVG}circle"))) == 4


def test_a_falling_figure_falls_on_the_chart() -> None:
    tree = ElementTree.fromstring(chart([{"epoch": n, "loss": 1.0 / n} for n in (1, 2, 4)], "t"))
    (line,) = tree.iter(f"{SVG}polyline")
    places = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    assert places[0][0] < places[1][0] < places[2][0]
    assert places[0][1] < places[1][1] < places[2][1]  # pixels count downwards
    assert places[1][0] - places[0][0] == pytest.approx((places[2][0] - places[0][0]) / 3, abs=0.1)


def test_one_epoch_and_no_epoch_can_be_drawn() -> None:
    for rows in ([], ROWS[:1], [{"epoch": 1, "loss": float("nan")}]):
        ElementTree.fromstring(chart(rows, "t", 1))


def test_a_closed_form_and_lost_or_broken_curves_draw_nothing(tmp_path: Path) -> None:
    assert not draw_curves(tmp_path, trial())
    assert not draw_curves(tmp_path, trial(curves="curves/9-0.jsonl"))
    assert not draw_curves(tmp_path, write(tmp_path, "[1, 2]"))
    assert not (tmp_path / "curves.svg").exists()
