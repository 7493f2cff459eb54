"""The best items of a large catalogue without scoring all of it: an index proposes rows, exact scores choose among them (numpy)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.errors import AutoRecError, BundleError
from autorec_kernel.evaluation.ordering import top_k
from autorec_kernel.serving.predict import reads_history
from autorec_kernel.serving.requests import concat, stored_request

if TYPE_CHECKING:
    from autorec_kernel.contracts.index import OpenIndex
    from autorec_kernel.serving.foldin import FoldIn
    from autorec_kernel.serving.scorers import VectorScorer

__all__ = ["GATE", "GOLDEN", "Nearest", "below", "failed", "open_nearest", "questions"]

_log = logging.getLogger(__name__)

GATE = 0.99  # least recall@10, exact lists being 1
GOLDEN = 64  # users that recall is measured on whenever a bundle is loaded
_SLACK = 0.02  # of the golden users alone: three standard errors of 64 lists
_DEPTH = 10
_SHARE = 20  # lists of more than the twentieth part of a catalogue are made exactly
_BLOCK = 1 << 22  # catalogue scores held at a time
_NOTHING = np.zeros(0, np.int64), np.zeros(0, np.float32)
Csr = tuple[np.ndarray, np.ndarray]
Question = tuple[np.ndarray, Csr]


class Nearest:
    """Lists as `top_k` makes them of all scores, of those rows that an index proposes.

    As many more rows are asked for as are excluded. A list is made of all scores where the index cannot be trusted with it: it has too few
    rows left, wants too much of the catalogue, has scores that are no numbers, or ties at its end, whose other items may not be proposed.

    Args:
        search: The index, over the vectors of rows 1 … N - 1.
        scorer: Scores rows exactly.
        effort: The setting of the index, 0 = the quickest.
    """

    def __init__(self, search: OpenIndex, scorer: VectorScorer, effort: int = 0) -> None:
        self._search, self._scorer, self.effort = search, scorer, effort

    def lists(self, users: np.ndarray, k: int, exclude: Csr) -> tuple[np.ndarray, np.ndarray]:
        """Return (int64 [A, k] item rows, -1 where there are no more; float32 [A, k] their scores).

        Args:
            users: float32 [A, D] or [A, K, D] user vectors.
            exclude: (offsets [A + 1], distinct items in order) that are not listed.
        """
        rows, scores = np.full((len(users), k), -1, np.int64), np.zeros((len(users), k), np.float32)
        for number in range(len(users)):
            banned = _part(exclude, number)
            best, own = self._proposed(users[number], k, banned)
            if len(best) < k or (len(best) > k and own[k - 1] == own[k]):
                best, own = self._all(users[number], k, banned)
            rows[number], scores[number] = best[:k], own[:k]
        return rows, scores

    def recall(self, users: np.ndarray, exclude: Csr) -> float:
        """Return the share of the places of exact lists of ten that the index fills by itself, ties counted as equal."""
        step, hits = max(1, _BLOCK // self._scorer.items), 0
        for start in range(0, len(users), step):
            scores = self._scorer.from_vectors(users[start : start + step])
            for number, known in enumerate(scores, start):
                banned = _part(exclude, number)
                last = top_k(known[None], _DEPTH, concat([banned]))[0, -1]
                found = self._proposed(users[number], _DEPTH, banned)[0][:_DEPTH]
                hits += int((known[found] >= known[last]).sum())
        return hits / max(1, _DEPTH * len(users))

    def settle(self, asked: Sequence[Question], least: float) -> float:
        """Take the weakest effort, from the present one on, that reaches this recall in every question; return its lowest, 0 = none."""
        for effort in range(self.effort, self._search.efforts):
            self.effort, found = effort, 1.0
            for question in asked:
                found = min(found, self.recall(*question)) if found >= least else found
            if found >= least:
                return found
        return 0.0

    def _proposed(self, user: np.ndarray, k: int, banned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what the index proposes and may be listed, best first, with its scores; nothing where it cannot be trusted."""
        wanted = k + len(banned) + 1  # one more, which shows whether the last place is tied
        if wanted * _SHARE > self._scorer.items:
            return _NOTHING
        rows = np.unique(self._search.candidates(self._scorer.query(user), wanted, self.effort)) + 1
        rows = rows[(rows > 0) & (rows < self._scorer.items)]
        rows = rows[np.searchsorted(banned, rows) == np.searchsorted(banned, rows, "right")]
        scores = self._scorer.of(user, rows)
        if not np.isfinite(scores).all():
            return _NOTHING
        order = np.argsort(-scores, kind="stable")
        return rows[order], scores[order]

    def _all(self, user: np.ndarray, k: int, banned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores = self._scorer.from_vectors(user[None])
        rows = top_k(scores, k, concat([banned]))[0]
        return rows, scores[0, rows]


def questions(scorer: VectorScorer, users: np.ndarray, fold_in: FoldIn | None) -> list[Question]:
    """Return what users (rows int64 [A]) ask of a catalogue, as (vectors, excluded items).

    First with nothing excluded, then with what they have seen, and once more as strangers are asked for who come with the same histories,
    where those are folded in.
    """
    requests = [stored_request(scorer.state, int(row)) for row in users]
    seen, vectors = concat([np.unique(one.seen) for one in requests]), scorer.user_outputs(requests)
    found: list[Question] = [(vectors, concat([np.zeros(0, np.int64)] * len(requests))), (vectors, seen)]
    if fold_in is not None and not reads_history(scorer.graph, scorer.state.schema):
        found.append((fold_in.users([one.history for one in requests]), seen))
    return found


def open_nearest(
    facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray], scorer: Any, fold_in: FoldIn | None, create: Callable[..., Any] | None
) -> tuple[Nearest | None, str]:
    """Return the index of a bundle after its golden users were asked again, or None; and how lists are made, for people.

    Args:
        facts: What the schema says of it: `component` and `effort`; or why there is none (`told`).
        create: `Kernel.create`. Which plugins are there is the caller's choice: a bundle names a component, and imports nothing.

    Raises:
        BundleError: The index is damaged.
    """
    id = facts.get("component", "")
    if not id or create is None:
        told = f"the index {id} is used where `create` is given" if id else facts.get("told", "")
        return None, f"exact: {told}" if told else "exact"
    try:
        nearest = Nearest(create("index", id).open(arrays), scorer, max(0, int(facts["effort"])))
        found = nearest.settle(questions(scorer, arrays["users"][:GOLDEN], fold_in), GATE - _SLACK)
        if found:
            return nearest, f"{id}: recall@10 {found:.4f} at effort {nearest.effort}"
        reason = below(id)
    except BundleError:
        raise
    except Exception as error:  # the border of a plugin: exact lists are as good, and slower
        reason = failed(id, error)
    _log.warning("every item is scored for a list: %s", reason)
    return None, f"exact: {reason}"


def below(id: str) -> str:
    """Say that an index does not find enough."""
    return f"the index {id} has a recall@10 below {GATE}"


def failed(id: str, error: Exception) -> str:
    """Say why an index cannot be used."""
    if isinstance(error, AutoRecError):
        return f"{error.message} ({error.hint})" if error.hint else error.message
    return f"the index {id} failed: {type(error).__name__}: {str(error)[:200]}"


def _part(lists: Csr, number: int) -> np.ndarray:
    return lists[1][lists[0][number] : lists[0][number + 1]]
