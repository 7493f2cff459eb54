"""How candidates are trained: the options of full training, of which the annotated ones are genes of the search."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.models import FitSettings
from autorec_kernel.space import Choice, Float

__all__ = ["TrainingOptions"]

_SCHEDULE = "How the learning rate falls: not at all, by plateau_factor when validation stops improving, along a cosine, or along a line."
_SPARSE = "Row-wise steps for embedding tables: auto = where a table is so large that they pay, on = wherever they are possible."
_PRECISION = "Number format of forward passes; auto = bfloat16 on a CUDA device that has it, float32 elsewhere."
_WORKERS = "Threads that build batches ahead; -1 = one for a CUDA device, none for the CPU. They change no result."


class TrainingOptions(ComponentConfig):
    """Options; the annotated ones are genes of the search."""

    learning_rate: Annotated[float, Float(1e-4, 3e-2, log=True)] = Field(2e-3, gt=0, le=10, description="Step size of the optimiser.")
    weight_decay: Annotated[float, Float(1e-6, 1e-1, log=True)] = Field(
        1e-4, ge=0, le=10, description="Weight decay, decoupled but for adam."
    )
    batch_size: Annotated[int, Choice(256, 512, 1024, 2048, 4096)] = Field(
        1024, ge=1, le=2**20, description="Rows a step; a sequence counts as eight."
    )
    id_dropout: Annotated[float, Float(0.0, 0.5)] = Field(0.1, ge=0, lt=1, description="Share of ids hidden from a ranker, for strangers.")
    epochs: int = Field(40, ge=1, le=100_000, description="Passes over the training rows at the last rung.")
    patience: int = Field(3, ge=0, le=100_000, description="Epochs without progress before training stops; 0 = never.")
    min_delta: float = Field(0.0, ge=0, le=1e6, description="How much better an epoch has to be to count as progress.")
    stop_on: str = Field("", description="Validation metric that stops training and picks the best epoch; default: the metric of the run.")
    validation_users: int = Field(
        5000, ge=1, le=10_000_000, description="Users ranked after each epoch and at the end; a seeded sample of more."
    )
    optimiser: Annotated[Literal["adamw", "adam", "adagrad"], Choice("adamw", "adam", "adagrad")] = Field(
        "adamw", description="Rule; adagrad has one accumulator a row of a table."
    )
    clip_norm: float = Field(5.0, ge=0, le=1e6, description="Largest gradient norm; 0 = unbounded.")
    schedule: Literal["none", "plateau", "cosine", "linear"] = Field("none", description=_SCHEDULE)
    warmup: float = Field(0.0, ge=0, lt=1, description="Share of all steps over which the learning rate rises.")
    plateau_patience: int = Field(5, ge=0, le=100_000, description="Epochs without progress that a plateau may last.")
    plateau_factor: float = Field(0.5, gt=0, lt=1, description="What the learning rate is multiplied by after a plateau.")
    sparse: Literal["auto", "on", "off"] = Field("auto", description=_SPARSE)
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description=_PRECISION)
    num_workers: int = Field(-1, ge=-1, le=64, description=_WORKERS)
    pin_memory: bool = Field(False, description="Whether batches for a CUDA device pass through page-locked memory.")

    def settings(self, epochs: int) -> FitSettings:
        """Return the settings of the fit loop for so many epochs."""
        names = set(FitSettings.__dataclass_fields__) & set(type(self).model_fields) - {"epochs"}
        return FitSettings(epochs=epochs, **{name: getattr(self, name) for name in names})
