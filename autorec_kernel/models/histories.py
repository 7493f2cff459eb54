"""Histories: how many steps of each are read, and how a batch of them is brought to that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from autorec_kernel.models.sources import Source

__all__ = ["history_lengths", "newest", "stepped"]


def history_lengths(sources: Iterable[Source]) -> dict[str, int]:
    """Return history input → longest history that is read of it, 0 = all; sources that read less are told to cut."""
    sources, found = list(sources), dict[str, int]()
    for source in sources:
        known = found.get(source.names[0], source.length)
        found[source.names[0]] = 0 if 0 in (known, source.length) else max(known, source.length)
    for source in sources:
        source.cut = source.length if source.length != found[source.names[0]] else 0
    return found


def newest(ids: torch.Tensor, count: int) -> torch.Tensor:
    """Return int64 [A, count], the last `count` real steps of right-padded rows int64 [A, L], right-padded."""
    real = (ids != 0).sum(1, keepdim=True)
    place = (real - count).clamp(min=0) + torch.arange(count, device=ids.device)
    return torch.where(place < real, ids.gather(1, place.clamp(max=ids.shape[1] - 1)), 0)


def stepped(ids: torch.Tensor) -> torch.Tensor:
    """Return rows int64 [A, L]; those without any step, [A, 0], as one step of padding. An exported graph is given one at least."""
    return ids if torch.compiler.is_exporting() or ids.shape[1] else functional.pad(ids, (0, 1))
