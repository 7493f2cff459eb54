"""What may be asked: pydantic models of the bodies of `/v1/recommend`, `/v1/score` and `/v1/predict`, strict and closed."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator

from autorec_serve.problem import Refused
from autorec_serve.settings import MAX_ROWS

__all__ = ["Asked", "Predict", "Recommend", "Score", "read"]

_LONGEST_ID = 1024


def _id_text(value: Any) -> Any:
    """Return a whole number as its text, as everywhere in AutoRec; everything else stays for the strict check."""
    return str(value) if type(value) is int else value


Id = Annotated[
    str,
    BeforeValidator(_id_text),
    Field(max_length=_LONGEST_ID),
    WithJsonSchema({"anyOf": [{"type": "string", "maxLength": _LONGEST_ID}, {"type": "integer"}]}),
]
Ids = Annotated[list[Id], Field(max_length=MAX_ROWS)]
MaybeIds = Annotated[list[Id | None], Field(max_length=MAX_ROWS)]


class Asked(BaseModel):
    """The body of a request: nothing is converted, nothing unknown is accepted."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Recommend(Asked):
    """For whom, and how many. Without users and histories one list is answered, for somebody of whom nothing is known."""

    users: Annotated[MaybeIds, Field(min_length=1)] | None = Field(None, description="User ids; null for somebody unknown.")
    histories: Annotated[list[Ids | None], Field(min_length=1, max_length=MAX_ROWS)] | None = Field(
        None, description="One list of item ids a user, oldest first; null where the stored history is meant."
    )
    k: int = Field(10, ge=1, le=MAX_ROWS, description="Length of the lists.")
    exclude: Ids = Field(default_factory=list, description="Item ids that nobody is recommended.")
    exclude_seen: bool = Field(True, description="Whether items are left out that the user has seen.")

    @model_validator(mode="after")
    def _same_length(self) -> Recommend:
        if self.users is not None and self.histories is not None and len(self.users) != len(self.histories):
            raise ValueError(f"{len(self.users)} users, but {len(self.histories)} histories")
        return self


class Score(Asked):
    """One user, and the items to score."""

    user: Id | None = Field(None, description="User id; null for somebody unknown.")
    history: Ids | None = Field(None, description="Item ids, oldest first; null where the stored history is meant.")
    items: Annotated[Ids, Field(min_length=1)] = Field(description="Items to score.")


class Predict(Asked):
    """Rows of user, item and what else the bundle reads of an event (`/schema` names it)."""

    users: MaybeIds | None = Field(None, description="One user id a row, null where unknown.")
    items: MaybeIds | None = Field(None, description="One item id a row, null where unknown.")
    columns: dict[str, Annotated[list[Any], Field(max_length=MAX_ROWS)]] = Field(
        default_factory=dict, description="Column name to one value a row; null where it is not known."
    )

    @model_validator(mode="after")
    def _same_length(self) -> Predict:
        lengths = {len(part) for part in (self.users, self.items, *self.columns.values()) if part is not None}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"users, items and columns need one length, at least 1; got {sorted(lengths) or 'nothing'}")
        return self


A = TypeVar("A", bound=Asked)


def read(kind: type[A], value: Any) -> A:
    """Return a parsed body as a request.

    Raises:
        Refused: 422, with every part at fault (the first twenty).
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        unknown = f"there is no such field; this request has {', '.join(kind.model_fields)}"
        told = [unknown if one["type"] == "extra_forbidden" else one["msg"] for one in found]
        fields = [{"field": ".".join(map(str, one["loc"])) or "body", "problem": text} for one, text in zip(found, told, strict=True)]
        count = f"{len(fields)} parts" if len(fields) > 1 else "1 part"
        raise Refused(422, "invalid-request", f"{count} of the body cannot be read", fields=fields) from None
