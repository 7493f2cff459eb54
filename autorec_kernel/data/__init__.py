"""The data room: from a table to a `Dataset` that is understood, split and sealed."""

from __future__ import annotations

from autorec_kernel.data.inspection import Inspection, inspect
from autorec_kernel.data.limits import Limits
from autorec_kernel.data.open import open_dataset
from autorec_kernel.data.source import files_fingerprint, read_source

__all__ = ["Inspection", "Limits", "files_fingerprint", "inspect", "open_dataset", "read_source"]
