"""The corpus of bad and odd tables: every case writes its files into a folder and says what must happen to them.

`python tests/corpus/build.py FOLDER` writes all of them, for a look by hand.
"""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["BAD", "GOOD", "Bad", "Good"]

Write = Callable[[Path], Path | str]


@dataclass(frozen=True)
class Bad:
    """A table that must be refused with an exit code and a phrase (compared in lower case)."""

    name: str
    write: Write
    phrase: str
    code: int = 3
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Good:
    """An odd table that must be read: rows taking part, and texts that must be among the ids of a role."""

    name: str
    write: Write
    rows: int
    users: frozenset[str] = frozenset()
    items: frozenset[str] = frozenset()
    distinct_users: int | None = None
    split: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def text(body: str | bytes, name: str = "data.csv") -> Write:
    """Write these characters or bytes."""

    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(body if isinstance(body, bytes) else body.encode("utf-8"))
        return path

    return write


def zipped(body: str | bytes, cut: int | None = None) -> Write:
    """Write gzip, cut after some bytes."""

    def write(folder: Path) -> Path:
        path = folder / "data.csv.gz"
        whole = gzip.compress(body if isinstance(body, bytes) else body.encode("utf-8"), mtime=0)
        path.write_bytes(whole[:cut])
        return path

    return write


def parquet(columns: Mapping[str, Any], cut: int | None = None) -> Write:
    """Write Parquet, cut after some bytes."""

    def write(folder: Path) -> Path:
        path = folder / "data.parquet"
        pq.write_table(pa.table(dict(columns)), path)
        if cut is not None:
            path.write_bytes(path.read_bytes()[:cut])
        return path

    return write


def rows(header: str, line: Callable[[int], str], count: int = 60, end: str = "\n") -> str:
    """Return a header and `count` lines."""
    return end.join([header, *(line(number) for number in range(count))]) + end


def user(number: int) -> int:
    """Return 6 users in turn."""
    return number % 6


def item(number: int) -> int:
    """Return one of 10 items: the first 60 rows are 60 different pairs."""
    return (number // 6) % 10


def plain(number: int) -> str:
    """Return `user,item,rating,time` of a row."""
    return f"u{user(number)},i{item(number)},{1 + number % 5},{1_000_000_000 + number * 3600}"


HEADER = "user_id,item_id,rating,timestamp"
TABLE = rows(HEADER, plain)


def _folder(folder: Path) -> Path:
    return folder


def _pipe(folder: Path) -> Path:
    path = folder / "pipe.csv"
    os.mkfifo(path)
    return path


def _absent(folder: Path) -> Path:
    (folder / "ratings.csv").write_text(TABLE)
    return folder / "ratingz.csv"


def _column(name: str, values: Callable[[int], str], count: int = 60) -> Write:
    return text(rows(f"user_id,item_id,{name}", lambda n: f"{user(n)},{item(n)},{values(n)}", count))


BAD: tuple[Bad, ...] = (
    Bad("absent-file", _absent, "did you mean"),
    Bad("folder", _folder, "this is a folder"),
    Bad("fifo", _pipe, "not a regular file"),
    Bad("empty-file", text(""), "the file is empty"),
    Bad("blank-lines-only", text("\n\n\n"), "the file is empty"),
    Bad("header-only", text(HEADER + "\n"), "no rows"),
    Bad("too-few-rows", text(rows(HEADER, plain, 4)), "too few rows: 4"),
    Bad("one-user", text(rows("user_id,item_id", lambda n: f"7,{n}")), "only one user"),
    Bad("one-item", text(rows("user_id,item_id", lambda n: f"{n},7")), "only one item"),
    Bad("no-item-column", text(rows("user_id,rating,price", lambda n: f"{user(n)},3,{n}")), "needs an item column"),
    Bad("no-user-column", text(rows("item_id,rating,price", lambda n: f"{item(n)},3,{n}")), "needs a user column"),
    Bad("misspelt-user", text(rows("usr_idd,item_id,price", lambda n: f"{user(n)},{item(n)},3")), "did you mean 'usr_idd'"),
    Bad("duplicate-column", text(rows("user_id,item_id,user_id", lambda n: f"{user(n)},{item(n)},1")), "duplicate column name 'user_id'"),
    Bad("duplicate-after-strip", text(rows("user_id,item_id, item_id", lambda n: f"{user(n)},{item(n)},1")), "duplicate column name"),
    Bad("no-header", text("\n".join(f"{user(n)},{item(n)},3,{10**9 + n}" for n in range(60))), "looks like data"),
    Bad("double-colons", text("\n".join(f"{user(n)}::{item(n)}::3::9" for n in range(60))), "'::'"),
    Bad("all-users-missing", text(rows("user_id,item_id,price", lambda n: f",{item(n)},1")), "too few rows: 0"),
    Bad("blank-users", text(rows("user_id,item_id", lambda n: f"  ,{item(n)}")), "too few rows: 0"),
    Bad("ragged-long", text(TABLE + "u1,i1,3,1000000000,9\n"), "line 62 has 5 fields, the header has 4"),
    Bad("ragged-short", text(rows(HEADER, lambda n: "u1,i1" if n == 9 else plain(n))), "line 11 has 2 fields"),
    Bad("open-quote", text(TABLE + 'u1,"i1,3,1000000000\n' + "u1,i1,3,4\n" * 5), "a quoted field that begins on line 62 never ends"),
    Bad("open-quote-early", text(rows(HEADER, lambda n: '"u1,i1,3,4' if n == 0 else plain(n))), "never ends"),
    Bad("open-quote-with-pairs", text(rows(HEADER, lambda n: 'u1,"i,3,4' if n == 1 else 'u1,"i",3,4')), "text follows the closing quote"),
    Bad("latin-1", text(rows("user_id,item_id", lambda n: f"{user(n)},caf\u00e9{item(n)}").encode("latin-1")), "not valid utf-8 at line 2"),
    Bad("broken-byte-late", text(TABLE.encode() + b"u1,\xff\xfe,3,1\n"), "line 62, byte"),
    Bad("utf-16", text(TABLE.encode("utf-16")), "utf-16"),
    Bad("utf-16-without-mark", text(TABLE.encode("utf-16-le")), "nul byte at line 1"),
    Bad("nul-byte", text(TABLE.replace("u3,i4", "u3,i\x004", 1)), "nul byte at line"),
    Bad("zip-archive", text(b"PK\x03\x04" + b"\0" * 64), "zip archive or an excel workbook"),
    Bad("bzip2", text(b"BZh9" + b"\0" * 64), "bzip2"),
    Bad("sqlite", text(b"SQLite format 3\0" + b"\0" * 64), "sqlite"),
    Bad("truncated-gzip", zipped(TABLE, cut=80), "gzip file is truncated"),
    Bad("gzip-header-only", zipped(TABLE, cut=10), "gzip file is truncated"),
    Bad("damaged-gzip", text(gzip.compress(TABLE.encode(), mtime=0)[:40] + b"\x55" * 200), "gzip file is damaged"),
    Bad("truncated-parquet", parquet({"user_id": [1, 2] * 30, "item_id": list(range(60))}, cut=300), "parquet file is truncated"),
    Bad("parquet-in-name-only", text(TABLE, "data.parquet"), "parquet file is truncated or damaged"),
    Bad("parquet-without-rows", parquet({"user_id": pa.array([], pa.string()), "item_id": pa.array([], pa.string())}), "no rows"),
    Bad("five-thousand-columns", text(rows(",".join(f"c{n}" for n in range(5000)), lambda n: ",".join(["1"] * 5000), 2)), "5,000 columns"),
    Bad("address", lambda folder: "https://example.org/ratings.csv", "addresses are not opened"),
    Bad("gzip-bomb", zipped(b"user_id,item_id\n" + b"1,2\n" * 4_000_000), "larger than", options={"table_bytes": 1 << 20}),
    Bad("giant-row", text("user_id,item_id\n1," + "x" * 3_000_000 + "\n"), "line", options={"row_bytes": 1 << 20}),
    Bad(
        "split-without-test", _column("set", lambda n: "train" if n < 50 else "valid"), "no test rows", options={"roles": {"set": "split"}}
    ),
    Bad("split-of-letters", _column("set", lambda n: "ab"[n % 2]), "split column 'set' holds", options={"roles": {"set": "split"}}),
    Bad("comment-lines", text("# made by a tool\n# on a day, at noon\n" + TABLE), "begins with 2 comment lines"),
    Bad("one-comment-line", text("# made by a tool\n" + TABLE), "grep -v '^#' data.csv"),
    Bad("only-comment-lines", text("# one\n# two\n"), "begins with 2 comment lines"),
    Bad("separator-line-only", text("sep=;\n"), "no header line"),
    Bad("separator-line-and-a-long-row", text("sep=;\n" + TABLE.replace(",", ";") + "u1;i2;3;1;9\n"), "line 63 has 5 fields"),
    Bad("equal-times", _column("timestamp", lambda n: "1000000000"), "at least 3 different times", options={"protocol": "temporal"}),
    Bad("temporal-without-time", _column("price", str), "needs a time column", options={"protocol": "temporal"}),
    Bad("short-histories", text(rows("user_id,item_id", lambda n: f"{n // 2},{n}")), "leaves no valid rows"),
    Bad("rate-without-label", _column("price", str), "needs a label column", options={"task": "rate"}),
    Bad("click-without-label", _column("price", str), "needs a label column", options={"task": "click"}),
    Bad(
        "text-ratings",
        _column("rating", lambda n: "good" if n == 7 else "4"),
        "data row 8: 'good' is not a number",
        options={"task": "rate"},
    ),
    Bad("decimal-comma", _column("rating", lambda n: f'"{n % 5},5"'), "data row 1: '0,5' is not a number", options={"task": "rate"}),
    Bad("constant-ratings", _column("rating", lambda n: "4"), "constant (4)", options={"task": "rate"}),
    Bad("empty-label", _column("rating", lambda n: ""), "is empty", options={"task": "rate"}),
    Bad(
        "infinite-rating",
        _column("rating", lambda n: "inf" if n == 3 else str(n % 5)),
        "data row 4: inf is out of range",
        options={"task": "rate"},
    ),
    Bad("huge-rating", _column("rating", lambda n: "1e308" if n == 3 else str(n % 5)), "out of range", options={"task": "rate"}),
    Bad("single-class", _column("click", lambda n: "1"), "single class", options={"task": "click"}),
    Bad("all-zero-clicks", _column("click", lambda n: "0"), "single class", options={"task": "click"}),
    Bad("ratings-as-clicks", _column("rating", lambda n: str(n % 5)), "5 values from 0 to 4", options={"task": "click"}),
    Bad("words-as-clicks", _column("click", lambda n: ("yes", "no", "maybe")[n % 3]), "neither 0 nor 1", options={"task": "click"}),
    Bad("threshold-on-rate", text(TABLE), "no positive threshold", 2, {"task": "rate", "positive_threshold": 3.0}),
    Bad("threshold-too-high", text(TABLE), "label below the positive threshold", options={"positive_threshold": 9.0}),
    Bad("unknown-role-column", text(TABLE), "did you mean 'item_id'", 2, {"roles": {"item_i": "item"}}),
    Bad("unknown-role", text(TABLE), "did you mean 'user'", 2, {"roles": {"user_id": "usr"}}),
    Bad("unknown-kind", text(TABLE), "did you mean 'numeric'", 2, {"kinds": {"rating": "numerical"}}),
    Bad("two-users", text(TABLE), "two columns have the role 'user'", 2, {"roles": {"user_id": "user", "item_id": "user"}}),
    Bad("unknown-protocol", text(TABLE), "did you mean 'temporal'", 2, {"protocol": "temporl"}),
    Bad("unknown-task", text(TABLE), "no task is called", 2, {"task": "rank"}),
    Bad("times-that-are-none", _column("when", lambda n: "soon"), "holds no times", options={"roles": {"when": "time"}}),
    Bad(
        "time-half-broken",
        _column("t", lambda n: "2020-01-02" if n % 2 else "soon"),
        "30 rows hold no time",
        options={"roles": {"t": "time"}},
    ),
    Bad("numbers-that-are-none", _column("size", lambda n: "big"), "'big' is not a number", options={"kinds": {"size": "numeric"}}),
)


def _wide(folder: Path) -> Path:
    frame = pd.DataFrame({"user_id": [user(n) for n in range(60)], "item_id": [item(n) for n in range(60)]})
    more = pd.DataFrame(np.arange(60 * 500).reshape(60, 500) % 7, columns=[f"c{n}" for n in range(500)])
    path = folder / "wide.csv"
    pd.concat([frame, more], axis=1).to_csv(path, index=False)
    return path


def _disguised(folder: Path) -> Path:
    path = folder / "data.csv"
    path.write_bytes(gzip.compress(TABLE.encode(), mtime=0))
    return path


_KEYS = {"user_id": [f"{user(n)}" for n in range(60)], "item_id": [item(n) for n in range(60)]}
_EMOJI = ("\U0001f600", "\u05d0\u05d1", "e\u0301", "\u00e9", "a\u200bb", "ab")

GOOD: tuple[Good, ...] = (
    Good("plain", text(TABLE), 60, frozenset({"u0", "u5"}), frozenset({"i9"}), split="temporal"),
    Good(
        "leading-zeros",
        text(rows("user_id,item_id", lambda n: f"{'0' * user(n)}7,00{item(n)}")),
        60,
        frozenset({"7", "07", "007"}),
        frozenset({"009"}),
        6,
    ),
    Good(
        "ids-above-2-53",
        text(rows("user_id,item_id", lambda n: f"{2**53 + user(n)},{-(2**70) - item(n)}")),
        60,
        frozenset({str(2**53 + 1)}),
        distinct_users=6,
    ),
    Good(
        "ids-that-look-missing",
        text(rows("user_id,item_id", lambda n: f"{('NA', 'null', 'None', 'nan', '-', '?')[user(n)]},{item(n)}")),
        60,
        frozenset({"NA", "null", "nan"}),
        distinct_users=6,
    ),
    Good(
        "ids-that-look-like-numbers",
        text(rows("user_id,item_id", lambda n: f"{('1e5', '100000', '1.0', '1', 'True', '+1')[user(n)]},{item(n)}")),
        60,
        frozenset({"1e5", "100000", "1.0", "1"}),
        distinct_users=6,
    ),
    Good(
        "missing-users-are-dropped",
        text(rows("user_id,item_id", lambda n: f"{'' if n % 10 == 0 else user(n)},{item(n)}")),
        54,
        distinct_users=6,
    ),
    Good("byte-order-mark", text(b"\xef\xbb\xbf" + TABLE.encode()), 60, frozenset({"u0"})),
    Good("windows-line-ends", text(rows(HEADER, plain, end="\r\n")), 60, frozenset({"u0"})),
    Good("no-final-line-end", text(TABLE.rstrip("\n")), 60),
    Good("blank-lines-between", text(TABLE.replace("\n", "\n\n")), 60),
    Good("semicolons", text(TABLE.replace(",", ";")), 60, frozenset({"u0"})),
    Good("tabs", text(TABLE.replace(",", "\t"), "data.tsv"), 60, frozenset({"u0"})),
    Good("pipes", text(TABLE.replace(",", "|")), 60, frozenset({"u0"})),
    Good("gzip-without-the-ending", _disguised, 60),
    Good("camel-case-names", text(TABLE.replace(HEADER, "userId,movieId,Rating,Time Stamp")), 60, split="temporal"),
    Good("upper-case-names", text(TABLE.replace(HEADER, "USER_ID,ITEM_ID,RATING,TIMESTAMP")), 60, split="temporal"),
    Good("blanks-around-names", text(TABLE.replace(HEADER, " user_id , item_id, rating ,timestamp")), 60, split="temporal"),
    Good("pandas-index-column", text(rows("," + HEADER, lambda n: f"{n},{plain(n)}")), 60, split="temporal"),
    Good(
        "quoted-commas-and-line-ends",
        text(rows("user_id,item_id", lambda n: f'"u,{user(n)}","two\nlines {item(n)}"')),
        60,
        frozenset({"u,1"}),
        frozenset({"two\nlines 3"}),
    ),
    Good("escaped-quotes", text(rows("user_id,item_id", lambda n: f'"say ""{user(n)}""",{item(n)}')), 60, frozenset({'say "1"'})),
    Good("quotes-inside", text(rows("user_id,item_id", lambda n: f'{user(n)},5" disk {item(n)}')), 60, items=frozenset({'5" disk 3'})),
    Good("unicode-ids", text(rows("user_id,item_id", lambda n: f"{_EMOJI[user(n)]},{item(n)}")), 60, frozenset(_EMOJI), distinct_users=6),
    Good(
        "formula-and-html-ids",
        text(rows("user_id,item_id", lambda n: f"=1+{user(n)},<b>{item(n)}</b>")),
        60,
        frozenset({"=1+1"}),
        frozenset({"<b>3</b>"}),
    ),
    Good("two-unnamed-roles", text(rows("a,b", lambda n: f"{user(n)},{item(n)}")), 60, split="random"),
    Good(
        "half-megabyte-id",
        text(rows("user_id,item_id", lambda n: f"{user(n)},{'x' * 500_000 if item(n) == 0 else item(n)}")),
        60,
        items=frozenset({"x" * 500_000}),
    ),
    Good("five-hundred-columns", _wide, 60),
    Good("excel-separator-line", text("sep=;\r\n" + TABLE.replace(",", ";").replace("\n", "\r\n")), 60, split="temporal"),
    Good("excel-separator-line-with-mark", text(b"\xef\xbb\xbfsep=|\n" + TABLE.replace(",", "|").encode()), 60, split="temporal"),
    Good("excel-separator-tab", text('"sep=\t"\n' + TABLE.replace(",", "\t")), 60, split="temporal"),
    Good("header-behind-a-hash", text("#" + TABLE), 60, split="temporal", options={"roles": {"#user_id": "user"}}),
    Good("excel-times", _column("timestamp", lambda n: f"11/{1 + n % 28}/2023 {1 + n % 12}:13 PM"), 60, split="temporal"),
    Good("excel-short-dates", _column("date", lambda n: f"{1 + n % 28}-Nov-23"), 60, split="temporal"),
    Good("times-in-words", _column("timestamp", lambda n: f"day {n}"), 60, split="random"),
    Good("equal-times-unasked", _column("timestamp", lambda n: "1000000000"), 60, split="random"),
    Good("milliseconds", _column("ts", lambda n: str(1_500_000_000_000 + n * 60_000)), 60, split="temporal"),
    Good("iso-with-zones", _column("date", lambda n: f"2020-01-{1 + n % 28:02d}T10:00:00+02:00"), 60, split="temporal"),
    Good("dates-with-month-names", _column("date", lambda n: f"{1 + n % 28:02d}-Mar-1995"), 60, split="temporal"),
    Good("negative-times", _column("timestamp", lambda n: str(-1_000_000 + n)), 60, split="temporal"),
    Good("future-times", _column("timestamp", lambda n: str(9_000_000_000 + n)), 60, split="temporal"),
    Good("a-few-times-missing", _column("timestamp", lambda n: "" if n == 5 else str(10**9 + n), 200), 200, split="temporal"),
    Good("half-the-times-missing", _column("timestamp", lambda n: "" if n % 2 else str(10**9 + n)), 60, split="random"),
    Good("positions", _column("position", lambda n: str(n // 6)), 60, split="leave-one-out"),
    Good("positions-as-floats", _column("position", lambda n: f"{n // 6}.0"), 60, split="leave-one-out"),
    Good("given-split", _column("split", lambda n: ("train", "train", "train", "test")[n % 4]), 60, split="given"),
    Good("given-split-in-other-words", _column("part", lambda n: ("Training", "dev", "Holdout")[n % 3]), 60, split="given"),
    Good("flags-are-no-split", _column("ua_test", lambda n: str(n % 2)), 60, split="random"),
    Good("repeated-pairs", text(rows("user_id,item_id", lambda n: f"{user(n % 60)},{item(n % 60)}", 70)), 60),
    Good("sessions", text(rows("session_id,item_id,position", lambda n: f"{n // 5},{n % 7},{n % 5}")), 60, split="leave-one-out"),
    Good("labels-that-are-words", _column("clicked", lambda n: ("yes", "No")[n % 3 == 0]), 60, options={"task": "click"}),
    Good("label-one-and-two", _column("label", lambda n: str(1 + (n % 3 == 0))), 60, options={"task": "click"}),
    Good("clicks-without-ids", text(rows("label,a,b", lambda n: f"{int(n % 3 == 0)},{n % 7},x{n % 4}")), 60, options={"task": "click"}),
    Good("threshold", text(TABLE), 24, options={"positive_threshold": 4.0}),
    Good("missing-labels-are-dropped", _column("rating", lambda n: "NA" if n % 10 == 0 else str(n % 5)), 54, options={"task": "rate"}),
    Good("parquet-of-integers", parquet(_KEYS), 60, frozenset({"0"}), frozenset({"9"})),
    Good(
        "parquet-of-unsigned",
        parquet({**_KEYS, "user_id": pa.array([2**64 - 1 - user(n) for n in range(60)], pa.uint64())}),
        60,
        frozenset({str(2**64 - 1)}),
    ),
    Good(
        "parquet-of-gappy-floats",
        parquet({**_KEYS, "user_id": [None if n == 0 else float(user(n)) for n in range(60)]}),
        59,
        frozenset({"0", "5"}),
    ),
    Good("parquet-of-categories", parquet({**_KEYS, "user_id": pa.array(_KEYS["user_id"]).dictionary_encode()}), 60, frozenset({"0"})),
    Good(
        "parquet-of-lists",
        parquet({**_KEYS, "tags": [["a", "b"][: n % 3] for n in range(60)], "vec": [[0.5, float(n)] for n in range(60)]}),
        60,
    ),
    Good("parquet-of-structs", parquet({**_KEYS, "extra": [{"a": n} for n in range(60)]}), 60),
    Good("constant-and-empty-columns", text(rows("user_id,item_id,same,none", lambda n: f"{user(n)},{item(n)},x,")), 60),
    Good("extreme-numbers", _column("price", lambda n: ("1e308", "-inf", "nan", "0")[n % 4]), 60),
)


def main(folder: Path) -> None:
    """Write every case into its own folder."""
    for case in (*BAD, *GOOD):
        (folder / case.name).mkdir(parents=True)
        case.write(folder / case.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
