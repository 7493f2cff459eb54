from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

import autorec_readers.plugin as plugin
from autorec_kernel.data import inspect, open_dataset
from autorec_kernel.errors import DataError
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.dataset import Dataset
from autorec_kernel.records.table import Ragged
from autorec_readers.amazon import AmazonReader

USERS = [f"A{n}K2LMN8PQRS" for n in range(8)]
ITEMS = [f"B00{n}ABCDE7" for n in range(9)] + ["0306406152"]
RATED = list(
    {(n % 8, n * 3 // 2 % 10): (USERS[n % 8], ITEMS[n * 3 // 2 % 10], 1.0 + n % 5, 1_400_000_000 + n) for n in range(120)}.values()
)


@pytest.fixture
def kernel() -> Kernel:
    return Kernel({"readers": plugin})


def packed(path: Path, lines: list[str]) -> Path:
    text = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if path.name.endswith(".gz") else text)
    return path


def of_2014(folder: Path) -> Path:
    told = {"helpful": [0, 1], "reviewText": "Works; really.", "summary": "Fine"}
    rows = [{"reviewerID": u, "asin": i, "overall": stars, "unixReviewTime": when, **told} for u, i, stars, when in RATED]
    products = [{"asin": i, "title": f"Thing {i}", "price": 9.5, "salesRank": {"Toys": 3}, "categories": [["Toys", "Cars"]]} for i in ITEMS]
    packed(folder / "meta_Toys.json.gz", [repr(row) for row in products])
    return packed(folder / "reviews_Toys_5.json.gz", [json.dumps(row) for row in rows])


def of_2018(folder: Path) -> Path:
    told = {"vote": "3", "verified": True, "style": {"Size:": " L"}}
    rows = [{"overall": stars, **told, "reviewerID": u, "asin": i, "unixReviewTime": when} for u, i, stars, when in RATED]
    product = {"brand": "Acme", "main_cat": "Toys", "price": "$1,012.50", "also_buy": ["B000000000"], "category": ["Toys", "Cars"]}
    packed(folder / "meta_Toys.json.gz", [json.dumps({"asin": i, "title": f"Thing {i}", **product}) for i in ITEMS])
    return packed(folder / "Toys_5.json.gz", [json.dumps(row) for row in rows])


def of_2023(folder: Path) -> Path:
    told = {"title": "Fine", "text": "Works", "images": [], "asin": "B00VARIANT", "helpful_vote": 0, "verified_purchase": True}
    rows = [{"rating": stars, **told, "parent_asin": i, "user_id": u, "timestamp": 1000 * when} for u, i, stars, when in RATED]
    product = {"main_category": "Toys", "average_rating": 4.5, "rating_number": 9, "price": None, "store": "Acme", "categories": ["Cars"]}
    packed(folder / "meta_Toys.jsonl", [json.dumps({"title": f"Thing {i}", "parent_asin": i, **product}) for i in ITEMS])
    return packed(folder / "Toys.jsonl", [json.dumps(row) for row in rows])


EDITIONS = {"2014": of_2014, "2018": of_2018, "2023": of_2023}


def pairs(dataset: Dataset) -> list[tuple[str, str]]:
    user, item = (dataset.schema.role(role) for role in ("user", "item"))
    assert user is not None
    assert item is not None
    return [
        tuple(row) for part in (dataset.train, dataset.valid) for row in zip(part[user.name].text(), part[item.name].text(), strict=True)
    ]  # type: ignore[union-attr, misc]


@pytest.mark.parametrize("edition", EDITIONS)
def test_a_folder_of_every_edition_is_opened_with_its_products(edition: str, kernel: Kernel, tmp_path: Path) -> None:
    EDITIONS[edition](tmp_path)
    dataset = open_dataset(tmp_path, task="rate", kernel=kernel)
    assert dataset.train.rows + dataset.valid.rows + dataset.test.rows == len(RATED)
    assert pairs(dataset) == [(user, item) for user, item, *_ in RATED][: dataset.train.rows + dataset.valid.rows]
    times = np.asarray(dataset.train["@clock"]) // 10**9
    assert times.tolist() == [when for *_, when in RATED][: dataset.train.rows]
    assert dataset.items.rows == len(ITEMS)
    assert isinstance(dataset.items["categories"], Ragged) or edition == "2023"


@pytest.mark.parametrize("edition", EDITIONS)
def test_what_is_told_with_the_rating_or_after_it_is_shown_and_left_out(edition: str, kernel: Kernel, tmp_path: Path) -> None:
    EDITIONS[edition](tmp_path)
    shown = {column.name: column for column in inspect(tmp_path, kernel=kernel).schema.columns if "no row may read it" in column.reason}
    expected = {
        "2014": {"helpful", "reviewText", "summary", "salesRank"},
        "2018": {"vote", "verified", "style", "also_buy"},
        "2023": {"title", "text", "images", "helpful_vote", "verified_purchase", "average_rating", "rating_number"},
    }
    assert set(shown) == expected[edition]
    assert {column.role for column in shown.values()} == {"ignore"}


def test_prices_are_numbers_in_every_spelling(tmp_path: Path) -> None:
    for edition, price in (("2014", 9.5), ("2018", 1012.5), ("2023", None)):
        (tmp_path / edition).mkdir()
        EDITIONS[edition](tmp_path / edition)
        assert AmazonReader().read(tmp_path / edition)["items"]["price"].to_pylist() == [price] * len(ITEMS)


@pytest.mark.parametrize("edition", EDITIONS)
def test_a_review_file_is_opened_alone(edition: str, kernel: Kernel, tmp_path: Path) -> None:
    dataset = open_dataset(EDITIONS[edition](tmp_path), kernel=kernel)
    assert dataset.train.rows + dataset.valid.rows + dataset.test.rows == len(RATED)
    assert not dataset.items.rows


@pytest.mark.parametrize("user_first", [True, False])
@pytest.mark.parametrize("name", ["ratings_Toys.csv", "Toys.csv.gz"])
def test_ratings_without_a_header_know_users_from_products(user_first: bool, name: str, kernel: Kernel, tmp_path: Path) -> None:
    rows = [f"{user if user_first else item},{item if user_first else user},{stars},{when}" for user, item, stars, when in RATED]
    dataset = open_dataset(packed(tmp_path / name, rows), kernel=kernel, task="rate")
    assert pairs(dataset) == [(user, item) for user, item, *_ in RATED][: dataset.train.rows + dataset.valid.rows]


def test_tables_with_a_header_are_left_to_the_kernel(kernel: Kernel, tmp_path: Path) -> None:
    path = packed(tmp_path / "Toys.csv", ["user_id,parent_asin,rating,timestamp", *(f"{u},{i},{s},{1000 * t}" for u, i, s, t in RATED)])
    assert not AmazonReader().accepts(path)
    assert not AmazonReader().accepts(packed(tmp_path / "other.csv", ["a,b", "1,2"]))
    assert not AmazonReader().accepts(packed(tmp_path / "other.json", ['{"a": 1}']))
    dataset = open_dataset(path, kernel=kernel)
    packed(tmp_path / "meta_Toys.jsonl", [json.dumps({"parent_asin": i, "title": f"Thing {i}", "store": "Acme"}) for i in ITEMS])
    (tmp_path / "other.csv").unlink()
    (tmp_path / "other.json").unlink()
    together = open_dataset(tmp_path, kernel=kernel)
    assert together.train.rows == dataset.train.rows
    assert together.items.rows == len(ITEMS)


def test_products_without_reviews_are_half_a_folder(kernel: Kernel, tmp_path: Path) -> None:
    of_2018(tmp_path).unlink()
    with pytest.raises(DataError, match=r"half an Amazon folder: there is meta_Toys\.json\.gz and no file of reviews"):
        open_dataset(tmp_path, kernel=kernel)


def test_several_review_files_in_a_folder_are_named(kernel: Kernel, tmp_path: Path) -> None:
    of_2018(tmp_path)
    of_2014(tmp_path)
    with pytest.raises(DataError, match=r"several files of one sort: Toys_5\.json\.gz, reviews_Toys_5\.json\.gz") as caught:
        open_dataset(tmp_path, kernel=kernel)
    assert "name the file" in str(caught.value.hint)


@pytest.mark.parametrize(("file", "line"), [("Toys_5.json.gz", "{broken"), ("meta_Toys.json.gz", "{broken"), ("meta_Toys.json.gz", "[1]")])
def test_a_damaged_line_is_an_error(file: str, line: str, kernel: Kernel, tmp_path: Path) -> None:
    of_2018(tmp_path)
    kept = gzip.decompress((tmp_path / file).read_bytes()).decode().splitlines()
    packed(tmp_path / file, [*kept, line])
    with pytest.raises(DataError, match="no product" if file.startswith("meta") else "not a review in JSON") as caught:
        open_dataset(tmp_path, kernel=kernel)
    assert str(caught.value.where).endswith(file)


def test_products_of_another_edition_are_an_error(kernel: Kernel, tmp_path: Path) -> None:
    of_2018(tmp_path)
    (tmp_path / "meta_Toys.json.gz").unlink()
    packed(tmp_path / "meta_Toys.json", [json.dumps({"asin": f"B99{n}ZZZZZ1", "title": f"Thing {n}"}) for n in range(5)])
    with pytest.raises(DataError, match="no id of column 'asin' occurs in the events"):
        open_dataset(tmp_path, kernel=kernel)
