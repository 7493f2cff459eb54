"""Fingerprints of values: what a component was handed is compared with what it left behind, bit for bit (torch only if it is loaded)."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel

__all__ = ["digest", "first_difference", "leaves"]


def leaves(value: Any, where: str = "", seen: tuple[int, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield (place, fingerprint) of everything inside a value: arrays by dtype, shape and bytes; records by field; maps by sorted key."""
    if id(value) in seen:
        return
    path = (*seen, id(value))
    torch = sys.modules.get("torch")
    if isinstance(value, np.ndarray):
        yield where, _array(value)
    elif torch is not None and isinstance(value, torch.Tensor):
        yield where, f"{value.requires_grad}:" + _array(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        yield where + ".shape", f"{value.dtype}{tuple(value.shape)}"
    elif torch is not None and isinstance(value, torch.nn.Module):
        yield from _module(value, where, path)
    elif isinstance(value, BaseModel):
        yield where, type(value).__name__ + value.model_dump_json()
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from leaves(getattr(value, field.name, None), f"{where}.{field.name}", path)
    elif isinstance(value, Mapping):
        yield where, f"keys {list(map(str, value))}"
        for key in sorted(value, key=str):
            yield from leaves(value[key], f"{where}[{key!r}]", path)
    elif isinstance(value, (list, tuple)):
        yield where, f"{type(value).__name__} of {len(value)}"
        for position, part in enumerate(value):
            yield from leaves(part, f"{where}[{position}]", path)
    elif isinstance(value, (set, frozenset)):
        yield where, "set " + ",".join(sorted(map(repr, value)))
    elif isinstance(value, bytes):
        yield where, hashlib.sha256(value).hexdigest()
    elif value is None or isinstance(value, (str, int, float, bool, np.generic)):
        yield where, repr(value)


def digest(value: Any) -> str:
    """Return a hex digest of `leaves`."""
    return hashlib.sha256(json.dumps(list(leaves(value))).encode()).hexdigest()


def first_difference(before: Any, after: Any) -> str | None:
    """Return the first place where two lists of `leaves` differ, None when they are equal."""
    left, right = dict(before), dict(after)
    for place in {**left, **right}:
        if left.get(place) != right.get(place):
            return place.lstrip(".") or "the value itself"
    return None


def _array(value: np.ndarray) -> str:
    raw = repr(value.tolist()).encode() if value.dtype.hasobject else np.ascontiguousarray(value).tobytes()
    return f"{value.dtype}{value.shape}{value.flags.writeable}{hashlib.sha256(raw).hexdigest()}"


def _module(module: Any, where: str, path: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    yield where, repr(module)
    for name, part in module.named_modules():
        yield f"{where}.{name}.training", str(part.training)
        hooks = len(part._forward_hooks) + len(part._forward_pre_hooks) + len(part._backward_hooks)
        yield f"{where}.{name}.hooks", str(hooks)
        plain = {k: v for k, v in vars(part).items() if not k.startswith("_") and not callable(v)}
        yield from leaves(plain, f"{where}.{name}", path)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        yield from leaves(tensor, f"{where}.{name}", path)
        yield f"{where}.{name}.grad", str(getattr(tensor, "grad", None) is None)
