"""Train one architecture from start to end: closed forms, gradient steps, settled unknown rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.models.entities import Entities
from autorec_kernel.models.fit import FitReport, FitSettings, fit
from autorec_kernel.models.network import Network, build_network
from autorec_kernel.models.solve import solve_blocks
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.features import FeatureSchema

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.kernel import Kernel

__all__ = ["seed_of", "train"]

SOLVE, INIT, TRAIN = 0, 1, 2  # stages of a trial's randomness


def seed_of(seed: int, trial: int, stage: int) -> np.random.SeedSequence:
    """Return the randomness of one stage of one trial; nothing else in the process influences it."""
    return np.random.SeedSequence(seed, spawn_key=(trial, stage))


def train(
    architecture: Architecture,
    features: FeatureSet,
    schema: FeatureSchema,
    kernel: Kernel,
    settings: FitSettings,
    *,
    seed: int,
    trial: int,
    validate: Callable[[Network], float] | None = None,
    device: str = "cpu",
    deadline: float | None = None,
    cache: Path | None = None,
    progress: Callable[[FitReport], None] | None = None,
    begin: Callable[[Network], None] | None = None,
) -> tuple[Network, FitReport]:
    """Train.

    Args:
        schema: The part of the features that the architecture was decoded on.
        progress: Called after each epoch with the report so far.
        begin: Called with the new network before anything is learned, to give it weights that were learned elsewhere.

    Returns:
        The trained network, in eval mode on the CPU, and the report (empty for a closed form).

    Raises:
        ContractError: The architecture cannot be built on these features.
        NotFiniteError: The loss became NaN or infinite.
    """
    solving = np.random.SeedSequence(seed, spawn_key=(SOLVE,))  # the same for all trials, which share what is solved
    arrays = solve_blocks(architecture, features, kernel, seed=solving, cache=cache)
    weights_seed = int(seed_of(seed, trial, INIT).generate_state(1)[0])
    network = build_network(architecture, schema, kernel, arrays, weights_seed).attach(Entities(features))
    if begin is not None:
        begin(network)
    if not network.trainable or not settings.epochs:
        return network.eval(), FitReport()
    options: dict[str, Any] = {"validate": validate, "device": device, "deadline": deadline, "progress": progress}
    return network, fit(network, features, settings, seed=seed_of(seed, trial, TRAIN), **options)
