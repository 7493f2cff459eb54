"""`ComponentConfig`: the frozen pydantic model behind every component's options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from autorec_kernel.errors import UsageError, nearest

__all__ = ["ComponentConfig", "parse_config"]


class ComponentConfig(BaseModel):
    """Options of one component: frozen, unknown keys refused, JSON round trip.

    A field annotated with a domain (`Annotated[int, Int(4, 128)]`) is a gene of the search; its default lies inside the domain.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


C = TypeVar("C", bound=ComponentConfig)


def parse_config(kind: type[C], values: Mapping[str, Any], *, where: str) -> C:
    """Build a config from plain values.

    Args:
        kind: The component's `Config` class.
        values: Field name to value.
        where: Component id named in the error.

    Raises:
        UsageError: A key is unknown (the nearest one is offered) or a value has the wrong type.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        raise UsageError(*_explain(error, kind), where=where) from None
    except TypeError as error:
        raise UsageError(str(error), where=where) from None


def _explain(error: ValidationError, kind: type[ComponentConfig]) -> tuple[str]:
    lines = []
    for fault in error.errors():
        name = ".".join(str(part) for part in fault["loc"])
        close = nearest(name, kind.model_fields) if fault["type"] == "extra_forbidden" else None
        told = f"unknown option {name!r}" if fault["type"] == "extra_forbidden" else f"option {name!r}: {fault['msg']}"
        lines.append(f"{told} (did you mean {close!r}?)" if close else told)
    return ("; ".join(lines),)
