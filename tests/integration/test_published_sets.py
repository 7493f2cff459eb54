"""Published data sets as they lie on a disk, through the command line: a folder goes in, a bundle comes out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from autorec_kernel.cli.main import main
from autorec_kernel.data import open_dataset
from autorec_kernel.features import audit, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.serving import Recommender
from autorec_readers.short_videos import short_videos

pytestmark = pytest.mark.plugins


def ten_million(folder: Path) -> None:
    """A folder like that of ml-10m: half-star ratings, films, and tags that their users write with the rating or later."""
    rng = np.random.default_rng(0)
    pairs = rng.permutation(40 * 60)[:900]
    users, films, when = 1 + pairs // 60, 1 + pairs % 60, 10**9 + 600 * np.arange(900)
    stars = rng.integers(1, 11, 900) / 2
    rows = list(zip(users.tolist(), films.tolist(), stars.tolist(), when.tolist(), strict=True))
    (folder / "ratings.dat").write_text("".join(f"{user}::{film}::{star}::{second}\n" for user, film, star, second in rows))
    genres = ("Drama", "Comedy|Drama", "Action")
    (folder / "movies.dat").write_text("".join(f"{n}::Film number {n} (19{40 + n % 60})::{genres[n % 3]}\n" for n in range(1, 61)))
    tagged = [(user, film, ("great", "dull")[star < 3], second + 30) for user, film, star, second in rows[::3]]
    (folder / "tags.dat").write_text("".join(f"{user}::{film}::{tag}::{second}\n" for user, film, tag, second in tagged))


def test_a_folder_is_inspected_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ten_million(tmp_path)
    assert main(["data", "inspect", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "900 rows of events, 60 rows of items" in told
    assert "lists of values, each with the moment from which it is known" in told


def test_half_a_folder_ends_the_command_with_the_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ten_million(tmp_path)
    (tmp_path / "ratings.dat").unlink()
    assert main(["run", str(tmp_path), "--out", str(tmp_path / "out")]) == 3
    told = capsys.readouterr().err
    assert "there is movies.dat, tags.dat and no ratings.dat" in told
    assert "hint: unpack the archive again" in told


def test_every_feature_of_a_folder_with_tags_passes_the_audit(tmp_path: Path) -> None:
    ten_million(tmp_path)
    kernel = Kernel.discover(blocked=["autorec-leaks"])
    dataset = open_dataset(tmp_path, task="rate", kernel=kernel)
    features = build_features(dataset, kernel, task="rate")
    assert {"items.tags", "items.tags.count"} <= {feature.name for feature in features.schema.features}
    assert audit(dataset, features, kernel).findings == []


@pytest.mark.slow
@pytest.mark.parametrize("task", ["rate", "recommend"])
def test_a_folder_becomes_a_bundle_that_answers(task: str, tmp_path: Path) -> None:
    (tmp_path / "ml-10M100K").mkdir()
    ten_million(tmp_path / "ml-10M100K")
    out = tmp_path / "out"
    assert main(["run", str(tmp_path / "ml-10M100K"), "--task", task, "--trials", "0", "--out", str(out)]) == 0
    found = json.loads((out / "result.json").read_text())
    recommender = Recommender.load(out / found["bundle"]["path"])
    assert len(recommender.recommend(["1", "nobody"], k=5)) == 2


def test_the_stand_in_for_short_videos_is_drawn_from_the_seed_alone_and_learnable() -> None:
    tables, again = (short_videos(np.random.default_rng(4)) for _ in range(2))
    assert all(tables[name].equals(again[name]) for name in tables)
    kernel = Kernel.discover(blocked=["autorec-leaks"])
    dataset = open_dataset(tables["events"], users=tables["users"], items=tables["items"], task="click", kernel=kernel)
    roles = {column.role: column.name for column in dataset.schema.columns if column.source == "events"}
    assert (roles["user"], roles["item"], roles["label"], roles["time"]) == ("user_id", "video_id", "like", "timestamp")
    features = build_features(dataset, kernel, task="click")
    assert audit(dataset, features, kernel).findings == []
    rows = np.arange(features.parts["train"].rows)
    likes = features.labels_at("like", rows)
    assert 0.1 < likes.mean() < 0.6
    leaning = features.row_inputs(["user+items.theme.mean"], rows)["user+items.theme.mean"][:, 0]
    order = np.argsort(leaning)
    assert likes[order[-500:]].mean() > likes[order[:500]].mean() + 0.1
