"""Which coordinates stay: as many of each cell as the narrower network has places for, those with the largest weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from autorec_kernel.contracts.deploy import NotApplicable
from autorec_prune.coordinates import FIXED, Coordinates

__all__ = ["Cells", "cells_of", "importance", "kept_of", "sliced"]

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Coordinates that can take each other's place: they lie on the same axes, in the same parts of these.

    Args:
        members: Cell → int64, its coordinates.
        stay: Cell → how many of them stay.
    """

    members: tuple[np.ndarray, ...]
    stay: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    """So many places of an axis, or of a part of one, stay.

    Args:
        where: For the error.
        counts: Coordinate → how often it lies there.
        share: Of the places.
    """

    where: str
    counts: Mapping[int, int]
    stay: int
    share: float


def cells_of(found: Coordinates, shapes: Shapes) -> Cells:
    """Return the cells of a network, and what stays of each in one of other shapes.

    Args:
        shapes: Tensor → its shape in the narrower network.

    Raises:
        NotApplicable: The shapes cannot be reached: what is fixed would have to go, or parts of an axis would be left unequal.
    """
    rules = _rules(found, shapes)
    marks: dict[int, list[tuple[int, int]]] = {}
    for place, rule in enumerate(rules):
        for number, count in rule.counts.items():
            marks.setdefault(number, []).append((place, count))
    groups: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for number, mark in marks.items():
        if number != FIXED:
            groups.setdefault(tuple(mark), []).append(number)
    members = tuple(np.array(sorted(numbers)) for numbers in groups.values())
    return Cells(members, tuple(_solved(rules, list(groups), [len(one) for one in members])))


def _rules(found: Coordinates, shapes: Shapes) -> list[_Rule]:
    rules = []
    for (name, axis), numbers in found.axes.items():
        stay = shapes[name][axis]
        rules.append(_Rule(f"axis {axis} of {name}", _counts(found, numbers), stay, stay / len(numbers)))
    share = {numbers[0]: rule.share for numbers, rule in zip(found.axes.values(), rules, strict=True)}
    firsts = np.array(sorted(share))
    for whole in found.parts.values():
        part = whole[whole != FIXED]
        owners = np.unique(np.searchsorted(firsts, part, side="right"))
        if len(owners) != 1:
            continue  # it is no part of one axis
        of = share[firsts[owners[0] - 1]]
        if abs(len(part) * of - round(len(part) * of)) > 1e-9:
            raise NotApplicable(f"an axis is taken apart into parts of {len(part)} places, of which {len(part) * of:g} would stay")
        rules.append(_Rule(f"a part of {len(part)} places", _counts(found, part), round(len(part) * of), of))
    return rules


def _counts(found: Coordinates, numbers: np.ndarray) -> dict[int, int]:
    values, counts = np.unique(found.of(numbers), return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _solved(rules: list[_Rule], marks: list[tuple[tuple[int, int], ...]], sizes: list[int]) -> list[int]:
    """Return how many coordinates of each cell stay: rules with one open cell settle it, and where none has one, its share does."""
    inside: list[dict[int, int]] = [{} for _ in rules]
    for cell, mark in enumerate(marks):
        for place, count in mark:
            inside[place][cell] = count
    stay: dict[int, int] = {}
    while len(stay) < len(sizes):
        before = len(stay)
        for rule, cells in zip(rules, inside, strict=True):
            left = [cell for cell in cells if cell not in stay]
            if len(left) == 1:
                stay[left[0]] = _open(rule, cells, stay) // cells[left[0]]
        if len(stay) == before:
            cell = next(cell for cell in range(len(sizes)) if cell not in stay)
            stay[cell] = round(min(rules[place].share for place, _ in marks[cell]) * sizes[cell])
    for rule, cells in zip(rules, inside, strict=True):
        if _open(rule, cells, stay):
            raise NotApplicable(f"{rule.where} cannot become {rule.stay} long: what has to stay together does not fit")
    if any(not 0 < stay[cell] <= size for cell, size in enumerate(sizes)):
        raise NotApplicable("a whole set of coordinates would have to go")
    return [stay[cell] for cell in range(len(sizes))]


def _open(rule: _Rule, cells: Mapping[int, int], stay: Mapping[int, int]) -> int:
    """Return how many places of a rule are not settled yet."""
    return rule.stay - rule.counts.get(FIXED, 0) - sum(count * stay.get(cell, 0) for cell, count in cells.items())


def importance(found: Coordinates, tensors: Mapping[str, torch.Tensor]) -> Callable[[int], float]:
    """Return coordinate → the sum over all matrices that it lies on of its squared weights there, over their mean for a coordinate.

    What reads a coordinate counts as what writes it does: it is worth as little as it is little read.
    """
    total: dict[int, float] = {}
    for (name, axis), numbers in found.axes.items():
        if tensors[name].dim() < 2:
            continue
        squares = tensors[name].detach().double().square().sum([other for other in range(tensors[name].dim()) if other != axis])
        mean = float(squares.mean())
        for number, value in zip(found.of(numbers).tolist(), (squares / (mean or 1.0)).tolist(), strict=True):
            total[number] = total.get(number, 0.0) + value
    return lambda number: total.get(number, 0.0)


def kept_of(cells: Cells, worth: Callable[[int], float]) -> dict[int, int]:
    """Return coordinate → itself, for those that stay: of each cell the ones of most worth, the first among equals."""
    best = [sorted(members.tolist(), key=lambda one: (-worth(one), one)) for members in cells.members]
    return {number: number for numbers, count in zip(best, cells.stay, strict=True) for number in numbers[:count]}


def sliced(found: Coordinates, tensors: Mapping[str, torch.Tensor], places: Mapping[int, int]) -> dict[str, torch.Tensor]:
    """Return copies of tensors with some coordinates in the places of others.

    Args:
        places: Coordinate → which one comes into its place; those that are missing go, and what is fixed stays.
    """
    result = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    for (name, axis), numbers in found.axes.items():
        index = _moved(found.of(numbers).tolist(), {**places, FIXED: FIXED})
        if index != list(range(len(numbers))):
            result[name] = result[name].index_select(axis, torch.tensor(index))
    return result


def _moved(coordinates: list[int], places: Mapping[int, int]) -> list[int]:
    """Return which place of an axis comes into each that stays; the i-th place of a coordinate is that of the other's i-th."""
    at: dict[int, list[int]] = {}
    for place, number in enumerate(coordinates):
        at.setdefault(number, []).append(place)
    found, met = [], dict[int, int]()
    for number in coordinates:
        if number in places:
            found.append(at[places[number]][met.get(number, 0)])
            met[number] = met.get(number, 0) + 1
    return found
