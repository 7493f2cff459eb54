"""What both libraries are given for the training of retrievers: sizes, batches, and how much one timed call trains."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["LENGTH", "MODELS", "STEPS", "Model", "batches_of_a_call"]

LENGTH = 50  # newest items that SASRec and RecBole's GRU4Rec read
STEPS = 20  # of a session in a batch of ours


class Model(NamedTuple):
    """One comparison.

    Args:
        options: Options of both workers; `batch` counts scored positions, pairs or users.
        calls: What a timed call trains at least, in the same unit: ours, the peer's; 0 = an epoch.
        batches: Batch sizes of the peer that are tried; the fastest is compared.
        unit: What is counted.
    """

    options: dict[str, Any]
    calls: tuple[int, int]
    batches: tuple[int, ...]
    unit: str


MODELS = {
    "SASRec": Model({"batch": 2048, "width": 64, "hidden": (64,), "dropout": 0.2}, (51_200, 4_096), (2048, 512), "positions"),
    "GRU4Rec": Model({"batch": 2048, "width": 64, "hidden": (128,), "dropout": 0.2}, (51_200, 4_096), (2048, 512), "positions"),
    "BPR": Model({"batch": 2048, "width": 64}, (0, 0), (2048,), "pairs"),
    "LightGCN": Model({"batch": 2048, "width": 64}, (24_576, 12_288), (2048,), "pairs"),
    "MultiVAE": Model({"batch": 512, "width": 200, "hidden": (600,), "dropout": 0.5}, (0, 0), (512, 2048), "users"),
}


def batches_of_a_call(model: str, peer: bool, batch: int, epoch: int) -> int:
    """Return how many batches a timed call trains.

    Args:
        epoch: Batches of an epoch.
    """
    wanted = MODELS[model].calls[int(peer)]
    return min(epoch, -(-wanted // batch)) if wanted else epoch
