"""Which run a folder holds: its recipe, data, protocol and plugins, its split rows, and the time it has used."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.errors import InfrastructureError
from autorec_kernel.stages.result import plugin_versions

if TYPE_CHECKING:
    from autorec_kernel.records.dataset import Dataset
    from autorec_kernel.stages.workplace import Workplace

__all__ = ["check_same", "keep_splits", "spent_seconds"]


def check_same(place: Workplace, dataset: Dataset) -> dict[str, Any] | None:
    """Write the run's identity, or compare it with what the journal says; return the result of a finished run."""
    budgets = {"budget", "trials", "workers"}
    stated = place.recipe.model_dump(mode="json")
    mine = {
        "recipe": {key: value for key, value in stated.items() if key not in budgets},
        "data": dataset.fingerprint,
        "protocol": dataset.protocol.id,
        "plugins": plugin_versions(place),
        "device": place.device,
    }
    if len(dataset.schema.labels) > 1:  # their order says which is the primary one, and a mapping of roles is compared without order
        mine["labels"] = [column.name for column in dataset.schema.labels]
    recorded = next((record for record in place.journal.records() if record["kind"] == "run"), None)
    if recorded is None:
        place.journal.append("run", **json.loads(json.dumps(mine)))
        return None
    changed = [key for key, value in json.loads(json.dumps(mine)).items() if recorded.get(key) != value]
    if changed:
        told = "; ".join(line for key in changed for line in _differences(key, recorded.get(key), mine[key]))
        raise InfrastructureError(f"this folder holds another run: {told}"[:1500], where=str(place.folder), hint="choose another --out")
    ended = any(record["kind"] == "finished" for record in place.journal.records())
    path = place.folder / "result.json"
    if not ended or not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    asked = {key: stated[key] for key in ("budget", "trials")}
    return found if {key: found["recipe"][key] for key in asked} == asked else None


def _differences(key: str, was: Any, now: Any) -> list[str]:
    """Return one `name: was …, is …` for each value that differs, options one by one."""
    if not (isinstance(was, dict) and isinstance(now, dict)):
        return [f"{key}: was {was}, is {now}"]
    names = sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))
    return [f"{name}: was {was.get(name)}, is {now.get(name)}" for name in names]


def keep_splits(place: Workplace, dataset: Dataset) -> None:
    """Write which rows of the table are in which part, with a digest of each."""
    folder = place.folder / "splits"
    folder.mkdir(exist_ok=True)
    digests = {}
    for name, rows in dataset.row_ids.items():
        values = np.asarray(rows, dtype=np.int64)
        np.save(folder / f"{name}.npy", values, allow_pickle=False)
        digests[name] = hashlib.sha256(values.tobytes()).hexdigest()[:16]
    place.write_json("splits/protocol.json", {"id": dataset.protocol.id, "reason": dataset.protocol.reason, "digests": digests})


def spent_seconds(records: Any) -> float:
    """Return the seconds that earlier sessions used, from the records of a journal; a killed one is counted up to its last result."""
    told = (record.get("measured_elapsed", record.get("elapsed", record.get("spent", 0.0))) for record in records)
    return max(map(float, told), default=0.0)
