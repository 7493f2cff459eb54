"""The profile of a bundle: validation rows as the state before them has them, in the terms of the final state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from autorec_kernel.data import open_dataset
from autorec_kernel.deploy.drift import drift_report, held_out_profile
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.features.before import state_before
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.dataset import Dataset
from autorec_kernel.records.drift import DriftProfile
from autorec_kernel.serving.drift import DriftReport, drift_of

ROWS = 9000


def table(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """Clicks of users who come and go, an event every twenty minutes: each is there for about 150 events."""
    rng, place = np.random.default_rng(seed), np.arange(rows)
    users, items = place // 30 + rng.integers(0, 5, rows), rng.zipf(1.6, rows) % 60
    return pd.DataFrame(
        {
            "user_id": [f"u{user:03d}" for user in users],
            "item_id": [f"i{item:02d}" for item in items],
            "click": (rng.random(rows) < np.where(users % 3 == items % 3, 0.7, 0.2)).astype(int),
            "timestamp": 1_600_000_000 + 1200 * place,
            "price": rng.gamma(2.0, 9.0, rows).round(2),
            "shop": rng.choice(["north", "south", "east"], rows, p=[0.5, 0.3, 0.2]),
        }
    )


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return Kernel({"features": pytest.importorskip("autorec_features.plugin")})


def built(kernel: Kernel, frame: pd.DataFrame, **options: Any) -> tuple[Dataset, FeatureSet, FeatureSet]:
    dataset = open_dataset(frame, task="click", **options)
    early = build_features(dataset, kernel, task="click")
    return dataset, early, build_features(dataset.final(), kernel, plan=early.plan, task="click")


@pytest.fixture(scope="module")
def whole(kernel: Kernel) -> tuple[Dataset, FeatureSet, FeatureSet]:
    return built(kernel, table())


def names_of(features: FeatureSet) -> list[str]:
    return [feature.name for feature in features.schema.features]


def later(whole: tuple[Dataset, FeatureSet, FeatureSet], profile: DriftProfile, frame: pd.DataFrame) -> DriftReport:
    dataset, _, final = whole

    class Bundle:
        def __init__(self) -> None:
            self.schema = {"columns": dataset.schema.to_json()}

        def drift(self, users: Any, items: Any, columns: Any) -> DriftReport:
            return drift_of(profile, final.state(), dataset.schema, users, items, columns)

    return drift_report(frame, Bundle())  # type: ignore[arg-type]


def test_the_state_before_validation_counts_training_alone_and_knows_nobody_else(whole: tuple[Dataset, FeatureSet, FeatureSet]) -> None:
    dataset, early, final = whole
    before, users, items = state_before(final, names_of(final), dataset.train, dataset.valid), table()["user_id"], table()["item_id"]
    ids = sorted(set(users)), sorted(set(items))
    known = set(np.asarray(dataset.train["user_id"].text())), set(np.asarray(dataset.train["item_id"].text()))  # type: ignore[union-attr]
    for entity, id_name, count in (("user", "user_id", "user.count"), ("item", "item_id", "item.count")):
        side = 0 if entity == "user" else 1
        asked = {f"{entity}s": before.keys_of(entity, ids[side])}  # type: ignore[arg-type]
        earlier = {f"{entity}s": early.state().keys_of(entity, ids[side])}  # type: ignore[arg-type]
        rows, counts = before.inputs([id_name, count], **asked).values()
        assert [row > 0 for row in rows] == [one in known[side] for one in ids[side]]
        assert np.array_equal(counts, early.state().inputs([count], **earlier)[count])
        assert not np.array_equal(counts, final.state().inputs([count], **asked)[count])


def test_ordinary_later_rows_are_quiet_where_a_profile_of_known_rows_is_not(whole: tuple[Dataset, FeatureSet, FeatureSet]) -> None:
    dataset, _, final = whole
    profile = held_out_profile(final, names_of(final), dataset)
    assert profile is not None and profile.held_out and profile.rows == dataset.valid.rows
    found = later(whole, profile, table()[int(0.9 * ROWS) :])
    loud = [one for one in found.features if one.verdict == "shifted" and "weekday" not in one.name]
    assert len(loud) <= 0.1 * len(found.features)
    (user,) = (one for one in found.features if one.name == "user_id")
    assert user.unseen == pytest.approx(user.unseen_before, abs=0.1) and user.unseen > 0.5


@pytest.mark.parametrize(
    ("column", "harm"),
    [
        ("price", lambda frame: frame.assign(price=100 * frame["price"])),
        ("price", lambda frame: frame.drop(columns="price")),
        ("shop", lambda frame: frame.assign(shop=np.where(np.arange(len(frame)) % 3 == 0, "moon", frame["shop"]))),
        ("item", lambda frame: frame.assign(item_id="x" + frame["item_id"])),
    ],
)
def test_broken_rows_are_loud(whole: tuple[Dataset, FeatureSet, FeatureSet], column: str, harm: Any) -> None:
    dataset, _, final = whole
    profile = held_out_profile(final, names_of(final), dataset)
    assert profile is not None
    rest = table()[int(0.9 * ROWS) :]
    fine, broken = (later(whole, profile, frame) for frame in (rest, harm(rest)))
    worst, worst_fine = (next(one for one in found.features if column in one.name) for found in (broken, fine))
    assert worst.verdict == "shifted" and worst.psi > 1
    assert worst_fine.psi < 0.3 * worst.psi
    assert broken.missing == ((column,) if column not in harm(rest) and column == "price" else ())


def test_without_validation_rows_the_profile_is_that_of_training(kernel: Kernel) -> None:
    dataset, _, final = built(kernel, table(400))
    profile = held_out_profile(final, ["user_id", "price"], dataset.final())
    assert profile is not None and not profile.held_out and profile.rows == dataset.train.rows + dataset.valid.rows


@pytest.mark.parametrize("protocol", ["random", "leave-one-out"])
def test_validation_rows_are_held_out_of_any_split(kernel: Kernel, protocol: str) -> None:
    dataset, _, final = built(kernel, table(600), protocol=protocol)
    profile = held_out_profile(final, names_of(final), dataset)
    assert profile is not None and profile.held_out and profile.rows == dataset.valid.rows


def test_hashed_values_are_told_as_unseen(kernel: Kernel) -> None:
    rng = np.random.default_rng(0)
    frame, fresh = table(6000), table(600, seed=1)
    for one in (frame, fresh):
        one["tag"] = [f"t{tag:05d}" for tag in np.minimum(rng.geometric(0.001, len(one)), 4000)]
    dataset = open_dataset(frame, task="click", protocol="random")
    plan = [
        {"op": "features/id", "config": {"column": "tag", "min_count": 5, "tail_buckets": 16}, "taken": True, "reason": "", "seconds": 0.0}
    ]
    final = build_features(dataset.final(), kernel, plan=plan, task="click")
    profile = held_out_profile(final, ["tag"], dataset)
    assert profile is not None
    new = fresh.assign(tag=np.where(np.arange(600) % 10 > 0, "new" + fresh["tag"], fresh["tag"]))
    whole = (dataset, final, final)
    fine, loud = (next(f for f in later(whole, profile, rows).features if f.name == "tag") for rows in (fresh, new))
    assert fine.unseen == pytest.approx(fine.unseen_before, abs=0.06)
    assert 0 < fine.unseen_before < 0.9 < loud.unseen
    assert fine.psi < 0.1 <= loud.psi


def test_values_that_training_alone_would_not_have_given_a_row_are_unknown_before(kernel: Kernel) -> None:
    """Of a column of rare values the share without a row is that of a vocabulary of the training part, not of all rows."""
    rng, frame = np.random.default_rng(1), table(4000)
    frame["tag"] = [f"t{tag:05d}" for tag in rng.integers(0, 2500, 4000)]
    dataset = open_dataset(frame, task="click", protocol="random")
    plan = [{"op": "features/id", "config": {"column": "tag", "min_count": 2}, "taken": True, "reason": "", "seconds": 0.0}]
    early, final = (build_features(data, kernel, plan=plan, task="click") for data in (dataset, dataset.final()))
    before, asked = state_before(final, ["tag"], dataset.train, dataset.valid), {"columns": {"tag": dataset.valid["tag"]}}
    shares = [float((state.inputs(["tag"], **asked)["tag"] == 0).mean()) for state in (before, early.state(), final.state())]
    assert shares[0] == shares[1] > shares[2] + 0.1
