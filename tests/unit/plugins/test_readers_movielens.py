from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

import autorec_readers.plugin as plugin
from autorec_kernel.data import inspect, open_dataset
from autorec_kernel.errors import DataError
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.dataset import Dataset
from autorec_kernel.records.table import Coded, Ragged
from autorec_readers.movielens import MovieLensReader

RATED = [(1 + n % 8, 1 + (n * 3 // 2) % 10, 1 + n % 5, 978300000 + 60 * n) for n in range(120)]
RATED = list({(user, film): (user, film, stars, when) for user, film, stars, when in RATED}.values())
FLAGS = "|".join("1" if place in (1, 5) else "0" for place in range(19))


@pytest.fixture
def kernel() -> Kernel:
    return Kernel({"readers": plugin})


def lines(separator: str) -> str:
    return "".join(separator.join(map(str, row)) + "\n" for row in RATED)


def small(folder: Path) -> None:
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + lines(","))
    films = "".join(
        f'{n},"Film{"," * (n == 1)} The {n} (1999)",{"(no genres listed)" if n == 4 else "Action|Comedy"}\n' for n in range(1, 11)
    )
    (folder / "movies.csv").write_text("movieId,title,genres\n" + films)
    (folder / "tags.csv").write_text('userId,movieId,tag,timestamp\n3,2,"slow, and dull",978300500\n1,2,funny,978300100\n2,77,lost,1\n')
    (folder / "links.csv").write_text("movieId,imdbId,tmdbId\n1,0114709,862\n")


def million(folder: Path) -> None:
    (folder / "ratings.dat").write_text(lines("::"))
    films = "".join(f"{n}::Café: Part {n} (1995)::Drama|Children's\n" for n in range(1, 11))
    (folder / "movies.dat").write_bytes(films.encode("latin-1"))
    (folder / "users.dat").write_text("".join(f"{n}::{'FM'[n % 2]}::{(18, 25, 56)[n % 3]}::{n}::0217{n}\n" for n in range(1, 9)))


def ten_million(folder: Path) -> None:
    (folder / "ratings.dat").write_text("".join(f"{user}::{film}::{stars - 0.5}::{when}\n" for user, film, stars, when in RATED))
    (folder / "movies.dat").write_text("".join(f"{n}::Amélie {n} (2001)::Drama\n" for n in range(1, 11)))
    (folder / "tags.dat").write_text("1::2::dark :: hero::978300900\n5::2::Excellent!::978300100\n")


def hundred_thousand(folder: Path) -> None:
    (folder / "u.data").write_text(lines("\t"))
    films = "".join(f"{n}|Misérables {n} (1995)|01-Jan-1995||http://x/{n}|{FLAGS}\n" for n in range(1, 11))
    (folder / "u.item").write_bytes(films.encode("latin-1"))
    (folder / "u.user").write_text("".join(f"{n}|{20 + n}|{'FM'[n % 2]}|{('writer', 'student')[n % 2]}|8571{n}\n" for n in range(1, 9)))


FORMS = {"ml-latest-small": small, "ml-1m": million, "ml-10m": ten_million, "ml-100k": hundred_thousand}


def lists(dataset: Dataset, name: str) -> list[list[str]]:
    column = dataset.items[name]
    assert isinstance(column, Ragged)
    assert isinstance(column.values, Coded)
    texts = [str(column.values.values[code]) for code in column.values.codes]
    return [texts[start:end] for start, end in zip(column.offsets[:-1], column.offsets[1:], strict=True)]


def titles(dataset: Dataset) -> list[str]:
    column = dataset.items["title"]
    assert isinstance(column, Coded)
    return [str(column.values[code]) for code in column.codes]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", FORMS)
def test_a_folder_is_opened_with_every_rating_as_it_was_written(name: str, zipped: bool, kernel: Kernel, tmp_path: Path) -> None:
    FORMS[name](tmp_path)
    for path in list(tmp_path.iterdir()) if zipped else []:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    dataset = open_dataset(tmp_path, task="rate", kernel=kernel)
    roles = {column.role: column.name for column in dataset.schema.columns if column.source == "events"}
    parts = (dataset.train, dataset.valid)
    rows = [(u, i) for part in parts for u, i in zip(*(part[roles[role]].text() for role in ("user", "item")), strict=True)]  # type: ignore[union-attr]
    assert rows == [(str(user), str(film)) for user, film, *_ in RATED][: len(rows)]
    assert dataset.train.rows + dataset.valid.rows + dataset.test.rows == len(RATED)
    assert dataset.protocol.split == "temporal"
    assert all(column.reason for column in dataset.schema.columns)


def test_latin_and_unicode_titles_are_read_as_they_were_meant(kernel: Kernel, tmp_path: Path) -> None:
    for name, make in FORMS.items():
        (tmp_path / name).mkdir()
        make(tmp_path / name)
    first = {name: titles(open_dataset(tmp_path / name, kernel=kernel))[0] for name in FORMS}
    assert first == {
        "ml-latest-small": "Film, The 1 (1999)",
        "ml-1m": "Café: Part 1 (1995)",
        "ml-10m": "Amélie 1 (2001)",
        "ml-100k": "Misérables 1 (1995)",
    }


def test_genres_are_lists_and_no_genres_none(kernel: Kernel, tmp_path: Path) -> None:
    for name in ("ml-latest-small", "ml-100k"):
        (tmp_path / name).mkdir()
        FORMS[name](tmp_path / name)
    small_one = lists(open_dataset(tmp_path / "ml-latest-small", kernel=kernel), "genres")
    assert small_one[:4] == [["Action", "Comedy"]] * 3 + [[]]
    assert lists(open_dataset(tmp_path / "ml-100k", kernel=kernel), "genres")[0] == ["Action", "Comedy"]


def test_users_are_a_side_table_with_what_they_told(kernel: Kernel, tmp_path: Path) -> None:
    for name in ("ml-1m", "ml-100k"):
        (tmp_path / name).mkdir()
        FORMS[name](tmp_path / name)
        kinds = {column.name: column.kind for column in open_dataset(tmp_path / name, kernel=kernel).schema.features("users")}
        assert {"gender": "categorical", "age": "numeric", "occupation": "categorical"}.items() <= kinds.items()


def test_tags_become_dated_values_of_their_film_in_order_of_time(kernel: Kernel, tmp_path: Path) -> None:
    for name in ("ml-latest-small", "ml-10m"):
        (tmp_path / name).mkdir()
        FORMS[name](tmp_path / name)
    first = open_dataset(tmp_path / "ml-latest-small", kernel=kernel)
    assert lists(first, "tags")[:3] == [[], ["@978300100 funny", "@978300500 slow, and dull"], []]
    assert next(column.kind for column in first.schema.columns if column.name == "tags") == "dated"
    second = open_dataset(tmp_path / "ml-10m", kernel=kernel)
    assert lists(second, "tags")[1] == ["@978300100 Excellent!", "@978300900 dark :: hero"]


def test_the_genome_is_shown_and_left_out(kernel: Kernel, tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / "genome-scores.csv").write_text("movieId,tagId,relevance\n1,1,0.03\n")
    shown = {column.name: column for column in inspect(tmp_path, kernel=kernel).schema.columns}
    assert shown["genome"].role == "ignore"
    assert "what all users did" in shown["genome"].reason


@pytest.mark.parametrize(
    ("name", "lost", "told"),
    [
        ("ml-latest-small", "ratings.csv", "there is movies.csv, tags.csv and no ratings.csv"),
        ("ml-latest-small", "movies.csv", "there is ratings.csv, tags.csv and no movies.csv"),
        ("ml-1m", "movies.dat", "there is ratings.dat, users.dat and no movies.dat"),
        ("ml-1m", "ratings.dat", "there is movies.dat, users.dat and no ratings.dat"),
        ("ml-100k", "u.data", "there is u.item, u.user and no u.data"),
    ],
)
def test_half_a_folder_is_an_error_that_names_the_missing_file(name: str, lost: str, told: str, kernel: Kernel, tmp_path: Path) -> None:
    FORMS[name](tmp_path)
    (tmp_path / lost).unlink()
    with pytest.raises(DataError, match=told) as caught:
        open_dataset(tmp_path, kernel=kernel)
    assert "unpack the archive again" in str(caught.value.hint)


def test_a_ratings_file_is_opened_alone(kernel: Kernel, tmp_path: Path) -> None:
    million(tmp_path)
    (tmp_path / "sub").mkdir()
    hundred_thousand(tmp_path / "sub")
    for path in (tmp_path / "ratings.dat", tmp_path / "sub" / "u.data"):
        dataset = open_dataset(path, kernel=kernel)
        assert dataset.train.rows + dataset.valid.rows + dataset.test.rows == len(RATED)
        assert not dataset.items.rows


def test_given_side_tables_stand_above_those_of_the_folder(kernel: Kernel, tmp_path: Path) -> None:
    million(tmp_path)
    (tmp_path / "mine.csv").write_text("movie_id,colour\n" + "".join(f"{n},{('red', 'blue')[n % 2]}\n" for n in range(1, 11)))
    dataset = open_dataset(tmp_path, items=tmp_path / "mine.csv", kernel=kernel)
    assert [column.name for column in dataset.schema.features("items")] == ["colour"]
    assert dataset.users.rows == 8


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("ratings.dat", "1::2::5\n", "expected '::' between user_id, movie_id, rating, timestamp"),
        ("ratings.dat", "", "the file is empty"),
        ("movies.dat", "1::Good::Drama\nnonsense\n", "line 2 is not like the others"),
    ],
)
def test_a_damaged_file_is_named_with_the_place(file: str, text: str, told: str, kernel: Kernel, tmp_path: Path) -> None:
    million(tmp_path)
    (tmp_path / file).write_text(text)
    with pytest.raises(DataError, match=told) as caught:
        open_dataset(tmp_path, kernel=kernel)
    assert str(caught.value.where).endswith(file)


def test_a_tag_file_without_a_clock_is_an_error(kernel: Kernel, tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / "tags.csv").write_text("userId,movieId,tag\n1,2,funny\n")
    with pytest.raises(DataError, match="no column 'timestamp'"):
        open_dataset(tmp_path, kernel=kernel)


def test_other_folders_and_sources_are_left_to_others(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    assert not MovieLensReader().accepts(tmp_path)
    assert not MovieLensReader().accepts(tmp_path / "table.csv")
    assert not MovieLensReader().accepts(np.zeros(3))
    with pytest.raises(DataError, match="this is a folder"):
        open_dataset(tmp_path, kernel=kernel)
