"""What tests of the fit loop share: short settings, one training, and weights side by side."""

from __future__ import annotations

import numpy as np
import torch

from autorec_kernel.models import FitSettings, fit

__all__ = ["FAST", "run", "same", "state"]

FAST = FitSettings(learning_rate=1e-2, batch_size=128, epochs=3, patience=0)


def run(network, features, settings=FAST, seed=0, validate=None, **options):
    return fit(network, features, settings, seed=np.random.SeedSequence(seed), validate=validate, **options)


def state(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
