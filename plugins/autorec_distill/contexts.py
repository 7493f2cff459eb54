"""Whom a training batch is about, as numbers: equal ones stand for equal histories; and a sample of those whom a training meets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from autorec_kernel.features import FeatureSet
from autorec_kernel.models import Network
from autorec_kernel.models.batching import batches_for
from autorec_kernel.models.memory import RESET
from autorec_kernel.records.lists import offsets_of

__all__ = ["Contexts", "Keys", "contexts_of"]

Batch = Mapping[str, torch.Tensor]
_STEPS = 20  # bits of a place in a history
_MANY = 2_000_000  # numbers gathered before equal ones are put together


@dataclass(frozen=True, slots=True, eq=False)
class Contexts:
    """Whom a teacher is asked about.

    Args:
        keys: int64 [P], ascending.
        users: int64 [P], 0 = nobody: the history alone tells who it is.
        offsets: int64 [P + 1].
        items: int32, the histories one after the other.
    """

    keys: np.ndarray
    users: np.ndarray
    offsets: np.ndarray
    items: np.ndarray


class Keys:
    """Names whom batch after batch of one training is about.

    A step is named by the sum of a hash of (item, place) over the history up to it, so that a session that is cut into batches goes on
    from the one before; a row by its last step, and by its user where the network reads one.

    Args:
        network: It answers every step of a history (`stepwise`), or every row.
        user: The user column, "" = none.
        newest: Of a stepwise network, name each row's newest step alone.
    """

    def __init__(self, network: Network, user: str, *, stepwise: bool, newest: bool = False) -> None:
        self.history = next(iter(network.lengths), "")
        self.user = user if user in network.training_inputs else ""
        self.stepwise = stepwise
        self.newest = newest
        self._sum = self._count = torch.zeros(0, 1, dtype=torch.int64)

    def of(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (keys int64, whether there is anybody bool), [A, L] of steps or [A] of rows; sessions are given in their order."""
        if self.history:
            keys, real = self._steps(batch[self.history], batch)
            if self.stepwise and self.newest:
                return keys, real & (real.cumsum(1) == real.sum(1, keepdim=True))
            if self.stepwise:
                return keys, real
            keys, real = keys[:, -1], real.any(1)
        else:
            keys, real = torch.zeros_like(batch[self.user]), torch.zeros_like(batch[self.user], dtype=torch.bool)
        if self.user:
            keys, real = keys + _mixed(batch[self.user], (1 << _STEPS) - 1), real | (batch[self.user] != 0)
        return keys, real

    def _steps(self, ids: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (keys, mask) of histories int64 [A, L], padded on the right."""
        real = ids != 0
        total = count = torch.zeros(len(ids), 1, dtype=torch.int64, device=ids.device)
        if RESET in batch and len(self._sum) == len(ids):
            over = batch[RESET].bool().unsqueeze(1)
            total, count = self._sum.masked_fill(over, 0), self._count.masked_fill(over, 0)
        keys = total + (_mixed(ids, count + torch.arange(ids.shape[1], device=ids.device)) * real).cumsum(1)
        if RESET in batch:
            self._sum, self._count = keys[:, -1:], count + real.sum(1, keepdim=True)
        return keys, real


def contexts_of(
    network: Network, make: Callable[[], Keys], features: FeatureSet, size: int, most: int, rng: np.random.Generator
) -> Contexts:
    """Return whom the training batches of a network are about; a sample of `most` where they are more.

    Args:
        make: Returns fresh keys.
        size: Rows a batch.
    """
    order = np.random.SeedSequence(int(rng.integers(2**63)))

    def batches() -> Iterator[Batch]:
        return batches_for(network, features, size).epoch(np.random.default_rng(order))

    keys, found, waiting = make(), [np.zeros(0, np.int64)], 0
    for batch in batches():
        some, real = keys.of(batch)
        found.append(np.unique(some[real].numpy()))
        waiting += len(found[-1])
        if waiting > _MANY:
            found, waiting = [np.unique(np.concatenate(found))], 0
    chosen = np.sort(rng.permutation(np.unique(np.concatenate(found)))[:most])
    return _gathered(batches(), make(), chosen, features)


def _gathered(batches: Iterator[Batch], keys: Keys, chosen: np.ndarray, features: FeatureSet) -> Contexts:
    """Return user and history of each key, where it comes first."""
    users, left = np.zeros(len(chosen), np.int64), np.ones(len(chosen), bool)
    histories, shown = [np.zeros(0, np.int32)] * len(chosen), _Shown(keys.history)
    for batch in batches if len(chosen) else ():
        some, real = (value.numpy() for value in keys.of(batch))
        shown.show(batch)
        at = np.searchsorted(chosen, some).clip(max=len(chosen) - 1)
        for place in zip(*np.nonzero(real & (chosen[at] == some) & left[at]), strict=True):
            left[at[place]] = False
            users[at[place]] = batch[keys.user][place[0]] if keys.user else 0
            histories[at[place]] = shown.upto(place) if keys.history else features.interactions.of(int(users[at[place]]))
    lengths = np.fromiter((len(one) for one in histories), np.int64, len(histories))
    return Contexts(chosen, users, offsets_of(lengths), np.concatenate([np.zeros(0, np.int32), *histories]).astype(np.int32))


class _Shown:
    """The histories of a batch; of sessions that are cut into batches, with what earlier ones showed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows = np.zeros((0, 1), np.int32)
        self.before: list[np.ndarray] = []

    def show(self, batch: Batch) -> None:
        """Go on to the next batch."""
        if RESET in batch:
            old = [np.concatenate([was, row[row != 0]]) for was, row in zip(self.before, self.rows, strict=True)]
            empty = np.zeros(0, np.int32)
            new = batch[RESET].tolist()
            self.before = [empty if begins else was for begins, was in zip(new, old or [empty] * len(new), strict=True)]
        if self.name:
            self.rows = batch[self.name].numpy().astype(np.int32)

    def upto(self, place: tuple[Any, ...]) -> np.ndarray:
        """Return int32, the history up to the step (row, column), or the whole of a row."""
        row = self.rows[place[0]]
        found: np.ndarray = row[: place[1] + 1] if len(place) > 1 else row[row != 0]
        return np.concatenate([self.before[place[0]], found]) if self.before else found


def _mixed(ids: torch.Tensor, place: torch.Tensor | int) -> torch.Tensor:
    """Return int64, a hash of (id, place) whose sums and products wrap around (the finaliser of splitmix64, Steele et al. 2014)."""
    value = (ids << _STEPS) + place
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        value = (value ^ _shifted(value, shift)) * factor
    return value ^ _shifted(value, 31)


def _shifted(value: torch.Tensor, by: int) -> torch.Tensor:
    """Return the bits moved to the right, zeros on the left."""
    return (value >> by) & ((1 << (64 - by)) - 1)
