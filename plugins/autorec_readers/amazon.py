"""Amazon review files as their collectors ship them (McAuley lab, UCSD; editions of 2014, 2018 and 2023): JSON lines or ratings alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as arrow_json

from autorec_kernel.config import ComponentConfig
from autorec_kernel.data import Limits
from autorec_kernel.data.csvfile import read_csv
from autorec_kernel.data.stream import head, open_bytes
from autorec_kernel.errors import DataError
from autorec_readers.lines import left_out, plain_table
from autorec_readers.products import product_table

__all__ = ["AmazonReader"]

_JSON = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
_ASIN = re.compile(r"^(B[0-9A-Z]{9}|\d{9}[\dX])$")
_ROW = re.compile(r"^(?P<first>[0-9A-Z]{8,32}),(?P<second>[0-9A-Z]{8,32}),[0-5](\.\d+)?,\d{9,13}$")
_HEADER = re.compile(rb"^(user_id|reviewerID),(parent_asin|asin),(rating|overall),(timestamp|unixReviewTime)\b")
_STRING, _NUMBER, _WHOLE = pa.string(), pa.float64(), pa.int64()
_FORMS: tuple[dict[str, pa.DataType], ...] = (
    {"reviewerID": _STRING, "asin": _STRING, "overall": _NUMBER, "unixReviewTime": _WHOLE},
    {"user_id": _STRING, "parent_asin": _STRING, "rating": _NUMBER, "timestamp": _WHOLE},
)
_WITH = "written with the rating, or later: no row may read it"
_TOLD = (
    *("reviewText", "summary", "helpful", "vote", "verified", "image", "style"),
    *("title", "text", "images", "helpful_vote", "verified_purchase"),
)
_BLOCK = 1 << 24
_AGAIN = "download the file again"


class AmazonReader:
    """Opens a review file, or a folder with one and the file of products beside it (`meta_*.json.gz`, `meta_*.jsonl`).

    Of a review, user, product, rating and time are read; what is written with the rating is shown and left out. Files of ratings alone
    have no header: user and product, whose ids look different, may stand in either order.
    """

    class Config(ComponentConfig):
        """No options."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def accepts(self, source: Any) -> bool:
        """Return whether the first line of the file, or of one in the folder, is a review or a product."""
        if not isinstance(source, str | os.PathLike):
            return False
        path = Path(source)
        if path.is_dir():
            return any(_is_review(one) or _is_product(one) for one in _files(path))
        return path.is_file() and (_is_review(path) and not _has_header(path))

    def read(self, source: Any) -> Any:
        """Return `events` and `items` of a folder; of a single file the events.

        Raises:
            DataError: The folder has no review file, or several; or a file is damaged.
        """
        path = Path(source)
        if not path.is_dir():
            return _reviews(path)
        reviews, products = ([one for one in _files(path) if kind(one)] for kind in (_is_review, _is_product))
        if len(reviews) != 1 or len(products) > 1:
            raise _unclear(path, reviews, products)
        events = _reviews(reviews[0])
        return {"events": events, **({"items": product_table(products[0], events.column_names[1])} if products else {})}


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name.endswith((*_JSON, ".csv", ".csv.gz")):
            yield path


def _unclear(folder: Path, reviews: list[Path], products: list[Path]) -> DataError:
    if not reviews:
        told = f"half an Amazon folder: there is {products[0].name} and no file of reviews"
        return DataError(told, where=str(folder), hint="put the reviews (JSON lines) or the ratings (CSV) beside it")
    several = reviews if len(reviews) > 1 else products
    told = f"several files of one sort: {', '.join(path.name for path in several[:4])}"
    return DataError(told, where=str(folder), hint=f"keep one in the folder, or name the file: {several[0]}")


def _first_lines(path: Path) -> bytes:
    try:
        return head(path, 1 << 16)
    except (DataError, OSError):
        return b""


def _is_review(path: Path) -> bool:
    lines = _first_lines(path)
    return _form(lines) is not None if path.name.endswith(_JSON) else bool(_order(lines)) or bool(_HEADER.match(lines))


def _is_product(path: Path) -> bool:
    first = _first_lines(path).partition(b"\n")[0]
    named = re.search(rb"['\"](asin|parent_asin)['\"]\s*:", first) is not None
    return path.name.endswith(_JSON) and first.startswith(b"{") and named and _form(first) is None


def _has_header(path: Path) -> bool:
    return not path.name.endswith(_JSON) and _HEADER.match(_first_lines(path)) is not None


def _form(lines: bytes) -> dict[str, pa.DataType] | None:
    """Return the columns of a review in JSON, None when the first line is none."""
    first = lines.partition(b"\n")[0]
    return next((form for form in _FORMS if first.startswith(b"{") and all(f'"{name}"'.encode() in first for name in form)), None)


def _order(lines: bytes) -> tuple[str, ...]:
    """Return the columns of ratings without a header, () when these are none: products have ten characters, users hardly ever."""
    rows = [_ROW.match(line) for line in lines.decode("utf-8", "replace").splitlines()[:50][:-1] or [""]]
    if not all(rows):
        return ()
    sides = [sum(_ASIN.match(row[side]) is not None for row in rows if row) for side in ("first", "second")]
    ids = ("user_id", "asin") if sides[1] > sides[0] else ("asin", "user_id")
    return (*ids, "rating", "timestamp") if max(sides) == len(rows) else ()


def _reviews(path: Path) -> pa.Table:
    lines = _first_lines(path)
    if not path.name.endswith(_JSON):
        names = _order(lines)
        types = {"rating": _NUMBER, "timestamp": _WHOLE}
        table = plain_table(path, b",", {name: types.get(name) for name in names}) if names else read_csv(path, Limits())
        return table.select(["user_id", "asin", "rating", "timestamp"]) if names else table
    form = _form(lines)
    if form is None:
        raise DataError("the first line is no review", where=str(path), hint="expected reviewerID, asin, overall and unixReviewTime")
    first = lines.partition(b"\n")[0].decode("utf-8", "replace")
    return left_out(_json(path, form), {name: _WITH for name in _TOLD if f'"{name}":' in first})


def _json(path: Path, form: Mapping[str, pa.DataType]) -> pa.Table:
    try:
        with open_bytes(path) as stream:
            return arrow_json.read_json(
                stream,
                read_options=arrow_json.ReadOptions(use_threads=False, block_size=_BLOCK),
                parse_options=arrow_json.ParseOptions(explicit_schema=pa.schema(list(form.items())), unexpected_field_behavior="ignore"),
            )
    except (pa.ArrowInvalid, EOFError, OSError) as error:
        told = f"a line is not a review in JSON: {str(error).splitlines()[0][:200]}"
        raise DataError(told, where=str(path), hint=_AGAIN) from None
