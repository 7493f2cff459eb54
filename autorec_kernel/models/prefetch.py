"""Batches delivered to a device, built ahead in background threads if that is asked for: the same batches in the same order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from autorec_kernel.models.batches import Batch
    from autorec_kernel.models.batching import BatchSource

__all__ = ["delivered"]

_AHEAD = 2  # batches waiting for each thread


def delivered(batches: BatchSource, rng: np.random.Generator, device: str, workers: int = 0, *, pin: bool = False) -> Iterator[Batch]:
    """Yield the batches of an epoch on a device.

    Args:
        rng: Of the epoch.
        workers: Threads that build batches ahead; 0 = they are built when they are asked for; -1 = one for CUDA, none for the CPU.
            Sources whose batches follow from one another use one.
        pin: Whether they pass through page-locked memory on their way to a CUDA device.
    """
    cuda = device.startswith("cuda")
    count = int(cuda) if workers < 0 else workers
    found = _ahead(batches, rng, count, pin=pin and cuda) if count else batches.epoch(rng)
    for batch in found:
        yield {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()} if device != "cpu" else batch


def _ahead(batches: BatchSource, rng: np.random.Generator, workers: int, *, pin: bool) -> Iterator[Batch]:
    jobs = getattr(batches, "jobs", None)
    if jobs is None:
        iterator = batches.epoch(rng)
        workers, todo = 1, repeat(partial(next, iterator, None))
    else:
        todo = jobs(rng)
    waiting: deque[Future[Batch | None]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="batches") as pool:
        try:
            for job in todo:
                waiting.append(pool.submit(_built, job, pin))
                if len(waiting) <= _AHEAD * workers:
                    continue
                batch = waiting.popleft().result()
                if batch is None:
                    return
                yield batch
            while waiting:
                batch = waiting.popleft().result()
                assert batch is not None
                yield batch
        finally:
            for one in waiting:
                one.cancel()


def _built(job: Callable[[], Batch | None], pin: bool) -> Batch | None:
    batch = job()
    return batch if batch is None or not pin else {name: tensor.pin_memory() for name, tensor in batch.items()}
