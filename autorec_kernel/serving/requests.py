"""From ids to rows: what a request means to the model, and which way it will be answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autorec_kernel.errors import UsageError
from autorec_kernel.records.lists import offsets_of
from autorec_kernel.serving.answer import AnsweredBy
from autorec_kernel.serving.given import texts_of
from autorec_kernel.serving.verify import damaged

if TYPE_CHECKING:
    from autorec_kernel.records.serving_state import ServingState

__all__ = ["Request", "concat", "given_histories", "read_requests", "stored_request", "way"]


@dataclass(frozen=True, slots=True)
class Request:
    """One user as the model sees it.

    Args:
        user: The id asked for, or None.
        row: Key of the user: the row of one whom training knows, or that of a stranger; 0 = unknown.
        history: int64 [n] item rows, oldest first: the given history, else the stored one (positive events).
        seen: int64 [n] item rows that are not recommended again.
        given: Whether the caller gave the history.
        unknown_items: Ids of the given history that training never saw.
    """

    user: str | None
    row: int
    history: np.ndarray
    seen: np.ndarray
    given: bool
    unknown_items: int = 0


@damaged("bundle")
def read_requests(
    state: ServingState, users: Sequence[str | None] | None, histories: Sequence[Sequence[str] | None] | None
) -> list[Request]:
    """Pair users with histories.

    Raises:
        UsageError: Neither is given, or their lengths differ.
    """
    if users is None and histories is None:
        raise UsageError("a recommendation needs a user id or a history", hint="pass users=[...] or histories=[...]")
    count = len(users) if users is not None else len(histories or ())
    names = (texts_of(users, "user") or []) if users is not None else [None] * count
    lists = list(histories) if histories is not None else [None] * count
    if len(lists) != count:
        raise UsageError(f"{count} users, but {len(lists)} histories")
    rows = state.keys_of("user", names)
    return [_request(state, name, int(row), given) for name, row, given in zip(names, rows, lists, strict=True)]


def _request(state: ServingState, user: str | None, row: int, given: Sequence[str] | None) -> Request:
    if given is None:
        return stored_request(state, row, user)
    rows = state.items.row_of([str(item) for item in given])
    known = rows[rows > 0]
    return Request(user, row, known, np.union1d(known, state.seen_by(row)), given=True, unknown_items=len(rows) - len(known))


def stored_request(state: ServingState, row: int, user: str | None = None) -> Request:
    """Return the request of a user key as training and folding left it; 0 has neither history nor seen items."""
    return Request(user, row, state.history_of(row).astype(np.int64), state.seen_by(row).astype(np.int64), given=False)


def given_histories(requests: Sequence[Request]) -> list[np.ndarray] | None:
    """Return the histories that callers gave; None when the stored state of each user is meant (requests of one kind only)."""
    return [request.history for request in requests] if any(request.given for request in requests) else None


def way(request: Request, *, known: bool, told: bool, reads_history: bool, folds_in: bool) -> AnsweredBy:
    """Return how a request is answered: by the model where its graph can read the user, else by fold-in, else by popularity.

    Args:
        known: Whether training knows the user; the history of any other one says more than what else is known.
        told: What `tells` says of the user.
    """
    if (known and told) or (reads_history and len(request.history)):
        return "model"
    if folds_in and len(request.history):
        return "fold-in"
    return "model" if told else "popularity"


def concat(lists: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return compressed rows (offsets int64 [A + 1], items int64) of lists of item rows."""
    offsets = offsets_of([len(part) for part in lists])
    return offsets, np.concatenate([np.zeros(0, np.int64), *lists]).astype(np.int64)
