"""Products of the Amazon review data as an item table: what was true of a product before anybody rated it."""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from autorec_kernel.errors import DataError
from autorec_readers.lines import content, left_out

__all__ = ["product_table"]

_LATER = "computed from what all customers did until the data were collected: no row may read it"
_LATE = ("average_rating", "rating_number", "salesRank", "rank", "related", "also_buy", "also_view", "also_viewed", "bought_together")
_PRICE = re.compile(r"^\$?\s*(\d+(?:,\d{3})*(?:\.\d+)?)$")


def product_table(path: Path, key: str) -> pa.Table:
    """Return the columns key, title, brand, category (the main one), categories (a list) and price.

    Args:
        key: Name of the products' id in the reviews: `parent_asin` or `asin`.

    Raises:
        DataError: A line is no product, or no product has that id.
    """
    rows = [_product(line, path, place) for place, line in enumerate(io.BytesIO(content(path)), 1) if line.strip()]
    name = next((name for name in (key, "parent_asin", "asin") if any(name in row for row in rows)), "")
    if not name:
        raise DataError(f"no product has an id {key!r}", where=str(path), hint="expected the file of products of the same edition")
    columns = {
        key: pa.array([_text(row.get(name)) for row in rows], pa.string()),
        "title": pa.array([_text(row.get("title")) for row in rows], pa.string()),
        "brand": pa.array([_text(row.get("brand", row.get("store"))) for row in rows], pa.string()),
        "category": pa.array([_text(row.get("main_category", row.get("main_cat"))) for row in rows], pa.string()),
        "categories": pa.array([_flat(row.get("categories", row.get("category"))) for row in rows], pa.list_(pa.string())),
        "price": pa.array([_price(row.get("price")) for row in rows], pa.float64()),
    }
    late = {name: _LATER for name in _LATE if any(name in row for row in rows)}
    return left_out(pa.table(columns), late)


def _product(line: bytes, path: Path, place: int) -> Mapping[str, Any]:
    """Return one product; those of 2014 are written as Python literals."""
    text = line.decode("utf-8", "replace").strip()
    try:
        found = json.loads(text)
    except ValueError:
        found = _literal(text)
    if not isinstance(found, dict):
        raise DataError(f"line {place} is no product: {text[:60]!r}", where=str(path), hint="download the file again")
    return found


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _flat(value: Any) -> list[str]:
    """Return the names of a list of categories, or of a list of paths of them, each once."""
    if not isinstance(value, Iterable) or isinstance(value, str | Mapping):
        return []
    paths = [path if isinstance(path, list) else [path] for path in value]
    return list(dict.fromkeys(name.strip() for path in paths for name in path if isinstance(name, str) and name.strip()))


def _price(value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    found = _PRICE.match(value.strip()) if isinstance(value, str) else None
    return float(found.group(1).replace(",", "")) if found else None
