"""The content digest of a feature set: equal data, plan and values give equal digests on every run."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from autorec_kernel.features.shelf import release
from autorec_kernel.records.bags import Bags, Values

if TYPE_CHECKING:
    from autorec_kernel.features.feature_set import FeatureSet

__all__ = ["digest_of"]


def digest_of(features: FeatureSet) -> str:
    """Return 16 hex digits over schema, task, entity ids, labels and the values of training and validation rows."""
    sha = hashlib.blake2b(digest_size=8)
    sha.update(json.dumps([features.schema.to_json(), features.task, features.protocol.id], sort_keys=True).encode())
    for vocabulary in (features.entities.users, features.entities.items):
        _add(sha, vocabulary.data, vocabulary.offsets)
    for name, array in sorted(features.static.items()):
        _add(sha, np.frombuffer(name.encode(), np.uint8), array)
    for split in ("train", "valid"):
        part = features.parts[split]
        _add(sha, *part.labels.values(), *(part.ints(name) for name in sorted(part.events) if name.startswith("@")))
        for _, array in sorted(part.values.items()):
            _add(sha, array)
            release([array])
    return sha.hexdigest()


def _add(sha: hashlib.blake2b, *arrays: Values) -> None:
    for array in arrays:
        if isinstance(array, Bags):
            _add(sha, array.values, array.offsets)
            continue
        sha.update(f"{array.dtype.str}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data if array.size else b"")
