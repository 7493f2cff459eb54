"""`student`: a smaller ranker of the same blueprint, trained on what the best models of the search predict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import nn

from autorec_distill.labels import taught
from autorec_distill.smaller import begin, smaller
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.space import Float

__all__ = ["Student"]

_EPOCHS = 3
_FEWEST = 5_000  # training rows below which a student learns too little for a verdict


class Student:
    """Trains a copy of the blueprint with fewer or smaller layers, embeddings and features on soft labels (Hinton et al. 2015, section 2).

    The label of a row is (1 - w) y + w p, where p is the weighted mean of the teachers' predictions in label scale: for cross-entropy and
    for squared error the gradient is that of the mixture of both losses. Teachers are the greedy ensemble of the search's trials, so a
    student can be better than the model it replaces (Zhu et al. 2020, "Ensembled CTR Prediction via Knowledge Distillation"); with soft
    labels alone it does not overfit in the epochs it gets, so no validation rows are needed, and it is trained alike on all rows.
    """

    class Config(ComponentConfig):
        """Options."""

        size: Annotated[float, Float(0.1, 1.0)] = Field(0.5, gt=0, le=1, description="Share that is left of every width above 8.")
        depth: float = Field(
            1.0, gt=0, le=1, description="Share that is left of layers, crosses, experts: of whole numbers that are at most 8."
        )
        features: Annotated[float, Float(0.1, 1.0)] = Field(
            1.0, gt=0, le=1, description="Share that is left of the ranked features, best first; ids of users and items stay."
        )
        epochs: int | None = Field(
            None, ge=1, le=1000, description="Passes over the training rows; None = as many as were best for the model, and three at least."
        )
        weight: Annotated[float, Float(0.5, 1.0)] = Field(1.0, gt=0, le=1, description="Share w of the teachers in a label.")

    form: ClassVar[Literal["module", "graph"]] = "module"
    place: ClassVar[int] = 1

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield half and a quarter of the widths for a ranker that was found by a search, the latter also with a third of the layers.

        Where a selector ranked the features, a student of few layers is tried with the better half of them first: to make and to hand them
        over takes longer than such a network does.
        """
        found = model.model
        if not (getattr(found.module, "tasks", ()) and "genotype" in found.provenance):
            return
        small = self.config.model_copy(update={"size": self.config.size / 2})
        shallow = small.model_copy(update={"depth": self.config.depth / 3})
        fewest = shallow.model_copy(update={"features": self.config.features / 2})
        yield from (self.config, *((fewest,) if getattr(found.features, "ranked", None) else ()), small, shallow)

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return a student in place of the model, without a graph; the given network stays as it is.

        Raises:
            NotApplicable: The model is no trained ranker of a run, the rows are few, or nothing of it can be smaller.
        """
        trainer, genotype, module = context.trainer, model.model.provenance.get("genotype"), model.model.module
        if trainer is None or not genotype or not getattr(module, "tasks", ()):
            raise NotApplicable("a student takes the place of a ranker of a run: it needs its genotype and its trainer")
        if not module.trainable:
            raise NotApplicable("a closed form learns nothing from a teacher")
        if any((context.features.schema.implies or {}).values()):
            raise NotApplicable("its labels imply each other: a mean of predictions is not what such a model is taught with")
        rows = len(context.features.rows("train"))
        if rows < _FEWEST:
            raise NotApplicable(f"{rows:,} training rows are too few for a student, which needs {_FEWEST:,}")
        config, schema = self.config, context.features.schema
        shrunk = smaller(genotype, config.size, schema, trainer.kernel, config.depth, config.features)
        if shrunk is None:
            raise NotApplicable("nothing of the model can be smaller: no width is above 8, or no layer or feature can be left out")
        view = taught(context.features, trainer.teachers(), self.config.weight)
        epochs = self.config.epochs or max(_EPOCHS, int(model.model.provenance.get("epochs", 0)))
        trained = trainer.train(shrunk, view, epochs, partial(begin, given=module))
        if trained.module.tasks != module.tasks or _parameters(trained.module) >= _parameters(module):
            raise NotApplicable("the student is not smaller than its teacher")
        return replace(model, model=trained, graph=None)


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
