"""What serving answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal

import numpy as np

__all__ = ["Answer", "AnsweredBy", "Prediction"]

AnsweredBy = Literal["model", "fold-in", "popularity"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The recommendations for one request.

    Args:
        user: The id asked for, None for a bare history.
        items: Item ids, best first.
        scores: One float an item; scores of different `answered_by` are not comparable.
        answered_by: model | fold-in | popularity.
        known: Whether training saw this user.
        unknown_items: Ids of the given history that training never saw.
    """

    user: str | None
    items: tuple[str, ...]
    scores: tuple[float, ...]
    answered_by: AnsweredBy
    known: bool
    unknown_items: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; null stands for a score that is not a finite number."""
        return {
            "user": self.user,
            "items": list(self.items),
            "scores": [score if isfinite(score) else None for score in self.scores],
            "answered_by": self.answered_by,
            "known": self.known,
            "unknown_items": self.unknown_items,
        }


@dataclass(frozen=True, slots=True)
class Prediction:
    """One value a row: float64 [n] in label scale, and which users and items training saw (bool [n]).

    Args:
        values: Of the primary label.
        tasks: Label → values, for every label that the bundle predicts, the primary one first; empty for a retriever.
    """

    values: np.ndarray
    known_users: np.ndarray
    known_items: np.ndarray
    tasks: Mapping[str, np.ndarray] = field(default_factory=dict)
