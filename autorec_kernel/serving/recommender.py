"""`Recommender`: a verified bundle that answers. Needs numpy and onnxruntime only; unknown users and items are answered like any other."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.errors import BundleError, ContractError, UsageError
from autorec_kernel.evaluation.ordering import top_k
from autorec_kernel.records.bundle import DRIFT, LIVE, PROGRAMS, SCHEMA, Bundle
from autorec_kernel.records.drift import DriftProfile
from autorec_kernel.records.live import Live
from autorec_kernel.records.schema import Schema
from autorec_kernel.records.serving_state import ServingState
from autorec_kernel.serving.answer import Answer, AnsweredBy, Prediction
from autorec_kernel.serving.drift import DriftReport, drift_of
from autorec_kernel.serving.foldin import FoldIn
from autorec_kernel.serving.given import arrays_of, check_forms, texts_of
from autorec_kernel.serving.nearest import open_nearest
from autorec_kernel.serving.predict import count_rows, predict_rows, reads_history, tells
from autorec_kernel.serving.requests import Request, concat, read_requests, way
from autorec_kernel.serving.scorers import RowScorer, Scorer, make_scorer
from autorec_kernel.serving.verify import check_golden, damaged, load_graphs, open_bundle

if TYPE_CHECKING:
    from autorec_kernel.records.table import ColumnData

__all__ = ["Recommender"]

_BLOCK = 1 << 22  # catalogue scores held at a time
_BUNDLE = "bundle"  # where an answer fails that a consistent bundle cannot give


class Recommender:
    """Answers from a bundle.

    Args:
        bundle: A bundle that `open_bundle` accepted.
        threads: Threads of one request.
        create: `Kernel.create`, which is asked for the index that the bundle of a large catalogue may hold; None = every item is scored.

    Attributes:
        retrieval: How lists are made, for people: the index with its recall, or `exact` and why.

    Raises:
        BundleError: The models cannot be loaded, their golden rows differ, or the index is damaged.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1, create: Callable[..., Any] | None = None) -> None:
        self.bundle = bundle
        self.schema: Mapping[str, Any] = bundle.json(SCHEMA)
        graphs = load_graphs(bundle, threads=threads)
        check_golden(bundle, graphs)
        self.role = next(iter(graphs))
        self.graph = graphs[self.role]
        with damaged(SCHEMA):
            tables = {name: bundle.array(member) for name, member in self.schema["tables"].items()}
            Schema.from_json(self.schema["columns"])
        index = {name[7:]: tables.pop(name) for name in [*tables] if name.startswith("@index.")}
        with damaged(PROGRAMS):
            self.state = ServingState.load(bundle.json(PROGRAMS), tables)
        with damaged(LIVE):
            self._live = Live.load(bundle.json(LIVE), tables) if LIVE in bundle.members else None
        with damaged(SCHEMA):
            self._vectors = vectors = self.graph.items()
            self._scorer: Scorer = make_scorer(self.graph, self.state, vectors)
            self._fold_in = FoldIn(vectors) if vectors is not None else None
            self._nearest, self.retrieval = open_nearest(self.schema.get("index", {}), index, self._scorer, self._fold_in, create)

    @classmethod
    def load(cls, path: str | Path, *, threads: int = 1, require_digest: str = "", create: Callable[..., Any] | None = None) -> Recommender:
        """Verify the bundle at `path` (folder or stored zip) and open it.

        Raises:
            BundleError: It is refused; the member is named.
        """
        return cls(open_bundle(path, require_digest=require_digest), threads=threads, create=create)

    @property
    def task(self) -> str:
        """Return recommend, rate or click."""
        return str(self.schema["task"])

    @damaged(_BUNDLE)
    def recommend(
        self,
        users: Sequence[str | None] | None = None,
        histories: Sequence[Sequence[str] | None] | None = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        exclude: Iterable[str] = (),
    ) -> list[Answer]:
        """Return the best `k` items of every user (fewer when the catalogue is smaller), unseen ones by default.

        Args:
            users: Ids; unknown ones are answered from their history (given, or folded in), else by popularity.
            histories: One list of item ids a user, oldest first; None where the stored history is meant.
            k: Length of the lists.
            exclude_seen: Leave out what the user has seen: training events and the given history.
            exclude: Item ids that nobody is recommended.

        Raises:
            UsageError: Neither users nor histories are given, or the bundle has no catalogue.
        """
        self.need_catalogue()
        if isinstance(users, str) or isinstance(k, bool) or not isinstance(k, int | np.integer):
            raise UsageError(
                f"users is a list of ids and k a whole number, got users={users!r:.60} and k={k!r}", hint='recommend(["42"], k=10)'
            )
        return list(self.stream(read_requests(self.state, users, histories), k, exclude_seen=exclude_seen, exclude=exclude))

    def stream(self, requests: Sequence[Request], k: int, *, exclude_seen: bool = True, exclude: Iterable[str] = ()) -> Iterator[Answer]:
        """Yield the answers in order, a block of users at a time."""
        with damaged(_BUNDLE):
            banned = np.asarray(self.state.items.row_of([str(item) for item in exclude]), dtype=np.int64)
            step = max(1, _BLOCK // max(1, self.items))
            for start in range(0, len(requests), step):
                block = requests[start : start + step]
                seen = concat([np.unique(np.concatenate([request.seen if exclude_seen else banned, banned])) for request in block])
                yield from self._lists(block, min(k, max(1, self.items - 1)) if k >= 1 else k, seen)

    def _lists(self, block: Sequence[Request], k: int, seen: tuple[np.ndarray, np.ndarray]) -> Iterator[Answer]:
        if self._nearest is None or k < 1:
            scores, ways = self.scores(block)
            lists = top_k(scores, k, seen)
            yield from (self._answer(one, rows, own[rows], how) for one, rows, own, how in zip(block, lists, scores, ways, strict=True))
            return
        ways, parts = self._ways(block), np.split(seen[1], seen[0][1:-1])
        found = dict[int, tuple[np.ndarray, np.ndarray]]()
        for numbers, users in self._by(block, ways, self._scorer.user_outputs, lambda vectors: vectors):
            found.update(zip(numbers, zip(*self._nearest.lists(users, k, concat([parts[n] for n in numbers])), strict=True), strict=True))
        for number in sorted({*range(len(block))} - found.keys()):
            scores = self._popularity()
            listed = top_k(scores[None], k, concat([parts[number]]))[0]
            found[number] = listed, scores[listed]
        yield from (self._answer(one, *found[number], ways[number]) for number, one in enumerate(block))

    @damaged(_BUNDLE)
    def scores(self, requests: Sequence[Request]) -> tuple[np.ndarray, list[AnsweredBy]]:
        """Return float32 [A, N] catalogue scores (column 0 = the unknown item) and how each row was answered.

        Who is answered by popularity gets the share of training users that chose an item (scaled to the same maximum where it
        fades), which is near the scale of the models' scores.
        """
        ways = self._ways(requests)
        scores = np.broadcast_to(self._popularity(), (len(requests), self.items)).copy()
        for numbers, found in self._by(requests, ways, self._scorer.catalogue, self._scorer.from_vectors):
            scores[numbers] = found
        return scores, ways

    def _ways(self, requests: Sequence[Request]) -> list[AnsweredBy]:
        keys = np.array([request.row for request in requests], dtype=np.int64)
        told = tells(self.state, self.graph.inputs, keys, sides=self.role == "ranker")
        known = (keys > 0) & (keys < self.state.users.size)
        facts = {"reads_history": reads_history(self.graph, self.state.schema), "folds_in": self._fold_in is not None}
        return [way(one, known=bool(a), told=bool(b), **facts) for one, a, b in zip(requests, known, told, strict=True)]

    def _popularity(self) -> np.ndarray:
        return np.asarray(self.state.popularity, dtype=np.float32) / np.float32(max(1, self.state.users.size - 1))

    def _by(
        self, requests: Sequence[Request], ways: Sequence[AnsweredBy], model: Callable[..., np.ndarray], folded: Callable[..., np.ndarray]
    ) -> Iterator[tuple[list[int], np.ndarray]]:
        """Yield the numbers of the requests that one call answers, and what `model` makes of them, or `folded` of their vectors."""
        for given in (False, True):
            by_model = [number for number, name in enumerate(ways) if name == "model" and requests[number].given == given]
            if by_model:
                yield by_model, model([requests[number] for number in by_model])
        by_fold = [number for number, name in enumerate(ways) if name == "fold-in"]
        if by_fold and self._fold_in is not None:
            yield by_fold, folded(self._fold_in.users([requests[number].history for number in by_fold]))

    @damaged(_BUNDLE)
    def score(self, user: str | None, items: Sequence[str], history: Sequence[str] | None = None) -> np.ndarray:
        """Return float64 [len(items)]: one user's scores of the given items; an unknown item scores the catalogue's mean."""
        return self.scored(read_requests(self.state, [user], [history])[0], items)[0]

    @damaged(_BUNDLE)
    def scored(self, request: Request, items: Sequence[str]) -> tuple[np.ndarray, AnsweredBy]:
        """Return the scores of `score` for a request, and how it was answered."""
        self.need_catalogue()
        rows = np.asarray(self.state.items.row_of([str(item) for item in items]), dtype=np.int64)
        if isinstance(self._scorer, RowScorer) and len(rows) and rows.all() and self._ways([request]) == ["model"]:
            return self._scorer.given(request, rows).astype(np.float64), "model"
        scores, (how,) = self.scores([request])
        real = scores[0, 1:].astype(np.float64)
        mean = real[np.isfinite(real)].mean() if len(real) else 0.0
        return np.where(rows > 0, scores[0, rows].astype(np.float64), mean), how

    @damaged(_BUNDLE)
    def predict(
        self,
        users: Sequence[str | None] | None = None,
        items: Sequence[str | None] | None = None,
        columns: Mapping[str, ColumnData] | None = None,
    ) -> Prediction:
        """Predict the label of every (user, item) row, in label scale; of several labels `values` is the primary one, `tasks` has all.

        Args:
            users: Ids, or None for data without a user column.
            items: Ids, or None for data without an item column.
            columns: Event columns that row features read, by their own names; missing ones count as unknown.

        Raises:
            UsageError: The lengths differ or nothing is given.
        """
        users, items, columns = texts_of(users, "user"), texts_of(items, "item"), arrays_of(columns)
        return predict_rows(self._scorer, self.state, users, items, columns, lambda requests: self.scores(requests)[0])

    @damaged(_BUNDLE)
    def fold(
        self,
        users: Sequence[str | None] | None,
        items: Sequence[str | None] | None,
        columns: Mapping[str, ColumnData],
    ) -> Recommender:
        """Return a recommender that knows more events: it answers, byte for byte, as if its state had held them from the start.

        Model, vocabularies and what features learned stay as they are. An id that training did not know stays unknown to id features,
        while features that count, average or list events read its own, and `recommend` answers such a user by them.
        Events come in order of time: those of one call in any order, none older than the newest one of an earlier call.

        Args:
            users, items: Ids of the events; None where the data has no such column.
            columns: The time (int64 ns), the label (of `click` 0 and 1), and what features read of an event.

        Raises:
            ContractError: The bundle does not keep what folding needs.
            UsageError: A column is missing, or lengths differ.
            DataError: An event is older than what the state holds, or has no time.
        """
        if self._live is None:
            moving = [name for name in self.graph.inputs if self.state.schema[name].dynamic] or ["the items that users have seen"]
            raise ContractError(
                f"events cannot be folded into {', '.join(moving)}: the bundle keeps their latest values alone",
                where=self.bundle.path,
                hint="a run with --live (`live = true` in its recipe) writes a bundle that keeps what folding needs",
            )
        users, items, columns = texts_of(users, "user"), texts_of(items, "item"), arrays_of(columns)
        nobody: list[str | None] = [None] * count_rows(users, items, columns)
        events = [c for c in Schema.from_json(self.schema["columns"]).columns if c.source == "events"]
        check_forms(columns, {c.name: c.kind for c in events if c.name in self._live.reads(self.state)})
        found = copy.copy(self)
        found.state, found._live = self._live.fold(
            self.state, nobody if users is None else users, nobody if items is None else items, columns
        )
        found._scorer = make_scorer(self.graph, found.state, self._vectors)
        return found

    @damaged(_BUNDLE)
    def drift(
        self,
        users: Sequence[str | None] | None = None,
        items: Sequence[str | None] | None = None,
        columns: Mapping[str, ColumnData] | None = None,
    ) -> DriftReport:
        """Compare new rows with the training rows: columns missing, extra or of another type, and how far each feature has moved.

        Args:
            users, items: Ids of the rows; None where there is no such column.
            columns: Every other column of the rows, those included that the bundle does not know.

        Raises:
            UsageError: There are no rows, or their lengths differ.
            BundleError: The bundle was written without a profile.
        """
        if DRIFT not in self.bundle.members:
            raise BundleError(
                "this bundle holds no drift profile", where=self.bundle.path, hint="bundles that `autorec run` writes hold one"
            )
        with damaged(DRIFT):
            profile = DriftProfile.load(self.bundle.json(DRIFT))
            known = replace(profile, features={self.state.schema[name].name: bins for name, bins in profile.features.items()})
        asked = texts_of(users, "user"), texts_of(items, "item"), arrays_of(columns)
        return drift_of(known, self.state, Schema.from_json(self.schema["columns"]), *asked)

    @property
    def items(self) -> int:
        """Return the rows of the catalogue, row 0 (unknown) included."""
        return int(self.state.schema.items)

    def need_catalogue(self) -> None:
        """Refuse a bundle that has no items to recommend.

        Raises:
            UsageError: The training data had no item column.
        """
        if not self.state.schema.item:
            raise UsageError("this bundle was made from data without an item column: it predicts rows, it does not recommend")

    def _answer(self, request: Request, listed: np.ndarray, scores: np.ndarray, answered_by: AnsweredBy) -> Answer:
        ids = tuple(self.state.items.ids_of(listed[listed > 0]))
        values = tuple(float(value) for value in scores[listed > 0])
        return Answer(request.user, ids, values, answered_by, 0 < request.row < self.state.users.size, request.unknown_items)
