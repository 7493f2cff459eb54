"""What the operations that read labels share: options that fix the scale of the label before fitting, and what the data must have."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, RejectColumn
from autorec_kernel.records.as_of import Measure
from autorec_kernel.records.program import Step
from autorec_kernel.records.table import Table

__all__ = ["LabelConfig", "check_label", "has", "labelled"]


class LabelConfig(ComponentConfig):
    """The label and its scale; prior and spread are fixed before fitting, so that no later label reaches an earlier value."""

    label: str = Field("", description="Label column; empty = none.")
    prior: float = Field(0.0, description="Mean assumed where there is no event.")
    spread: float = Field(1.0, gt=0, description="Deviation of the label, the unit of the output.")

    @property
    def measures(self) -> tuple[Measure, Measure]:
        """Return what an event adds: one for a known label, and the label in deviations from the prior."""
        return Measure(self.label), Measure(self.label, count=False, shift=self.prior, scale=1.0 / self.spread)

    def standard(self, output: str) -> Step:
        """Return the step that makes `output`, the label in deviations from the prior."""
        return Step("affine", (self.label,), output, {"shift": self.prior, "scale": 1.0 / self.spread})


def labelled(profile: DataProfile) -> dict[str, Any]:
    """Return label, prior and spread of the data as options; nothing where there is no label that varies."""
    label, spread = profile.schema.role("label"), profile.facts.get("label_std", 0.0)
    return {"label": label.name, "prior": profile.facts["label_mean"], "spread": spread} if label is not None and spread > 0 else {}


def has(profile: DataProfile, *roles: str) -> bool:
    """Return whether the data has columns of these roles."""
    return all(profile.schema.role(role) is not None for role in roles)  # type: ignore[arg-type]


def check_label(events: Table, label: str) -> None:
    """Turn a label down that is no number.

    Raises:
        RejectColumn: It is not there, or holds no numbers.
    """
    column = events.get(label)
    if not isinstance(column, np.ndarray) or column.ndim != 1:
        raise RejectColumn(f"label {label!r} is not numeric")
