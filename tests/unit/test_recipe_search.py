"""Keys of a recipe that shape the search: refused where they contradict one another."""

from __future__ import annotations

from typing import Any

import pytest

from autorec_kernel.cli.run import _and_more
from autorec_kernel.errors import UsageError
from autorec_kernel.recipe import read_recipe


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"objectives": ["latency", "metric"]}, "the metric comes first"),
        ({"objectives": ["metric", "bytes", "bytes"]}, "each objective once"),
        ({"objectives": ["metric", "speed"]}, "objectives"),
        ({"weights": {"latency": -1.0}}, "0 or more"),
        ({"weights": {"speed": 1.0}}, "weights"),
        ({"weights": {"latency": 0.1}, "objectives": ["metric", "bytes"]}, "either weights of one reward or several objectives"),
        ({"rungs": [0.5]}, "rise to 1"),
        ({"rungs": [0.5, 0.3, 1.0]}, "rise to 1"),
        ({"rungs": []}, "rise to 1"),
        ({"eta": 1}, "eta"),
    ],
)
def test_what_contradicts_itself_is_refused_with_the_key(values: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_recipe(None, values)


def test_set_gives_keys_and_entries_of_keys() -> None:
    found = _and_more(
        {"seed": None, "fixed": {"zoo/deepfm.embedding_dim": 8}}, {"max_params": 1000, "weights.latency": 0.1, "weights.bytes": 0.2}
    )
    assert found["max_params"] == 1000
    assert found["weights"] == {"latency": 0.1, "bytes": 0.2}
    assert read_recipe(None, {"weights": found["weights"]}).weights == {"latency": 0.1, "bytes": 0.2}
    with pytest.raises(UsageError, match="given twice"):
        _and_more({"seed": 3}, {"seed": 4})
