"""From a component's `Config` to genes, and from a genotype back to the keyword arguments of that `Config`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autorec_kernel.errors import ContractError, UsageError
from autorec_kernel.space.domain import Domain, Value
from autorec_kernel.space.gene import Gene

if TYPE_CHECKING:
    from autorec_kernel.config import ComponentConfig

__all__ = ["Under", "config_values", "genes_of"]


@dataclass(frozen=True, slots=True, init=False)
class Under:
    """Beside a domain: the field is a gene only while an earlier searched field of the same `Config` has one of these values.

    `heads: Annotated[int, Int(1, 4), Under("operation", "attention")] = 2`. Conditions may be nested: they form a forest.
    """

    field: str
    values: tuple[Value, ...]

    def __init__(self, field: str, *values: Value) -> None:
        object.__setattr__(self, "field", field)
        object.__setattr__(self, "values", values)


def genes_of(config_class: type[ComponentConfig], prefix: str, parent: str | None = None, when: Iterable[Value] = ()) -> tuple[Gene, ...]:
    """Return the genes of the fields that are annotated with a domain, in field order; `Under` makes one the child of another.

    Args:
        config_class: `rank: Annotated[int, Int(4, 128)] = Field(16, …)` declares a gene `prefix.rank`.
        prefix: Put before the field name with a dot; empty for none.
        parent: Gene that decides whether these are active.
        when: Values of the parent under which they are.

    Raises:
        ContractError: A searched field has no default, or one outside its domain, or is `Under` what is no searched field before it.
    """
    genes: dict[str, Gene] = {}
    for field, info in config_class.model_fields.items():
        for domain in info.metadata:
            if isinstance(domain, Domain):
                above, values = _above(config_class, field, genes) or (parent, tuple(when))
                genes[field] = _gene(config_class, field, domain, prefix, above, values)
    return tuple(genes.values())


def _above(kind: type[ComponentConfig], field: str, known: Mapping[str, Gene]) -> tuple[str, tuple[Value, ...]] | None:
    """Return the gene that a field is `Under`, with the values that wake it; None for a field without such a mark."""
    under = next((mark for mark in kind.model_fields[field].metadata if isinstance(mark, Under)), None)
    if under is None:
        return None
    above = known.get(under.field)
    if above is None or not under.values or not all(map(above.domain.contains, under.values)):
        told = f"it is under {under.field!r} with {list(under.values)}, which no searched field before it can be"
        raise ContractError(told, where=f"{kind.__module__}.{kind.__qualname__}.{field}")
    return above.name, under.values


def config_values(genotype: Mapping[str, Value], prefix: str) -> dict[str, Any]:
    """Return the values of the genes directly below `prefix`, by field name: the keyword arguments of the `Config`."""
    head = f"{prefix}." if prefix else ""
    fields = {name.removeprefix(head): value for name, value in genotype.items() if name.startswith(head)}
    return {field: value for field, value in fields.items() if "." not in field}


def _gene(kind: type[ComponentConfig], field: str, domain: Domain, prefix: str, parent: str | None, when: tuple[Value, ...]) -> Gene:
    info = kind.model_fields[field]
    where = f"{kind.__module__}.{kind.__qualname__}.{field}"
    if info.is_required():
        raise ContractError("a searched field needs a default inside its domain", where=where)
    default = info.get_default(call_default_factory=True)
    try:
        return Gene(f"{prefix}.{field}" if prefix else field, domain, default, parent, when)
    except UsageError as error:
        raise ContractError(error.message, hint=error.hint, where=where) from None
