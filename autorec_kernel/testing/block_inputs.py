"""Example inputs of model blocks: every way to fill the ports a block accepts, and tensors for them (torch)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.testing.violation import demand, violated

__all__ = ["ITEMS", "USERS", "combinations", "repad", "take", "values_for"]

USERS, ITEMS = 6, 9  # rows of the two id spaces of the examples, row 0 included
_SCORES = {
    "float": (TensorSpec("scores", tasks=("click",), link="logit"), TensorSpec("scores", tasks=("click", "like"), link="logit", width=2)),
    "catalogue": (TensorSpec("scores", axis="user", rows=ITEMS, width=ITEMS, link="value"),),
}
_FLAVOURS: dict[Port, dict[str, tuple[TensorSpec, ...]]] = {
    "fields": {
        "float": (TensorSpec("fields", fields=3, width=4), TensorSpec("fields", fields=5, width=6)),
        "index": (TensorSpec("fields", fields=3, index=True, rows=ITEMS), TensorSpec("fields", fields=1, index=True, rows=ITEMS)),
    },
    "vector": {
        "float": (
            TensorSpec("vector", width=4),
            TensorSpec("vector", width=6),
            TensorSpec("vector", width=1),
            TensorSpec("vector", width=3),
        ),
        "index": (TensorSpec("vector", index=True, rows=ITEMS),),
    },
    "sequence": {
        "float": (TensorSpec("sequence", width=4), TensorSpec("sequence", width=6)),
        "index": (TensorSpec("sequence", index=True, rows=ITEMS),),
        "weights": (TensorSpec("sequence", width=1),),
    },
    "scores": _SCORES,
    "table": {
        "float": (TensorSpec("table", axis="item", rows=ITEMS, width=4), TensorSpec("table", axis="item", rows=ITEMS, width=6)),
        "neighbours": (TensorSpec("table", axis="item", rows=ITEMS, neighbours=True),),
        "index": (TensorSpec("table", axis="item", rows=4, index=True),),
    },
    "loss": {"float": (TensorSpec("loss"),)},
}


def combinations(block: Any, limit: int = 3) -> Iterator[list[tuple[TensorSpec, ...]]]:
    """Yield lists of input specs that the block's `output` accepts, one list a pattern of numbers and row indices, floats first.

    Raises:
        Violation: The block accepts nothing that its ports announce, or refuses with anything but `ContractError`.
    """
    refusals: list[str] = []
    some = False
    for pattern in _patterns(tuple(block.accepts)):
        accepted = _spread(
            [_accepted(block, _filled(block, pattern, more), refusals, limit) for more in (0, 1, 2)[: 1 + 2 * block.variadic]]
        )
        some = some or bool(accepted)
        if accepted:
            yield accepted[:limit]
    demand(some, f"output refuses every input on the ports {block.accepts}: {sorted(set(refusals))[:3]}")


def _accepted(block: Any, candidates: Iterator[tuple[TensorSpec, ...]], refusals: list[str], limit: int) -> list[tuple[TensorSpec, ...]]:
    found: list[tuple[TensorSpec, ...]] = []
    for specs in candidates:
        if len(found) == limit:
            break
        try:
            block.output(specs)
        except ContractError as error:
            refusals.append(error.message)
        except Exception as error:
            violated(f"output({_ports(specs)}) raised {type(error).__name__}: {error}; inputs that do not fit raise ContractError")
        else:
            found.append(specs)
    return found


def _patterns(ports: tuple[Port, ...]) -> list[tuple[str, ...]]:
    flavours = [tuple(_FLAVOURS[port]) for port in ports]
    return sorted(itertools.product(*flavours), key=lambda pattern: sum(name != "float" for name in pattern))


def _filled(block: Any, pattern: tuple[str, ...], more: int) -> Iterator[tuple[TensorSpec, ...]]:
    options = [_FLAVOURS[port][flavour] for port, flavour in zip(block.accepts, pattern, strict=True)]
    options += options[-1:] * more
    yield from sorted(itertools.product(*options), key=lambda specs: len({s.width for s in specs}))


def _spread(lists: list[list[tuple[TensorSpec, ...]]]) -> list[tuple[TensorSpec, ...]]:
    return [specs for layer in itertools.zip_longest(*lists) for specs in layer if specs is not None]


def values_for(specs: Sequence[TensorSpec], rows: int, length: int, seed: int, *, full: bool = False) -> list[Any]:
    """Return one argument an input, `rows` on the batch axis and `length` steps.

    Row 0 has an empty history unless `full`, the last row a full one; float values of padded steps are zero.
    """
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, length + 1, (rows,), generator=generator)
    lengths[-1] = length
    if full:
        lengths[:] = length
    elif rows > 2:
        lengths[0] = 0
    mask = torch.arange(length) < lengths.unsqueeze(1)
    labelled = any(spec.port == "scores" for spec in specs)
    return [_value(spec, rows, mask, generator, labelled) for spec in specs]


def take(values: Sequence[Any], specs: Sequence[TensorSpec], rows: slice | list[int]) -> list[Any]:
    """Return the given rows of every input that has a batch axis."""
    return [_rows_of(value, spec, rows) for value, spec in zip(values, specs, strict=True)]


def repad(values: Sequence[Any], more: int, seed: int) -> list[Any]:
    """Return the inputs with other numbers in padded steps and `more` padded steps at the right."""
    generator = torch.Generator().manual_seed(seed)
    return [_repad(value, more, generator) if isinstance(value, tuple) else value for value in values]


def _value(spec: TensorSpec, rows: int, mask: torch.Tensor, generator: torch.Generator, labelled: bool) -> Any:
    if spec.port == "table":
        return _table(spec, generator)
    shape = {"fields": (rows, spec.fields), "sequence": tuple(mask.shape)}.get(spec.port, (rows,))
    if spec.index:
        ids = torch.randint(1, max(2, spec.rows), shape, generator=generator)
        return (ids * mask, mask) if spec.port == "sequence" else ids
    if spec.port == "loss":
        return torch.rand((), generator=generator)
    if spec.port == "vector" and spec.width == 1 and labelled:
        return (torch.rand((rows, 1), generator=generator) > 0.5).float()  # scores and a vector of width one: predictions and labels
    draw = torch.rand if spec.port == "sequence" and spec.width == 1 else torch.randn  # one number a step is a weight in [0, 1)
    value = draw((*shape, spec.width), generator=generator)
    return (value * mask.unsqueeze(-1), mask) if spec.port == "sequence" else value


def _table(spec: TensorSpec, generator: torch.Generator) -> Any:
    if spec.neighbours:
        ids = torch.randint(0, spec.rows, (spec.rows, 3), generator=generator)
        return ids, torch.rand((spec.rows, 3), generator=generator)
    if spec.index:
        return torch.randint(1, ITEMS, (spec.rows,), generator=generator)
    return torch.randn((spec.rows, spec.width), generator=generator)


def _rows_of(value: Any, spec: TensorSpec, rows: slice | list[int]) -> Any:
    if spec.port in ("table", "loss"):
        return value
    return tuple(part[rows] for part in value) if isinstance(value, tuple) else value[rows]


def _repad(value: tuple[torch.Tensor, torch.Tensor], more: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    steps, mask = value
    if mask.dtype != torch.bool:
        return value  # a table of neighbours, not a sequence
    tail = torch.zeros((steps.shape[0], more, *steps.shape[2:]), dtype=steps.dtype)
    steps, mask = torch.cat([steps, tail], 1), torch.cat([mask, mask.new_zeros(mask.shape[0], more)], 1)
    if steps.dtype == torch.int64:
        return steps, mask
    noise = torch.randn(steps.shape, generator=generator) * 3
    return torch.where(mask.unsqueeze(-1), steps, noise), mask


def _ports(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{s.port}{'(index)' if s.index else ''}x{s.width}" for s in specs)
