"""A search without plugins: a small space, a strategy whose proposals follow from what it was told, results from a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

from autorec_kernel.contracts.evaluator import Task
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.trial import Cost, Evaluation, Proposal, Trial
from autorec_kernel.search.genes import Offer
from autorec_kernel.search.journal import Journal
from autorec_kernel.search.loop import Search
from autorec_kernel.search.settings import SearchSettings
from autorec_kernel.space import Choice, Float, Gene, Genotype, Int, SearchSpace

OFFERS = (
    Offer("b/pop", "retriever", True, False),
    Offer("b/knn", "retriever", True, False),
    Offer("b/heavy", "retriever", True, False, "needs items"),
    Offer("z/deep", "retriever", False, True),
    Offer("z/wide", "retriever", False, True),
)
SPACE = SearchSpace(
    (
        Gene("pipeline", Choice("retriever"), "retriever"),
        Gene("retriever", Choice("b/pop", "b/knn", "z/deep", "z/wide"), "z/deep", "pipeline", ("retriever",)),
        Gene("b/knn.k", Int(1, 3), 2, "retriever", ("b/knn",)),
        Gene("z/deep.width", Int(1, 6), 2, "retriever", ("z/deep",)),
        Gene("z/wide.width", Int(1, 6), 2, "retriever", ("z/wide",)),
        Gene("retriever.training.learning_rate", Float(0.1, 0.9), 0.5, "retriever", ("z/deep", "z/wide")),
    )
)


class FakeKernel:
    """Decodes genotypes without plugins; remembers what observers were told."""

    def __init__(self) -> None:
        self.seen: list[Trial] = []

    def create(self, kind: str, name: str, /, **config: Any) -> Any:
        class Blueprint:
            def architecture(self, schema: FeatureSchema) -> Architecture:
                return Architecture((Node("n", name, (), config),), {"score": "n"})

        return Blueprint()

    def observe(self, event: str, *, trial: Trial) -> None:
        self.seen.append(trial)


class Session:
    """Proposals are drawn from this batch's generator, the number of batches told and their best genotype: any slip changes them."""

    def __init__(self, space: SearchSpace = SPACE) -> None:
        self.space, self.told, self.asked = space, [], []

    def ask(self, count: int, rng: np.random.Generator) -> tuple[Proposal, ...]:
        self.asked.append(count)
        trials = [trial for batch in self.told for trial in batch]
        best = max((t for t in trials if t.objectives), key=lambda t: (t.value, -t.number), default=None)
        drawn = [Proposal(self.space.sample(rng), reason="drawn") for _ in range(max(0, count - 1))]
        if best is None:
            return (*drawn, Proposal(self.space.sample(rng)))[:count]
        return (*drawn, Proposal(self.space.mutate(best.genotype, rng), parent=best.number, reason="mutated"))[:count]

    def tell(self, trials: Sequence[Trial]) -> None:
        self.told.append(tuple(trials))


class Scripted(Session):
    """Proposes what it was given, batch by batch."""

    def __init__(self, *batches: Sequence[dict[str, Any]]) -> None:
        super().__init__()
        self.batches = list(batches)

    def ask(self, count: int, rng: np.random.Generator) -> tuple[Proposal, ...]:
        self.asked.append(count)
        return tuple(Proposal(SPACE.canonical(values)) for values in self.batches.pop(0)[:count])


def judged(task: Task) -> Evaluation:
    """A result that is a pure function of the task, with every status among them."""
    digest = int(Genotype(task.genotype).digest[:8], 16)
    blueprint = task.genotype["retriever"]
    cost = Cost(100 + digest % 7, 4 * (digest % 11), 1.0 + digest % 5, 1.0)
    status = "complete" if blueprint.startswith("b/") or digest % 4 else ("failed", "oom", "nan", "timeout")[digest // 4 % 4]
    if status != "complete":
        return Evaluation(status, cost=cost, error=f"{status} on purpose")
    value = (digest % 1000) / 1000 * (0.5 + 0.5 * task.share)
    name = f"values-{task.trial}-{task.rung}.npy"
    return Evaluation(
        "complete", {"ndcg@10": value}, cost, {"seconds": 1.0}, "", {"values": name}, {"losses": (1, 0.5), "blueprint": blueprint}
    )


class Later:
    """A `submit` whose results arrive in an order of its own: each wait frees one task, picked by `pick(number of waiting tasks)`."""

    def __init__(self, evaluate: Callable[[Task], Evaluation] = judged, pick: Callable[[int], int] = lambda count: count - 1) -> None:
        self.evaluate, self.pick = evaluate, pick
        self.tasks: list[Task] = []
        self.queue: list[tuple[Task, Future[Evaluation]]] = []
        self.most = 0

    def __call__(self, task: Task) -> Future[Evaluation]:
        self.tasks.append(task)
        self.queue.append((task, Future()))
        self.most = max(self.most, len(self.queue))
        return self.queue[-1][1]

    def wait(self, futures: Any, return_when: str) -> tuple[set[Future[Evaluation]], set[Future[Evaluation]]]:
        """Take the place of `concurrent.futures.wait`."""
        task, future = self.queue.pop(self.pick(len(self.queue)))
        future.set_result(self.evaluate(task))
        return {future}, set(futures) - {future}


class AtOnce:
    """A `submit` that evaluates at once; after `stop_after` results it raises, as a crash would."""

    def __init__(self, evaluate: Callable[[Task], Evaluation] = judged, stop_after: int | None = None) -> None:
        self.evaluate, self.stop_after = evaluate, stop_after
        self.tasks: list[Task] = []

    def __call__(self, task: Task) -> Future[Evaluation]:
        if len(self.tasks) == self.stop_after:
            raise Crash
        self.tasks.append(task)
        future: Future[Evaluation] = Future()
        future.set_result(self.evaluate(task))
        return future


class Crash(BaseException):
    """Nothing in the kernel catches this."""


def evaluated(tasks: Sequence[Task]) -> list[tuple[int, int]]:
    return [(task.trial, task.rung) for task in tasks]


def settings(run: Any, **changes: Any) -> SearchSettings:
    values = {"run": str(run), "task": "recommend", "metric": "ndcg@10", "maximise": True, "seed": 7, "trials": 14, "batch": 4}
    return SearchSettings(**{**values, **changes})


def search(
    folder: Any, submit: Any, *, session: Session | None = None, offers: tuple[Offer, ...] = OFFERS, clock: Any = None, **changes: Any
) -> tuple[Search, Any]:
    """Run a search in a folder, resuming what is there; return it and its result."""
    with Journal.open(folder / "journal.jsonl", fsync_each=False) as journal:
        found = Search(
            kernel=FakeKernel(),  # type: ignore[arg-type]
            space=SPACE,
            schema=FeatureSchema(),
            session=session or Session(),
            submit=submit,
            journal=journal,
            settings=settings(folder, **changes),
            offers=offers,
            seconds_of=lambda genotype: {"b/pop": 1.0, "b/knn": 3.0}.get(str(genotype["retriever"]), math.inf),
            elapsed=clock,
        )
        return found, found.run()
