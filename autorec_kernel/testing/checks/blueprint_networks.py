"""Laws of what blueprints decode to: weights that are stored whole, padding that changes no answer (torch)."""

from __future__ import annotations

from typing import Any

import numpy as np

from autorec_kernel.testing.host import host
from autorec_kernel.testing.violation import demand, violated

__all__ = ["check_network_survives_storage", "check_padding_changes_no_answer"]

_TOLERANCE = 1e-5


def check_network_survives_storage(component: Any, config: Any, kernel: Any = None) -> None:
    """Weights stored with safetensors and loaded into a network of another seed give the same bits."""
    from safetensors.torch import load, save
    from torch import contiguous_format as contiguous

    from autorec_kernel.testing.network_cases import answers, batches, network_for, suited, train_steps

    able, blueprint = host(kernel), component(config)
    found = suited(blueprint, able)
    if found is None:
        return
    features = found[1]
    network, other = (network_for(blueprint, features, able, seed) for seed in (1, 2))
    if network.trainable:
        train_steps(network, batches(network, features, 64, 2), 2)
    try:
        other.load_state_dict(load(save({name: value.clone(memory_format=contiguous) for name, value in network.state_dict().items()})))
    except Exception as error:
        violated(f"the weights cannot be stored and loaded: {type(error).__name__}: {error}")
    for first, second in zip(answers(network, features), answers(other, features), strict=True):
        demand(np.array_equal(first, second), "a network with stored weights answers otherwise: there is state outside its weights")


def check_padding_changes_no_answer(component: Any, config: Any, kernel: Any = None) -> None:
    """More padding behind bags and histories leaves every answer as it is."""
    from autorec_kernel.testing.network_cases import answers, network_for, suited

    able, blueprint = host(kernel), component(config)
    found = suited(blueprint, able)
    if found is None:
        return
    network = network_for(blueprint, found[1], able)
    for plain, padded in zip(answers(network, found[1]), answers(network, found[1], padding=5), strict=True):
        gap = float(np.abs(plain - padded).max(initial=0.0))
        demand(gap <= _TOLERANCE, f"five columns of padding move an answer by {gap:.2g}: padding is read as data")
