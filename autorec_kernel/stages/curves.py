"""`curves.svg`: how the training of the chosen trial went, one small chart a figure, drawn from its lines of JSON."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from autorec_kernel.files import atomic_write
from autorec_kernel.search.tasks import ARTEFACTS

if TYPE_CHECKING:
    from autorec_kernel.records.trial import Trial

__all__ = ["CURVES", "chart", "draw_curves", "read_curves"]

CURVES = "curves.svg"
_WIDTH, _HEIGHT, _MARGIN, _COLUMNS = 280, 170, 40, 3  # pixels of a chart, and charts beside each other
_NAMES = {"loss": "training loss", "rate": "learning rate"}
_log = logging.getLogger(__name__)


def draw_curves(folder: Path, trial: Trial) -> bool:
    """Write the chart of a trial to the run folder; return whether it has curves: a closed form has none."""
    name = trial.artefacts.get("curves", "")
    path = folder / ARTEFACTS / name
    if not name or not path.is_file():
        return False
    title = f"trial {trial.number}: {trial.details.get('blueprint', '')}"
    try:
        rows = read_curves(path)
    except (OSError, ValueError) as error:
        _log.warning("the curves %s cannot be read: %s", name, error)
        return False
    atomic_write(folder / CURVES, chart(rows, title, int(trial.details.get("best_epoch", 0))).encode())
    return True


def read_curves(path: Path) -> list[dict[str, float]]:
    """Return one row of figures an epoch.

    Raises:
        ValueError: A line is no JSON object of numbers.
    """
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        if not isinstance(row, dict) or not all(isinstance(value, (int, float)) for value in row.values()):
            raise ValueError(f"{row!r} is no row of figures")
    return rows


def chart(rows: Sequence[Mapping[str, float]], title: str, best: int = 0) -> str:
    """Return an SVG document: one chart for each figure of the rows but `epoch`, each on a scale of its own.

    Args:
        best: Epoch that is marked in every chart; 0 = none.
    """
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "epoch"]
    names.sort(key=lambda name: ("loss", "rate").index(name) if name in _NAMES else 2)
    lines = -(-len(names) // _COLUMNS)
    size = (_WIDTH * min(_COLUMNS, max(1, len(names))), _HEIGHT * lines + 30)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="8" y="20" font-size="14">{escape(title)}</text>',
    ]
    for place, name in enumerate(names):
        left, top = place % _COLUMNS * _WIDTH, place // _COLUMNS * _HEIGHT + 30
        points = [(row.get("epoch", at), row[name]) for at, row in enumerate(rows, 1) if name in row and math.isfinite(row[name])]
        parts.append(f'<g transform="translate({left},{top})">{_panel(name, points, best)}</g>')
    return "\n".join([*parts, "</svg>\n"])


def _panel(name: str, points: Sequence[tuple[float, float]], best: int) -> str:
    label = f'<text x="{_MARGIN}" y="12">{escape(_NAMES.get(name, f"validation {name}"))}</text>'
    if not points:
        return label
    (first, last), (low, high) = ((min(axis), max(axis)) for axis in zip(*points, strict=True))
    places = [(_on(x, first, last, _MARGIN, _WIDTH - 12), _on(y, low, high, _HEIGHT - 24, 20)) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    marked = [place for place, (epoch, _) in zip(places, points, strict=True) if epoch == best]
    return "".join(
        [
            label,
            f'<path d="M{_MARGIN},20 V{_HEIGHT - 24} H{_WIDTH - 12}" fill="none" stroke="#999"/>',
            f'<text x="2" y="26">{high:.4g}</text><text x="2" y="{_HEIGHT - 24}">{low:.4g}</text>',
            f'<text x="{_MARGIN}" y="{_HEIGHT - 10}">epoch {first:g}</text>',
            f'<text x="{_WIDTH - 12}" y="{_HEIGHT - 10}" text-anchor="end">{last:g}</text>',
            f'<polyline points="{path}" fill="none" stroke="#1f77b4" stroke-width="1.5"/>',
            *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#d62728"/>' for x, y in marked),
        ]
    )


def _on(value: float, low: float, high: float, start: float, end: float) -> float:
    """Return where a value lies between two pixels; the middle where all values are equal."""
    return (start + end) / 2 if high == low else start + (value - low) / (high - low) * (end - start)
