"""A feature set on disk: one JSON file and one `.npy` file an array, read back memory-mapped. Nothing is pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from autorec_kernel.errors import InfrastructureError
from autorec_kernel.features.compute import Fitted, Sides
from autorec_kernel.features.entities import Entities
from autorec_kernel.features.feature_set import FeatureSet
from autorec_kernel.features.lately import Fading
from autorec_kernel.features.parts import Part
from autorec_kernel.features.shelf import ARRAYS, file_of
from autorec_kernel.records.bags import Bags, Values
from autorec_kernel.records.dataset import Protocol
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.records.program import Program
from autorec_kernel.records.schema import Schema
from autorec_kernel.records.table import Coded, ColumnData, Ragged, Table
from autorec_kernel.records.vocabulary import Vocabulary

__all__ = ["load", "save"]

VERSION = 2
_NAME = "features.json"
_BAG = ("#values", "#offsets", "#width")  # behind the name of a value that is stored ragged
_IDS = ("users", "items", "more_users", "more_items")


class _Writer:
    """Writes arrays under numbers and remembers which name has which; those that lie in the folder already stay where they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []
        self.files: dict[str, str] = {}

    def array(self, name: str, array: np.ndarray) -> None:
        file = file_of(array, self.folder)
        if file:
            self.files[name] = file
            return
        np.save(self.folder / f"{len(self.names)}.npy", np.ascontiguousarray(array), allow_pickle=False)
        self.names.append(name)

    def arrays(self, prefix: str, arrays: Mapping[str, Values]) -> None:
        for name, array in arrays.items():
            if isinstance(array, Bags):
                self.array(f"{prefix}{name}{_BAG[0]}", array.values)
                self.array(f"{prefix}{name}{_BAG[1]}", array.offsets)
                self.array(f"{prefix}{name}{_BAG[2]}", np.array([array.width]))
            else:
                self.array(prefix + name, array)

    def table(self, prefix: str, table: Table) -> dict[str, str]:
        kinds = {}
        for number, (name, column) in enumerate(table.items()):
            kinds[name] = self.column(f"{prefix}{number}.", column)
        return kinds

    def column(self, prefix: str, column: ColumnData) -> str:
        if isinstance(column, Coded):
            self.array(f"{prefix}codes", column.codes)
            self.arrays(prefix, Vocabulary.of(column.values).arrays())
            return "text"
        if isinstance(column, Ragged):
            self.array(f"{prefix}rows", column.offsets)
            return f"list of {self.column(f'{prefix}values.', column.values)}"
        self.array(f"{prefix}array", column)
        return "array"


def save(features: FeatureSet, folder: Path) -> None:
    """Write a feature set; the JSON file comes last, so that a folder without it is not one."""
    (folder / ARRAYS).mkdir(parents=True, exist_ok=True)
    writer, sides = _Writer(folder / ARRAYS), features.sides
    for name in _IDS:
        writer.arrays(f"{name}.", getattr(features.entities, name).arrays())
    tables = {name: [writer.table(f"side.{name}.", getattr(sides, name)), getattr(sides, name).rows] for name in ("users", "items")}
    writer.arrays("static.", features.static)
    for number, op in enumerate(features.fitted):
        writer.arrays(f"op.{number}.", op.program.stored())
    parts = {split: _save_part(writer, split, part) for split, part in features.parts.items()}
    meta = {
        "version": VERSION,
        "schema": features.schema.to_json(),
        "task": features.task,
        "protocol": asdict(features.protocol),
        "columns": features.columns.to_json(),
        "plan": features.plan,
        "seconds": features.seconds,
        "digest": features.digest,
        "fading": asdict(features.fading),
        "roles": {"user": sides.user, "item": sides.item, "time": sides.time},
        "tables": tables,
        "static": list(features.static),
        "ops": [{"features": [asdict(f) for f in op.features], "program": op.program.to_json()} for op in features.fitted],
        "parts": parts,
        "arrays": writer.names,
        "files": writer.files,
    }
    written = folder / f"{_NAME}.new"
    written.write_text(json.dumps(meta), encoding="utf-8")
    written.replace(folder / _NAME)


def load(folder: Path) -> FeatureSet:
    """Read a feature set.

    Raises:
        InfrastructureError: The folder holds none, or one of another version.
    """
    try:
        meta = json.loads((folder / _NAME).read_text(encoding="utf-8"))
    except OSError as error:
        raise InfrastructureError("no feature set is stored here", where=str(folder)) from error
    if meta["version"] != VERSION:
        raise InfrastructureError(f"the feature set has version {meta['version']}; this release reads {VERSION}", where=str(folder))
    files = {**{name: str(number) for number, name in enumerate(meta["arrays"])}, **meta.get("files", {})}
    arrays = {name: _map(folder / ARRAYS / f"{file}.npy") for name, file in files.items()}
    roles, ids = meta["roles"], {name: Vocabulary.load(arrays, f"{name}.") for name in _IDS}
    entities = Entities(**ids, user=roles["user"], item=roles["item"])
    users, items = (_load_table(arrays, f"side.{name}.", *meta["tables"][name]) for name in ("users", "items"))
    return FeatureSet(
        FeatureSchema.from_json(meta["schema"]),
        meta["task"],
        Protocol(**meta["protocol"]),
        Schema.from_json(meta["columns"]),
        meta["plan"],
        meta["seconds"],
        entities,
        Sides.of(entities, users, items, roles["time"]),
        tuple(_load_op(op, arrays, f"op.{number}.") for number, op in enumerate(meta["ops"])),
        {name: _load_values(arrays, f"static.{name}") for name in meta["static"]},
        {split: _load_part(arrays, split, part, list(meta["schema"]["tasks"])) for split, part in meta["parts"].items()},
        meta["digest"],
        Fading(**meta["fading"]),
    )


def _save_part(writer: _Writer, split: str, part: Part) -> dict[str, Any]:
    for number, label in enumerate(part.labels.values()):
        writer.array(_label_name(split, number), label)
    writer.arrays(f"{split}.value.", part.values)
    return {"rows": part.rows, "events": writer.table(f"{split}.event.", part.events), "values": list(part.values)}


def _load_part(arrays: Mapping[str, np.ndarray], split: str, meta: Mapping[str, Any], tasks: list[str]) -> Part:
    events = _load_table(arrays, f"{split}.event.", meta["events"], meta["rows"])
    labels = {task: arrays[_label_name(split, number)] for number, task in enumerate(tasks)}
    return Part(events, labels, {name: _load_values(arrays, f"{split}.value.{name}") for name in meta["values"]})


def _load_values(arrays: Mapping[str, np.ndarray], name: str) -> Values:
    if name in arrays:
        return arrays[name]
    values, offsets, width = (arrays[name + part] for part in _BAG)
    return Bags(values, offsets, int(width[0]))


def _label_name(split: str, number: int) -> str:
    """Return the array that holds a label: the primary one has the name alone, as it has where it is the only one."""
    return f"{split}.label.{number}" if number else f"{split}.label"


def _load_op(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray], prefix: str) -> Fitted:
    return Fitted(tuple(Feature(**feature) for feature in meta["features"]), Program.load(meta["program"], arrays, prefix))


def _load_table(arrays: Mapping[str, np.ndarray], prefix: str, kinds: Mapping[str, str], rows: int) -> Table:
    columns = {name: _load_column(arrays, f"{prefix}{number}.", kind) for number, (name, kind) in enumerate(kinds.items())}
    return Table(columns, rows)


def _load_column(arrays: Mapping[str, np.ndarray], prefix: str, kind: str) -> ColumnData:
    if kind == "text":
        vocabulary = Vocabulary.load(arrays, prefix)
        texts = np.array([*vocabulary.ids_of(np.arange(1, vocabulary.size)), None], dtype=object)[:-1]
        return Coded(np.asarray(arrays[f"{prefix}codes"]), texts)
    if kind.startswith("list of "):
        values = _load_column(arrays, f"{prefix}values.", kind.removeprefix("list of "))
        assert not isinstance(values, Ragged)
        return Ragged(values, np.asarray(arrays[f"{prefix}rows"]))
    return arrays[f"{prefix}array"]


def _map(path: Path) -> np.ndarray:
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
