"""`autorec doctor`: what this installation and this machine can do."""

from __future__ import annotations

import os
import platform
import sys
from collections import Counter
from importlib import metadata
from typing import Annotated, Any

import typer

from autorec_kernel.cli.host import kernel_of
from autorec_kernel.cli.output import emit, emit_json

__all__ = ["doctor"]

_PACKAGES = ("autorec-kernel", "torch", "numpy", "pandas", "pyarrow", "onnx", "onnxruntime", "pluggy", "pydantic", "typer")


def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Report Python, packages, plugins, cores, memory, device and cache."""
    kernel = kernel_of(context)
    facts = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "executable": sys.executable,
        "packages": {name: _installed(name) for name in _PACKAGES},
        "plugins": {row.name: row.status + (f": {row.reason}" if row.reason else "") for row in kernel.plugins()},
        "components": dict(Counter(row.status for point in kernel.extension_points() for row in kernel.components(point.kind))),
        "cores": _cores(),
        "memory_bytes": _memory(),
        "device": _device(),
        "cache": _cache(),
    }
    if as_json:
        emit_json(facts)
        return
    for name, value in facts.items():
        if not isinstance(value, dict):
            emit(f"{name + ':':<14}{value}")
            continue
        emit(f"{name}:" + ("" if value else " none"))
        for key, text in value.items():
            emit(f"  {key:<16}{text}")


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> dict[str, int]:
    """Return total and available bytes; empty where psutil is missing."""
    try:
        import psutil
    except ImportError:
        return {}
    memory = psutil.virtual_memory()
    return {"total": memory.total, "available": memory.available}


def _device() -> str:
    try:
        import torch
    except Exception as error:  # a broken installation of torch is what doctor is asked about
        return f"none: {type(error).__name__}: {error}"
    return f"cuda ({torch.cuda.get_device_name(0)})" if torch.cuda.is_available() else "cpu"


def _cache() -> Any:
    from autorec_kernel.registry.cache import user_cache_dir

    folder = user_cache_dir()
    return str(folder) if folder else "none is writable; plugins are probed each time"
