"""What the arguments of NASRec mean as a recipe."""

from __future__ import annotations

from typing import Any

from autorec_kernel.errors import UsageError

__all__ = ["options", "tutorial"]


def tutorial() -> dict[str, Any]:
    """Return the options of the tutorial: the wide space, 200 candidates, 10 epochs each and 20 for the best, 5 million parameters."""
    return options("wide", 200, 10, 5e6, 50.0, 20, 256, 0.001)


def options(
    search_space: str,
    search_iterations: int,
    epochs_per_arch: int,
    max_params: float,
    max_latency_ms: float,
    epochs: int,
    batch_size: int,
    learning_rate: float,
) -> dict[str, Any]:
    """Return recipe options.

    What the search proposes trains for `epochs_per_arch` epochs; the best of each batch go on to `epochs`, of which the best one counts.
    Limits are checked before anything is trained. Batch size and learning rate are the same for all candidates.

    Raises:
        UsageError: The final training is shorter than that of a candidate.
    """
    if not 1 <= epochs_per_arch <= epochs:
        told = f"epochs_per_arch is {epochs_per_arch} and epochs {epochs}: the best candidates go on from the one to the other"
        raise UsageError(told, hint="give epochs_per_arch from 1 to epochs")
    return {
        "task": "rate",
        "search_space": search_space,
        "trials": int(search_iterations),
        "max_params": float(max_params),
        "max_latency_ms": float(max_latency_ms),
        "rungs": [epochs_per_arch / epochs, 1.0] if epochs_per_arch < epochs else [1.0],
        "evaluator_options": {"epochs": int(epochs)},
        "fixed": {"ranker.training.batch_size": int(batch_size), "ranker.training.learning_rate": float(learning_rate)},
    }
