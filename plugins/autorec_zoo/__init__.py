"""First-party blueprints: published models as graphs of blocks. `from autorec_zoo import DeepFM` gives a constructor of networks."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Return a constructor (`DeepFM`, `SASRec`, …) or a record that describes a column (`Field`, `Numeric`, `Bag`, `History`)."""
    if name.startswith("_"):
        raise AttributeError(name)
    from autorec_zoo.constructors import public

    return public(name)


def __dir__() -> list[str]:
    from autorec_zoo.constructors import public_names

    return sorted({*globals(), *public_names()})
