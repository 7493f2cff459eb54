"""The five data sets of the feature benchmarks: split by `open_dataset`, with the given columns of every row as pandas frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from autorec_kernel.data import open_dataset
from autorec_kernel.records.dataset import Dataset

__all__ = ["SETS", "Given", "open_set"]

LABEL = "label"
_CODED = ("user_id", "item_id", "occupation", "zip_code", "det_ind_code", "det_occ_code", "own_or_self", "vet_benefits", "year")


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """A data set and its rows.

    Args:
        dataset: As the engine gets it.
        frame: Rows of the parts one after the other, each in the order of the data set: the given columns, `label` (0 or 1),
            `part`, and for logs `clock` (seconds, or the place in the user's history; 0 = unknown).
        categories, numbers: Which columns a learner may read.
        lists: Columns of texts with several values, separated by "|".
        user: Column of the user, "" where there is none.
    """

    name: str
    dataset: Dataset
    frame: pd.DataFrame
    categories: tuple[str, ...]
    numbers: tuple[str, ...]
    lists: tuple[str, ...] = ()
    user: str = ""

    def rows(self, part: str) -> np.ndarray:
        """Return int64 places in `frame` of a part."""
        return np.flatnonzero(self.frame["part"] == part)


def open_set(name: str, folder: Path, parts: tuple[str, ...] = ("train", "valid", "test")) -> Given:
    """Open a data set; rows of parts that are not asked for are not in the frame."""
    return _OPENERS[name](name, folder / name, parts)


def _movies(name: str, folder: Path, parts: tuple[str, ...]) -> Given:
    events, items = (pd.read_csv(folder / f"{table}.csv.gz", dtype=_texts()) for table in ("ratings", "items"))
    path = folder / "users.csv.gz"
    users = pd.read_csv(path, dtype=_texts()) if path.exists() else None
    protocol = "leave-one-out" if "position" in events else "temporal"
    dataset = open_dataset(
        folder / "ratings.csv.gz",
        users=path if users is not None else None,
        items=folder / "items.csv.gz",
        task="click",
        protocol=protocol,
        positive_threshold=4,
    )
    clock = "position" if protocol == "leave-one-out" else "timestamp"
    frame = events.assign(clock=events[clock].fillna(0).astype(np.int64), **{LABEL: (events["rating"] >= 4).astype(np.float64)})
    frame = _parts(frame.drop(columns=["rating"]), dataset, parts)
    items["year"] = items["title"].str.extract(r"\((\d{4})\)", expand=False).astype(float)
    if "release_date" in items:
        dates = pd.to_datetime(items["release_date"], format="%d-%b-%Y")
        items["released"] = dates.dt.year + dates.dt.dayofyear / 366
    frame = frame.merge(items, on="item_id", how="left")
    frame = frame if users is None else frame.merge(users, on="user_id", how="left")
    categories = [column for column in ("user_id", "item_id", "gender", "occupation", "zip_code") if column in frame]
    numbers = [column for column in ("age", "released") if column in frame]
    return Given(name, dataset, frame, tuple(categories), tuple(numbers), ("genres",), "user_id")


def _census(name: str, folder: Path, parts: tuple[str, ...]) -> Given:
    tables = [pd.read_parquet(folder / f"{part}.parquet").assign(split=part) for part in ("train", "test")]
    frame = pd.concat(tables, ignore_index=True)
    frame[LABEL] = (frame.pop("income_50k") == "50000+.").astype(np.int64)
    roles = {LABEL: "label", "split": "split", "instance_weight": "ignore"}
    dataset = open_dataset(frame, task="click", protocol="given", roles=roles)
    columns = [column for column in frame if column not in roles]
    numbers = tuple(c for c in columns if pd.api.types.is_numeric_dtype(frame[c]) and c not in _CODED)
    return Given(name, dataset, _parts(frame, dataset, parts), tuple(c for c in columns if c not in numbers), numbers)


def _criteo(name: str, folder: Path, parts: tuple[str, ...]) -> Given:
    names = {f"C{number}": str for number in range(1, 27)}
    frame = pd.read_csv(folder / "samples.csv.gz", dtype=names)
    dataset = open_dataset(folder / "samples.csv.gz", task="click", protocol="random")
    return Given(name, dataset, _parts(frame, dataset, parts), tuple(names), tuple(f"I{number}" for number in range(1, 14)))


def _parts(frame: pd.DataFrame, dataset: Dataset, parts: tuple[str, ...]) -> pd.DataFrame:
    found = [frame.iloc[dataset.row_ids[part]].assign(part=part) for part in parts]
    return pd.concat(found, ignore_index=True)


def _texts() -> dict[str, type]:
    return {name: str for name in ("user_id", "item_id", "occupation", "zip_code")}


_OPENERS: dict[str, Callable[[str, Path, tuple[str, ...]], Given]] = {
    "ml-100k": _movies,
    "ml-latest-small": _movies,
    "census-income": _census,
    "criteo-10k": _criteo,
    "ml-1m": _movies,
}
SETS = tuple(_OPENERS)
