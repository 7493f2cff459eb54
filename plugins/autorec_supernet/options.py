"""Options of evaluators that cost less than full training."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from autorec_kernel.config import ComponentConfig
from autorec_kernel.space import Choice, Float
from autorec_supernet.agreement import FEWEST

__all__ = ["CheapOptions", "InheritedOptions", "OneShotOptions", "ProxyOptions"]

_CANDIDATES = "Random candidates that are trained in full besides, to measure the agreement; 0 = it is not measured, and taken for granted."
_COMPARED = "Random candidates that are trained in full besides, to measure the agreement; 6 or more."
_USEFUL = "What the lower end of the interval of Kendall's tau must exceed; else every candidate is trained in full."
_WEIGHTS = "File of the shared weights of an earlier search on the same space and data; empty = they are trained."
_LAST = "Whether the last rung, which the best candidates climb to, trains in full."
_PROXY = "Which proxy scores candidates: synflow, naswot, gradient-norm or snip."
_PARENT = "Whether a child starts from the tables of its parent, where those are kept, instead of the stem's."


class CheapOptions(ComponentConfig):
    """What all of them have: how their agreement with full training is measured, and what full training is."""

    candidates: int = Field(12, ge=0, le=1000, description=_CANDIDATES)
    level: float = Field(0.9, ge=0.5, le=0.999, description="Confidence of the interval of Kendall's tau.")
    useful: float = Field(0.0, ge=-1, le=1, description=_USEFUL)
    full: dict[str, Any] = Field({}, description="Options of training/full, wherever a candidate is trained in full.")


class InheritedOptions(CheapOptions):
    """Options; the annotated ones are genes of the search, those of `training/full`."""

    learning_rate: Annotated[float, Float(1e-4, 3e-2, log=True)] = Field(2e-3, gt=0, le=10, description="Step size of the optimiser.")
    weight_decay: Annotated[float, Float(1e-6, 1e-1, log=True)] = Field(
        1e-4, ge=0, le=10, description="Weight decay, decoupled but for adam."
    )
    batch_size: Annotated[int, Choice(256, 512, 1024, 2048, 4096)] = Field(
        1024, ge=1, le=2**20, description="Rows a step; a sequence counts as eight."
    )
    id_dropout: Annotated[float, Float(0.0, 0.5)] = Field(0.1, ge=0, lt=1, description="Share of ids hidden from a ranker, for strangers.")
    optimiser: Annotated[Literal["adamw", "adam", "adagrad"], Choice("adamw", "adam", "adagrad")] = Field(
        "adamw", description="Rule; adagrad has one accumulator a row of a table."
    )
    epochs: int = Field(4, ge=1, le=100_000, description="Passes over the training rows at the last rung.")
    patience: int = Field(1, ge=0, le=100_000, description="Epochs without progress before training stops; 0 = never.")
    width: int = Field(32, ge=1, le=1024, description="Width of the stem's tables; narrower tables take their leading columns.")
    stem_ranker: str = Field("zoo/deepfm", description="Blueprint whose training gives rankers their tables; it has an embedding_dim.")
    stem_retriever: str = Field("zoo/mf", description="The same for retrievers.")
    from_parent: bool = Field(False, description=_PARENT)


class OneShotOptions(CheapOptions):
    """Options of the supernet; none is a gene, since the candidates share one training."""

    steps: int = Field(1500, ge=1, le=10_000_000, description="Batches that the shared weights learn from, each with a random candidate.")
    learning_rate: float = Field(2e-3, gt=0, le=10, description="Step size of AdamW at the start; it falls along a line to 0.")
    weight_decay: float = Field(1e-4, ge=0, le=10, description="Decoupled weight decay.")
    batch_size: int = Field(1024, ge=1, le=2**20, description="Rows a step; a sequence counts as eight.")
    id_dropout: float = Field(0.1, ge=0, lt=1, description="Share of ids hidden from a ranker, for strangers.")
    weights: str = Field("", description=_WEIGHTS)
    train_last: bool = Field(False, description=_LAST)


class ProxyOptions(CheapOptions):
    """Options of the proxies; none is a gene, since no proxy sees a training."""

    proxy: Literal["synflow", "naswot", "gradient-norm", "snip"] = Field("synflow", description=_PROXY)
    rows: int = Field(64, ge=2, le=4096, description="Rows of the one batch.")
    train_last: bool = Field(True, description=_LAST)
    candidates: int = Field(12, ge=0, le=1000, description=_COMPARED)

    @field_validator("candidates")
    @classmethod
    def _are_trained(cls, value: int) -> int:
        if value < FEWEST:
            raise ValueError(f"scores are told apart from metrics by candidates that were trained in full: {FEWEST} or more")
        return value
