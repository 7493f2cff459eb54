"""MovieLens folders as GroupLens ships them: ratings with films, users and tags, in the CSV, `::` and tab forms."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autorec_kernel.config import ComponentConfig
from autorec_kernel.data import Limits
from autorec_kernel.data.csvfile import read_csv
from autorec_kernel.data.stream import check_file
from autorec_kernel.errors import DataError
from autorec_readers.lines import dated_lists, left_out, plain_table, text_table

__all__ = ["MovieLensReader"]

_RATINGS = {"user_id": None, "movie_id": None, "rating": pa.float64(), "timestamp": pa.int64()}
_MOVIES = r"^(?P<movie_id>\d+)::(?P<title>.*)::(?P<genres>.*)$"
_USERS = r"^(?P<user_id>\d+)::(?P<gender>[^:]*)::(?P<age>[^:]*)::(?P<occupation>[^:]*)::(?P<zip_code>.*)$"
_TAGS = r"^(?P<user_id>\d+)::(?P<movie_id>\d+)::(?P<tag>.*)::(?P<timestamp>\d+)$"
_OLD_USERS = r"^(?P<user_id>\d+)\|(?P<age>[^|]*)\|(?P<gender>[^|]*)\|(?P<occupation>[^|]*)\|(?P<zip_code>.*)$"
_OLD_MOVIES = r"^(?P<movie_id>\d+)\|(?P<title>[^|]*)\|(?P<release_date>[^|]*)\|[^|]*\|[^|]*\|(?P<flags>[01](?:\|[01]){18})$"
_GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
_NO_GENRES = "(no genres listed)"
_FORMS = {"ratings.csv": ("movies.csv", "items.csv"), "ratings.dat": ("movies.dat",), "u.data": ("u.item",)}  # ratings → films
_FURTHER = ("tags.csv", "tags.dat", "users.csv", "users.dat", "u.user", "genome-scores.csv")
_GENOME = "relevance of tags, computed from what all users did until the data were published: no row may read it"


class MovieLensReader:
    """Opens folders with `ratings.csv` (latest, 20m, 25m, 32m), `ratings.dat` (1m, 10m) or `u.data` (100k), gzip undone.

    Films and users become side tables. Tags become a column of dated values of the films: a row may read those given before it, so
    that nobody's tag tells of the rating that it came with. Of the files, `ratings.dat` and `u.data` are opened alone too.
    """

    class Config(ComponentConfig):
        """No options."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def accepts(self, source: Any) -> bool:
        """Return whether this is a folder with one of the files of a form, or a ratings file without a header."""
        if not isinstance(source, str | os.PathLike):
            return False
        path = Path(source)
        if path.is_dir():
            return any(_find(path, name) for name in (*_FORMS, *(film for films in _FORMS.values() for film in films[:1])))
        return path.name.removesuffix(".gz") in ("ratings.dat", "u.data") and path.is_file()

    def read(self, source: Any) -> Any:
        """Return `events`, `items` and, where they are told, `users`; of a single file the events.

        Raises:
            DataError: A file of the form is missing or damaged.
        """
        path = Path(source)
        if not path.is_dir():
            return _ratings(path)
        ratings, films = _files(path)
        tables = {"csv": _csv_form, "dat": _dat_form, "data": _old_form}[ratings.name.removesuffix(".gz").rpartition(".")[2]](path, films)
        return {"events": _ratings(ratings), **tables}


def _find(folder: Path, *names: str) -> Path | None:
    return next((path for name in names for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _files(folder: Path) -> tuple[Path, Path]:
    """Return the files of ratings and of films.

    Raises:
        DataError: One of the two is missing; what is there is named.
    """
    for name, films in _FORMS.items():
        ratings, film = _find(folder, name), _find(folder, *films)
        if ratings and film:
            return ratings, film
        if not ratings and not film:
            continue
        there = [path.name for path in (_find(folder, one) for one in (name, *films, *_FURTHER)) if path]
        lost = name if not ratings else films[0]
        told = f"half a MovieLens folder: there is {', '.join(there)} and no {lost}"
        hint = "unpack the archive again" if not ratings else f"unpack the archive again, or give the ratings alone: {ratings}"
        raise DataError(told, where=str(folder), hint=hint)
    raise DataError("no ratings of MovieLens", where=str(folder), hint=f"expected one of {', '.join(_FORMS)}")


def _ratings(path: Path) -> pa.Table:
    name = path.name.removesuffix(".gz")
    return _csv(path) if name.endswith(".csv") else plain_table(path, b"\t" if name == "u.data" else b"::", dict(_RATINGS))


def _csv(path: Path) -> pa.Table:
    check_file(path)
    return read_csv(path, Limits())


def _csv_form(folder: Path, films: Path) -> Mapping[str, pa.Table]:
    items, tags, users = _with_genres(_csv(films)), _find(folder, "tags.csv"), _find(folder, "users.csv")
    items = items if tags is None else _tagged(items, _csv(tags), tags)
    items = left_out(items, {"genome": _GENOME} if _find(folder, "genome-scores.csv") else {})
    return {"items": items, **({} if users is None else {"users": _csv(users)})}


def _dat_form(folder: Path, films: Path) -> Mapping[str, pa.Table]:
    items, tags, users = _with_genres(text_table(films, _MOVIES)), _find(folder, "tags.dat"), _find(folder, "users.dat")
    items = items if tags is None else _tagged(items, text_table(tags, _TAGS), tags)
    return {"items": items, **({} if users is None else {"users": text_table(users, _USERS)})}


def _old_form(folder: Path, films: Path) -> Mapping[str, pa.Table]:
    table, users = text_table(films, _OLD_MOVIES), _find(folder, "u.user")
    flags = np.array([row.split("|") for row in table["flags"].to_pylist()]) == "1"
    offsets = np.concatenate([[0], np.cumsum(flags.sum(axis=1))])
    genres = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(np.array(_GENRES)[np.nonzero(flags)[1]], pa.large_string()))
    items = table.select(["movie_id", "title", "release_date"]).append_column("genres", genres)
    return {"items": items, **({} if users is None else {"users": text_table(users, _OLD_USERS)})}


def _with_genres(films: pa.Table) -> pa.Table:
    if "genres" not in films.column_names:
        return films
    genres = films["genres"].cast(pa.large_string())
    none = pc.fill_null(pc.or_(pc.equal(genres, _NO_GENRES), pc.equal(genres, "")), True)
    lists = pc.split_pattern(pc.if_else(none, None, genres), "|")
    return films.set_column(films.column_names.index("genres"), "genres", lists)


def _tagged(films: pa.Table, tags: pa.Table, path: Path) -> pa.Table:
    """Return the films with their tags, each with the moment from which it is known.

    Raises:
        DataError: The tag file lacks a column, or a time of it is no whole number.
    """
    key = next((name for name in films.column_names if name in tags.column_names), "")
    lost = [name for name in ("tag", "timestamp") if name not in tags.column_names]
    if not key or lost:
        told = f"the tag file has no column {lost[0]!r}" if lost else "the tag file names no film"
        raise DataError(told, where=str(path), hint="expected userId, movieId, tag and timestamp")
    try:
        return films.append_column("tags", dated_lists(films[key], tags[key], tags["timestamp"], tags["tag"]))
    except pa.ArrowInvalid as error:
        raise DataError(f"a timestamp is not a whole number of seconds: {error}", where=str(path), hint="copy the file again") from None
