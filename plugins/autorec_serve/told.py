"""What is answered: the shapes of the answers, for the OpenAPI description and the tests that hold answers against it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Facts", "Health", "Lists", "Predictions", "Problem", "Ready", "Scores"]

Way = Literal["model", "fold-in", "popularity"]
_DIGEST = "Content digest (sha256) of the bundle that answered."


class _Told(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class OneList(_Told):
    """The list of one user."""

    user: str | None
    items: list[str] = Field(description="Item ids, best first.")
    scores: list[float | None] = Field(description="One a list item; null where the model gave no finite number.")
    answered_by: Way = Field(description="Scores of different ways are not comparable.")
    known: bool = Field(description="Whether training saw this user.")
    unknown_items: int = Field(description="Ids of the given history that training never saw.")


class Lists(_Told):
    """The answer of `/v1/recommend`, in the order of the request."""

    bundle: str = Field(description=_DIGEST)
    answers: list[OneList]


class Scores(_Told):
    """The answer of `/v1/score`."""

    bundle: str = Field(description=_DIGEST)
    user: str | None
    scores: list[float | None] = Field(description="One an item; an unknown item scores the mean of the catalogue.")
    answered_by: Way
    known: bool
    known_items: list[bool]
    unknown_items: int = Field(description="Ids of the given history that training never saw.")


class Predictions(_Told):
    """The answer of `/v1/predict`, one value a row."""

    bundle: str = Field(description=_DIGEST)
    predictions: list[float | None] = Field(description="The primary label, in its own scale.")
    tasks: dict[str, list[float | None]] = Field(description="Every label that the bundle predicts, the primary one first.")
    known_users: list[bool]
    known_items: list[bool]


class Health(_Told):
    """The process is alive."""

    status: Literal["ok"]


class Reloaded(_Told):
    """How the last reload ended."""

    ok: bool
    time: str = Field(description="UTC.")
    code: str = Field(description="Empty when it was accepted.")
    detail: str


class Ready(_Told):
    """A bundle is loaded and answers."""

    ready: bool
    bundle: str = Field(description=_DIGEST)
    reload: Reloaded | None = Field(description="Null before the first reload; a refused one leaves the old bundle serving.")


class EventColumn(_Told):
    """A column that `/v1/predict` reads beside the ids."""

    name: str
    kind: str


class Facts(_Told):
    """What the bundle is and reads."""

    bundle: str = Field(description=_DIGEST)
    task: Literal["recommend", "rate", "click"]
    catalogue: int = Field(description="Items that can be recommended; 0 for a bundle that only predicts rows.")
    labels: list[str] = Field(description="Labels that `/v1/predict` tells, the primary one first.")
    columns: list[EventColumn]
    limits: dict[str, int]


class Problem(_Told):
    """A refusal (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    fields: list[dict[str, str]] = Field(description="Parts of the body at fault: `field` and `problem`.")
    request_id: str
