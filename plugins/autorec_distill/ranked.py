"""What teachers answer: the best items of each context with their scores, asked once and kept for as long as the teachers are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
from torch import nn

from autorec_distill.contexts import Contexts
from autorec_kernel.features import FeatureSet
from autorec_kernel.models.scoring import rank_block
from autorec_kernel.records.model import TrainedModel

__all__ = ["WHOLE", "Ranked", "ranked", "spread_of"]

Teachers = Sequence[tuple[TrainedModel, float]]
_CELLS = 4_000_000  # scores held at a time: 16 MB
_LOWEST = -6e4  # what float16 holds
WHOLE = 8192  # items up to which students are compared on all of them, and not on a sample
_HIGHEST = 60.0  # of a logarithm: what a sum in float32 holds
_FIRST = 512  # contexts that the spread of scores is taken from
_made: WeakKeyDictionary[nn.Module, dict[tuple[object, ...], Ranked]] = WeakKeyDictionary()  # by the first teacher: students share them


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """The lists of P contexts: 6 bytes an entry and 12 a context.

    Args:
        keys: int64 [P], ascending.
        items: int32 [P, k], item rows, best first; 0 = nothing more is left.
        scores: float16 [P, k], scores less the best one, in units of their spread.
        rest: float32 [P], log of the sum of exp(score / temperature) over all other items, on that scale. Items chosen before are among
            them up to `WHOLE` items: a student that had to give these nothing would be taught to turn away from what its users like.
        others: Items that a list leaves over.
    """

    keys: np.ndarray
    items: np.ndarray
    scores: np.ndarray
    rest: np.ndarray
    others: int

    @property
    def catalogue(self) -> int:
        """Return how many rows items have, row 0 = unknown included."""
        return self.others + int(self.items.shape[1]) + 1


def ranked(teachers: Teachers, features: FeatureSet, contexts: Contexts, count: int, temperature: float) -> Ranked:
    """Return the `count` best items of each context that are not in its history, unless this data repeats items.

    Scores of several teachers are each brought to one spread over the catalogue before their weighted mean is taken.
    """
    known = _made.setdefault(teachers[0][0].module, {})
    asked = (tuple((id(model.module), weight) for model, weight in teachers), count, temperature, contexts.keys.tobytes())
    if asked not in known:
        known[asked] = _asked(teachers, features, contexts, count, temperature)
    return known[asked]


def spread_of(model: TrainedModel, features: FeatureSet, contexts: Contexts, count: int) -> float:
    """Return the root mean square of the standard deviations of a model's own lists: the unit of its scores."""
    first = _first(contexts)
    best = [np.partition(fresh, -count, axis=1)[:, -count:] for _, _, fresh in _scores([(model, 1.0)], features, first)]
    return _spread(np.concatenate(best))


def _asked(teachers: Teachers, features: FeatureSet, contexts: Contexts, count: int, temperature: float) -> Ranked:
    total, unit = len(contexts.keys), 0.0
    items, scores = np.zeros((total, count), np.int32), np.zeros((total, count), np.float16)
    rest = np.zeros(total, np.float32)
    for part, block, fresh in _scores(teachers, features, contexts):
        best = np.argpartition(-fresh, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(fresh, best, 1)
        order = np.argsort(-values, axis=1, kind="stable")
        best, values = np.take_along_axis(best, order, 1), np.take_along_axis(values, order, 1)
        unit = unit or _spread(values)
        real = np.isfinite(values)
        top = np.where(real[:, :1], values[:, :1], 0.0)  # where nothing is left to list
        others = block if features.schema.items <= WHOLE else fresh  # a few draws meet hardly anything of what was chosen before
        np.put_along_axis(others, best, np.where(real, -np.inf, np.take_along_axis(others, best, 1)), 1)
        tail = (others - top) / (unit * temperature)
        rest[part] = np.log(np.exp(tail.clip(max=_HIGHEST)).sum(1) + 1e-30)
        items[part] = np.where(real, best, 0)
        scores[part] = np.maximum((values - top) / unit, _LOWEST)
    return Ranked(contexts.keys, items, scores, rest, features.schema.items - 1 - count)


def _scores(teachers: Teachers, features: FeatureSet, contexts: Contexts) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield (contexts, float32 [A, N], the same but for what was chosen before) block by block; both have -inf for what is left out."""
    state, step = features.state(), max(1, _CELLS // features.schema.items)
    tables = [model.module.item_vectors().numpy() if model.module.serving_outputs == ("user",) else None for model, _ in teachers]
    units = [0.0] * len(teachers)
    for start in range(0, len(contexts.keys), step):
        part = slice(start, min(start + step, len(contexts.keys)))
        users, histories = contexts.users[part], _histories(contexts, part)
        total = np.zeros((len(users), features.schema.items), np.float32)
        for number, ((model, weight), table) in enumerate(zip(teachers, tables, strict=True)):
            found = rank_block(model.module, state, users, histories, table)
            units[number] = units[number] or (_spread(found) if len(teachers) > 1 else 1.0)
            total += weight / units[number] * found
        total[:, 0] = -np.inf
        fresh = total
        if not features.repeating:
            fresh = total.copy()
            fresh[np.repeat(np.arange(len(users)), np.diff(histories[0])), histories[1]] = -np.inf
        yield part, total, fresh


def _histories(contexts: Contexts, part: slice) -> tuple[np.ndarray, np.ndarray]:
    offsets = contexts.offsets[part.start : part.stop + 1]
    return offsets - offsets[0], contexts.items[offsets[0] : offsets[-1]].astype(np.int64)


def _first(contexts: Contexts) -> Contexts:
    count = min(_FIRST, len(contexts.keys))
    return replace(contexts, keys=contexts.keys[:count], users=contexts.users[:count], offsets=contexts.offsets[: count + 1])


def _spread(scores: np.ndarray) -> float:
    """Return the root mean square of the rows' standard deviations over what is finite; 1 where all scores are equal."""
    real = np.isfinite(scores)
    count = real.sum(1, keepdims=True).clip(min=1)
    values = np.where(real, scores, 0.0).astype(np.float64)
    off = np.where(real, values - values.sum(1, keepdims=True) / count, 0.0)
    return float(np.sqrt((np.square(off).sum(1, keepdims=True) / count).mean())) or 1.0
