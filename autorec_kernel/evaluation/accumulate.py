"""`RankingEvaluator`: feed blocks of scores, get the metrics; the peak memory is that of one block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autorec_kernel.errors import ContractError, UsageError
from autorec_kernel.evaluation import ranking
from autorec_kernel.evaluation._csr import Csr, as_csr, keys, rows_of, take
from autorec_kernel.evaluation._lists import best
from autorec_kernel.evaluation.metrics import MetricInfo, parse_metric
from autorec_kernel.evaluation.ordering import masked_blocks, matrix
from autorec_kernel.evaluation.result import RankingResult

__all__ = ["RankingEvaluator", "evaluate_lists", "evaluate_scores"]

_COUNTS = ("users", "left_out", "positives", "unknown_positives", "excluded_positives", "nan_scores")


class RankingEvaluator:
    """Full-ranking metrics of a stream of blocks. The result does not depend on how the users are cut into blocks.

    A positive that is in its user's exclude list can never be recommended, and counts as a miss: lifting the mask for it alone would
    tell the answer.

    Args:
        metrics: Names with cutoffs: `ndcg@10`, `coverage@20`, ….
        item_count: Rows of the catalogue, the unknown row included.
        popularity: Training interactions per item row, [item_count]; needed for `novelty`.
        unknown_row: Whether item row 0 is the unknown item.
    """

    def __init__(self, metrics: Sequence[str], item_count: int, *, popularity: np.ndarray | None = None, unknown_row: bool = True) -> None:
        self._metrics = {name: _ranked(name) for name in metrics}
        if not self._metrics:
            raise UsageError("name at least one ranking metric, for example ndcg@10")
        self.depth = max(k for _, k in self._metrics.values())
        self._first, self._item_count = int(unknown_row), item_count
        self._information = self._informed(popularity)
        self._listed = {k: np.zeros(item_count, dtype=bool) for info, k in self._metrics.values() if info.name == "coverage"}
        self._users: list[np.ndarray] = []
        self._values: dict[str, list[np.ndarray]] = {name: [] for name, (info, _) in self._metrics.items() if info.name != "coverage"}
        self._counts = dict.fromkeys(_COUNTS, 0)

    def add(self, users: np.ndarray, scores: np.ndarray, positives: Csr, exclude: Csr | None = None, *, scratch: bool = False) -> None:
        """Rank one block and add it.

        Args:
            users: int64 [A], user rows.
            scores: float32 [A, item_count].
            positives: (offsets [A + 1], items): what each user is to find.
            exclude: (offsets [A + 1], items): what is not recommended to each user.
            scratch: Whether the scores may be written over, which saves a copy.

        Raises:
            ContractError: The shapes do not fit.
        """
        if np.shape(scores) != (len(users), self._item_count):
            raise ContractError(f"expected scores float32 [{len(users)}, {self._item_count}], got {list(np.shape(scores))}")
        positives = as_csr(positives, len(users), what="positives")
        lists = self._list(matrix(scores), positives, exclude, scratch)
        kept = np.flatnonzero(np.diff(positives[0]))
        self._counts["left_out"] += len(users) - len(kept)
        if len(kept) < len(users):
            users, lists, positives = np.asarray(users)[kept], lists[kept], take(positives, kept)
        self._count(np.asarray(users), lists, positives, distinct=True)

    def add_lists(self, users: np.ndarray, lists: np.ndarray, positives: Csr) -> None:
        """Add finished lists.

        Args:
            users: int64 [A].
            lists: int64 [A, at least `depth`], item rows best first, -1 = none.
            positives: (offsets [A + 1], items).

        Raises:
            ContractError: A list is too short, names an item twice, or names a row outside the catalogue.
        """
        lists = np.asarray(lists, dtype=np.int64)
        if lists.ndim != 2 or lists.shape[0] != len(users) or lists.shape[1] < self.depth:
            raise ContractError(f"expected lists int64 [{len(users)}, {self.depth} or more], got {list(lists.shape)}")
        if lists.size and (lists.min() < -1 or lists.max() >= self._item_count):
            raise ContractError(f"lists name item rows {lists.min()} to {lists.max()}; the catalogue has {self._item_count} rows")
        if self._first and (lists == 0).any():
            raise ContractError("a list names row 0, the unknown item", hint="use -1 where there is no item to recommend")
        positives = as_csr(positives, len(users), what="positives")
        kept = np.flatnonzero(np.diff(positives[0]))
        self._counts["left_out"] += len(users) - len(kept)
        self._count(np.asarray(users)[kept], lists[kept, : self.depth], take(positives, kept))

    def result(self) -> RankingResult:
        """Return the metrics of everything that was fed so far."""
        empty = np.zeros(0)
        users = np.concatenate([np.zeros(0, dtype=np.int64), *self._users])
        values = {name: np.concatenate([empty, *parts]) for name, parts in self._values.items()}
        totals = {f"coverage@{k}": ranking.coverage(seen[self._first :]) for k, seen in self._listed.items()}
        return RankingResult(users, values, totals, dict(self._counts))

    def _count(self, users: np.ndarray, lists: np.ndarray, positives: Csr, *, distinct: bool = False) -> None:
        hits = ranking.hit_table(lists, positives, distinct=distinct)
        relevant = ranking.relevant_counts(positives, unknown_row=bool(self._first))
        for name, parts in self._values.items():
            info, k = self._metrics[name]
            parts.append(self._novelty(lists[:, :k]) if info.name == "novelty" else info.function(hits, relevant, k))
        for k, seen in self._listed.items():
            head = lists[:, :k]
            seen[head[head >= 0]] = True
        self._users.append(users)
        self._counts["users"] += len(users)
        self._counts["positives"] += int(relevant.sum())
        self._counts["unknown_positives"] += int(((positives[1] < self._first) | (positives[1] >= self._item_count)).sum())

    def _novelty(self, head: np.ndarray) -> np.ndarray:
        filled = head >= 0
        return np.asarray(np.where(filled, self._information[head], 0.0).sum(axis=1) / np.maximum(filled.sum(axis=1), 1))

    def _informed(self, popularity: np.ndarray | None) -> np.ndarray:
        if not any(info.name == "novelty" for info, _ in self._metrics.values()):
            return np.zeros(0)
        if popularity is None or len(popularity) != self._item_count:
            raise UsageError(f"novelty needs the training interactions of each of the {self._item_count} item rows")
        return np.concatenate([np.zeros(self._first), ranking.self_information(np.asarray(popularity)[self._first :])])

    def _list(self, scores: np.ndarray, positives: Csr, exclude: Csr | None, scratch: bool) -> np.ndarray:
        """Return the lists int64 [A, depth], and count NaN and excluded positives on the way."""
        lists = np.empty((len(scores), self.depth), dtype=np.int64)
        rows, items = rows_of(positives), positives[1]
        for part, work, banned in masked_blocks(scores, exclude, self._first, scratch=scratch):
            lists[part], lost = best(work, self.depth, banned, self._first)
            self._counts["nan_scores"] += lost
            inside = slice(positives[0][part.start], positives[0][part.stop])
            known = (items[inside] >= self._first) & (items[inside] < self._item_count)
            cells = keys(rows[inside][known] - part.start, items[inside][known], self._item_count)
            masked = cells[work.reshape(-1)[cells] == -np.inf]  # by `exclude`, or scored so
            self._counts["excluded_positives"] += _shared(np.sort(masked), banned)
        return lists


def evaluate_scores(
    metrics: Sequence[str],
    users: np.ndarray,
    scores: np.ndarray,
    positives: Csr,
    exclude: Csr | None = None,
    *,
    popularity: np.ndarray | None = None,
    unknown_row: bool = True,
) -> RankingResult:
    """Return the metrics of one score matrix; see `RankingEvaluator`."""
    evaluator = RankingEvaluator(metrics, np.shape(scores)[1], popularity=popularity, unknown_row=unknown_row)
    evaluator.add(users, scores, positives, exclude)
    return evaluator.result()


def evaluate_lists(metrics: Sequence[str], users: np.ndarray, lists: np.ndarray, positives: Csr, item_count: int) -> RankingResult:
    """Return the metrics of finished lists; see `RankingEvaluator.add_lists`."""
    evaluator = RankingEvaluator(metrics, item_count)
    evaluator.add_lists(users, lists, positives)
    return evaluator.result()


def _shared(wanted: np.ndarray, banned: np.ndarray) -> int:
    """Return how many distinct values of `wanted` (int64, sorted, few) are in `banned` (int64, many): one look-up for each of these."""
    wanted = wanted[np.append(True, wanted[1:] != wanted[:-1])] if len(wanted) else wanted
    if not len(wanted):
        return 0
    place = np.minimum(np.searchsorted(wanted, banned), len(wanted) - 1)
    found = np.zeros(len(wanted), dtype=bool)
    found[place[wanted[place] == banned]] = True
    return int(found.sum())


def _ranked(name: str) -> tuple[MetricInfo, int]:
    info, k = parse_metric(name)
    if not info.needs_cutoff:
        raise UsageError(f"metric {name!r} is computed from rows, not from ranked lists")
    return info, k
