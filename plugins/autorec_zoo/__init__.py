"""First-party blueprints: published models as graphs of blocks. `from autorec_zoo import DeepFM` gives a constructor of networks."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Return a constructor (`DeepFM`, `SASRec`, …) or a record that describes a column (`Field`, `Numeric`, `Bag`, `History`)."""
    from autorec_zoo.constructors import public, public_names

    if name == "__all__":  # what `from autorec_zoo import *` brings
        return list(public_names())
    if name.startswith("_"):
        raise AttributeError(name)
    return public(name)


def __dir__() -> list[str]:
    from autorec_zoo.constructors import public_names

    return sorted({*globals(), *public_names()})
