"""`lists`: a smaller retriever of the same blueprint, trained on the data and on the lists that the best models of the search give."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast

import numpy as np
import torch
from pydantic import Field

from autorec_distill.agreement import Agreement
from autorec_distill.contexts import Keys, contexts_of
from autorec_distill.ranked import ranked, spread_of
from autorec_distill.smaller import begin, smaller
from autorec_distill.taught import Lesson, Taught, counts_back, every_step
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target, Trainer
from autorec_kernel.features import FeatureSet
from autorec_kernel.models import Entities, FitReport, FitSettings, Network, build_network, fit, solve_blocks
from autorec_kernel.records.model import CompressedModel, TrainedModel
from autorec_kernel.search.genes import Candidate, decode
from autorec_kernel.space import Choice, Float

__all__ = ["Lists"]

_EPOCHS = 20  # of a student whose teacher does not tell how long it was trained
_REST = 3  # what these are divided by where the student begins with the values of its model
_FEWEST = 30  # contexts below which a teacher says too little
_ITEMS = 100_000  # most items of a catalogue that is computed, by a tower, in every step
_TRIED, _STEPS = 16, 50  # users, and steps of each, on whom the answers of single steps are tried
_OPTIONS = (
    "schedule",
    "warmup",
    "plateau_patience",
    "plateau_factor",
    "clip_norm",
    "precision",
)  # of an evaluator, or of the one it builds on
_N = TypeVar("_N", bound=Network)


class Lists:
    """Trains a copy of the blueprint with smaller widths or fewer layers on its own loss and on a teacher's lists (Tang and Wang 2018).

    The teacher's best items and their scores are taken once, for a sample of the positions, rows or users that training meets, and found
    again in each batch by a hash of the history that it shows. What they are compared by is an option (see `agreement`). Scores of both
    are divided by the spread of their own lists, so that a temperature means the same for every kind of model. Teachers are those of
    the run, closed forms among them. The student serves as the model did: the lists are part of its training alone.
    """

    class Config(ComponentConfig):
        """Options."""

        size: Annotated[float, Float(0.1, 1.0)] = Field(0.5, gt=0, le=1, description="Share that is left of every width above 8.")
        depth: float = Field(
            1.0, gt=0, le=1, description="Share that is left of the layers, and of other whole numbers that are at most 8."
        )
        epochs: int | None = Field(
            None,
            ge=1,
            le=1000,
            description="Passes over the training rows; None = as many as were best for the model (else 20); a third if begun there.",
        )
        loss: Annotated[Agreement, Choice("listwise", "pointwise", "pairwise")] = Field(
            "listwise", description="What lists are compared by: shares of a softmax, values of scores, or order of neighbours."
        )
        weight: Annotated[float, Float(0.1, 10.0, log=True)] = Field(
            1.0, ge=0, le=1000, description="Of the teacher beside the data's loss, for each step or row that has a list."
        )
        likeness: float = Field(
            0.0, ge=0, le=1000, description="Weight of the angles between the model's own vectors of listed items; 0 = scores alone."
        )
        temperature: Annotated[float, Float(0.5, 4.0, log=True)] = Field(1.0, gt=0, le=100, description="Scores are divided by it.")
        best: Annotated[int, Choice(50, 100)] = Field(50, ge=2, le=1000, description="Items of a list.")
        most: int = Field(
            50_000, ge=1, le=10_000_000, description="Lists that are kept, each of 12 + 6 best bytes; a sample where more could be."
        )
        batch_lists: int = Field(1024, ge=1, le=2**20, description="Lists that a batch is compared with, drawn where it has more.")

    form: ClassVar[Literal["module", "graph"]] = "module"
    place: ClassVar[int] = 1

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield a third of the layers, half of the widths, both, and a quarter of the widths, for a retriever that learned by gradient."""
        module = model.model.module
        if not getattr(module, "tasks", ()) and "genotype" in model.model.provenance and getattr(module, "trainable", False):
            yield self.config.model_copy(update={"size": 1.0, "depth": self.config.depth / 3})
            yield self.config
            yield self.config.model_copy(update={"depth": self.config.depth / 3})
            yield self.config.model_copy(update={"size": self.config.size / 2})

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return a student in place of the model, without a graph; the given network stays as it is.

        Raises:
            NotApplicable: The model is no trained retriever of a run, nothing of it can be smaller, nobody can be told apart in its
                batches, or the time is up.
        """
        trainer, genotype, given = context.trainer, model.model.provenance.get("genotype"), model.model
        if trainer is None or not genotype or given.module.tasks:
            raise NotApplicable("lists teach a retriever of a run: it needs its genotype and its trainer")
        if not given.module.trainable or given.module.stacked:
            raise NotApplicable("a closed form learns nothing from a teacher")
        shrunk = smaller(genotype, self.config.size, context.features.schema, trainer.kernel, self.config.depth)
        if shrunk is None:
            raise NotApplicable("nothing of the model can be smaller: no width is above 8, or no layer can be left out")
        candidate = decode(shrunk, context.features.schema, trainer.kernel)
        network = _built(candidate, context, trainer, Taught)
        rest = _REST if begin(network, given.module) else 1
        epochs = self.config.epochs or -(-(int(given.provenance.get("epochs", 0)) or _EPOCHS) // rest)
        settings = _settings(candidate, epochs, trainer.options)
        if _parameters(network) >= _parameters(given.module):
            raise NotApplicable("the student is not smaller than its teacher")
        network.lesson = self._lesson(network, given, context, trainer, settings.batch_size)
        _fit(network, context, settings)
        plain = _built(candidate, context, trainer, Network)
        plain.load_state_dict(network.state_dict())
        provenance = {"genotype": dict(shrunk), "blueprint": candidate.blueprint, "epochs": settings.epochs}
        trained = TrainedModel(candidate.architecture, plain.eval(), candidate.features, {}, provenance)
        return replace(model, model=trained, graph=None)

    def _lesson(self, network: Taught, given: TrainedModel, context: CompressionContext, trainer: Trainer, size: int) -> Lesson:
        """Return what the student is taught.

        Raises:
            NotApplicable: Its batches tell nobody apart, hold too few, or its catalogue is too long to be computed in every step.
        """
        features, config, user = context.features, self.config, context.features.schema.user
        _refuse(network, user, features)
        tried = _tried(network, features)
        states = every_step(network.eval(), tried)
        newest = bool(states) and counts_back(network, states, tried)
        if network.architecture.batching == "session" and not states:
            raise NotApplicable("batches of sessions show a step at a time, and no node answers single steps")

        def keys() -> Keys:
            return Keys(network, user, stepwise=bool(states), newest=newest)

        contexts = contexts_of(network, keys, features, size, config.most, context.rng)
        if len(contexts.keys) < _FEWEST:
            raise NotApplicable(f"{len(contexts.keys)} users or positions are too few for a teacher, who needs {_FEWEST}")
        count = min(config.best, (features.schema.items - 1) // 2)
        lists = ranked(trainer.teachers(), features, contexts, count, config.temperature)
        unit = spread_of(given, features, contexts, count)
        lesson = Lesson(keys(), states, lists, unit, config.loss, config.temperature, config.weight, config.batch_lists)
        return replace(lesson, vectors=_vectors(given), likeness=config.likeness) if config.likeness else lesson


def _vectors(given: TrainedModel) -> torch.Tensor:
    """Return the item vectors float32 [N, T] of a model.

    Raises:
        NotApplicable: It has none.
    """
    if tuple(given.module.serving_outputs) != ("user",):
        raise NotApplicable("the model scores its catalogue without item vectors: there are no angles to learn")
    found: torch.Tensor = given.module.item_vectors()
    return found.detach().float().cpu()


def _refuse(network: Network, user: str, features: FeatureSet) -> None:
    """Raise where a student of this kind cannot be taught.

    Raises:
        NotApplicable: It cannot.
    """
    if not network.lengths and user not in network.training_inputs:
        raise NotApplicable("its batches show neither a history nor a user: nobody can be told apart")
    if len(network.lengths) > 1:
        raise NotApplicable("it reads several histories")
    item = network.architecture.outputs.get("item", "")
    if item in network.tables.names and features.schema.items > _ITEMS:
        raise NotApplicable(f"a tower would compute {features.schema.items:,} items in every step; {_ITEMS:,} are the most")


def _tried(network: Network, features: FeatureSet) -> torch.Tensor:
    """Return int64 [A, L], the newest steps of some users, as many as the network reads, padded on the right."""
    known = np.flatnonzero(np.diff(features.interactions.offsets) > 1)[:_TRIED]
    length = max(network.lengths.values(), default=0) or _STEPS
    rows = [features.interactions.of(int(user))[-length:].astype(np.int64) for user in known]
    found = np.zeros((len(rows), max((len(row) for row in rows), default=1)), np.int64)
    for place, row in enumerate(rows):
        found[place, : len(row)] = row
    return torch.from_numpy(found)


def _built(candidate: Candidate, context: CompressionContext, trainer: Trainer, kind: type[_N]) -> _N:
    """Return a new network of a candidate."""
    solving, seed = np.random.SeedSequence(0), int(context.rng.integers(2**31))
    arrays = solve_blocks(candidate.architecture, context.features, trainer.kernel, seed=solving)
    found = build_network(candidate.architecture, candidate.features, trainer.kernel, arrays, seed, kind)
    return cast(_N, found.attach(Entities(context.features)))


def _settings(candidate: Candidate, epochs: int, options: Mapping[str, Any]) -> FitSettings:
    """Return how the candidate is trained: as the recipe and its training genes say, as far as `fit` knows them, without an early end."""
    known = {one.name for one in fields(FitSettings)} - {"epochs", "patience", "sparse", "horizon", "factors"}
    options = {name: value for name, value in options.get("full", options).items() if name in _OPTIONS}
    told = options | {name: value for name, value in candidate.training.items() if name in known}
    return FitSettings(**told, epochs=epochs, patience=0, sparse="off")  # a lesson reads whole tables


def _fit(network: Network, context: CompressionContext, settings: FitSettings) -> None:
    """Train a student; its time is that of a fine-tuning.

    Raises:
        NotApplicable: It would end, or ends, behind the deadline.
    """
    deadline, began = getattr(context.fine_tune, "deadline", None), time.monotonic()

    def look(report: FitReport) -> None:
        ends = began + (time.monotonic() - began) / len(report.losses) * settings.epochs
        if deadline is not None and ends > deadline:
            raise NotApplicable(f"{settings.epochs} epochs would take {ends - began:.3g} s, more than the time that is left")

    seed = np.random.SeedSequence(int(context.rng.integers(2**63)))
    report = fit(network, context.features, settings, seed=seed, validate=None, deadline=deadline, progress=look)
    if report.stopped_by == "deadline":
        raise NotApplicable(f"the time was up before {settings.epochs} epochs")


def _parameters(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
