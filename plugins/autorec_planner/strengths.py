"""Strengths between those that a compressor proposes: what lies between a mild setting that is accepted and a harder one that is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from autorec_kernel.space import Float, Int, genes_of
from autorec_planner.probes import Probe, probed_alone
from autorec_planner.workshop import Setting, Workshop, graph_of

__all__ = ["halved", "refined"]

_HALVINGS = 2  # of each compressor
_DIGITS = 3
_UNREAD = "between its settings none was tried, for its options cannot be read"
_ALIKE = 0.02  # of a domain: strengths closer than this are not told apart


def refined(shop: Workshop, found: Sequence[Probe]) -> list[Probe]:
    """Return the probes, and those of more strengths, each halfway between the hardest accepted and the mildest refused one.

    Only under a deadline, in the time for probes: without one a plan costs what the compressors propose.
    """
    rows = list(found)
    if shop.request.deadline is None:
        return rows
    start = graph_of(shop.request.start, shop.request.target.threads)
    for _ in range(_HALVINGS):
        for name in sorted({row.setting.component for row in rows}, key=lambda name: _hope(rows, name)):
            own = [row for row in rows if row.setting.component == name]
            tried = _next(shop, name, own) if any(row.bytes for row in own) else None
            if isinstance(tried, Probe):
                rows.append(tried)
            elif tried is not None and shop.in_time(training=True):
                rows.append(probed_alone(shop, tried, start))
    return rows


def halved(probes: Sequence[Probe], scales: Mapping[str, Int | Float]) -> Setting | None:
    """Return the setting halfway between the hardest accepted and the mildest refused one; a side without any ends with the domain.

    Args:
        probes: Of one compressor; those that were not built do not count.
        scales: Option → its domain.

    Returns:
        None where no two that were built differ in one number alone, or nothing lies between.
    """
    rows = sorted((row for row in probes if row.bytes), key=lambda row: -row.bytes)
    found = (_between(option, group, scales[option], rows) for option, group in _varied(rows, scales))
    return next((setting for setting in found if setting is not None), None)


def _between(option: str, rows: Sequence[Probe], scale: Any, known: Sequence[Probe]) -> Setting | None:
    """Return the setting halfway, of rows that differ in one option, the mildest first; None where it is known or nothing lies between."""
    if not all(scale.contains(row.setting.config[option]) for row in rows):
        return None
    places = [scale.unit(row.setting.config[option]) for row in rows]
    mild, hard = (0.0, 1.0) if places[0] < places[-1] else (1.0, 0.0)
    for row, place in zip(rows, places, strict=True):
        if row.reason:
            hard = place
            break
        mild = place
    value = scale.at((mild + hard) / 2)
    value = float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
    if not scale.contains(value) or any(abs(scale.unit(value) - place) < _ALIKE for place in places):
        return None
    found = replace(rows[0].setting, config={**rows[0].setting.config, option: value})
    return None if any(row.setting.config == found.config for row in known) else found


def _varied(rows: Sequence[Probe], scales: Mapping[str, Int | Float]) -> list[tuple[str, list[Probe]]]:
    """Return the groups of probes that differ in one number of the domains alone: those with both verdicts first, then the largest."""
    groups: dict[tuple[str, str], list[Probe]] = {}
    for option in sorted(scales):
        for row in rows:
            rest = {key: value for key, value in row.setting.config.items() if key != option}
            groups.setdefault((option, repr(sorted(rest.items()))), []).append(row)
    found = [(option, group) for (option, _), group in groups.items() if len(group) > 1]
    return sorted(found, key=lambda one: (len({bool(row.reason) for row in one[1]}) < 2, -len(one[1])))


def _hope(rows: Sequence[Probe], name: str) -> tuple[bool, str]:
    """Return what puts compressors with an accepted setting first."""
    return not any(row.verdict and not row.reason for row in rows if row.setting.component == name), name


def _next(shop: Workshop, name: str, own: Sequence[Probe]) -> Setting | Probe | None:
    """Return what to try next; a row that tells why nothing is, once, where the options of a plugin's compressor cannot be read."""
    if any(row.reason.startswith(_UNREAD) for row in own):
        return None
    try:
        return halved(own, _scales(shop, name))
    except Exception as error:  # a plugin's code: its domains are its own, and its proposals stand
        return Probe(replace(own[0].setting, config={}), f"{_UNREAD}: {type(error).__name__}: {error}"[:300])


def _scales(shop: Workshop, name: str) -> dict[str, Int | Float]:
    genes = genes_of(type(shop.request.kernel.create("compressor", name)).Config, "")
    return {gene.name: gene.domain for gene in genes if isinstance(gene.domain, (Int, Float))}
