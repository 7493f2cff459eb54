"""Training = serving, bit for bit and for every first-party op: the state answers what the untrimmed programs say at their end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.features.compute import event_columns
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.dataset import Dataset
from autorec_kernel.records.program import ReadContext, run_program
from autorec_kernel.records.serving_state import ServingState, typed
from autorec_kernel.records.table import Coded, Table
from autorec_kernel.records.vocabulary import Vocabulary
from autorec_kernel.testing.data import coded
from autorec_kernel.testing.feature_cases import SETTINGS, example_dataset

GIVEN = {"text/encoder"}  # needs a model; tests/unit/plugins/text makes one and asks the same of it
STRANGERS = ("004", "i5")  # only the side tables and the validation rows name them
NEWCOMERS = ("003", "i9")  # only the validation rows name them
WORDS = ("storm", "river", "of", "night", "House")
CONTEXT = ("device", "price", "tags", "shape", "when")


def dataset_of(clock: str, task: str) -> Dataset:
    """Every event twice; the last quarter validates; training knows nothing of two users and two items, side tables of one each."""
    full = example_dataset(clock, task)
    rows = 2 * full.train.rows
    events = full.train.take(np.arange(rows) // 2).with_columns({"@order": np.arange(rows)})
    names = events["user_id"].text(), events["item_id"].text()  # type: ignore[union-attr]
    known = np.all([~np.isin(names[place], [STRANGERS[place], NEWCOMERS[place]]) for place in (0, 1)], axis=0)
    late = np.arange(rows) >= 0.75 * rows
    train, valid = (events.take(np.flatnonzero(part)).compact() for part in (~late & known, late))
    users, items = (
        table.take(np.flatnonzero(table[key].text() != gone))  # type: ignore[union-attr]
        for table, key, gone in ((full.users, "user_id", NEWCOMERS[0]), (full.items, "item_id", NEWCOMERS[1]))
    )
    items = items.with_columns({"title": coded([f"{WORDS[i % 5]} {WORDS[i % 3]} {i} ({1950 + i})" for i in range(items.rows)])})
    return replace(full, train=train, valid=valid, users=users, items=items)


def every_op(dataset: Dataset, kernel: Kernel, task: str) -> FeatureSet:
    """Build what proposes itself and, since so few rows confirm no cross, some crosses that are named: listed ones and hashed ones."""
    plan = build_features(dataset, kernel, task=task).plan
    (crosses,) = (row for row in plan if row["op"] == "crosses/crosses")
    listed = {"chosen": [["device", "items.brand"], ["users.country", "when.hour"], ["items.year", "users.age"]], "min_count": 1}
    hashed = {"chosen": [["items.brand", "user_id"], ["item_id", "price", "users.country"]], "min_count": 1, "max_size": 1, "buckets": 50}
    more = [{**crosses, "taken": True, "config": {**crosses["config"], **chosen}} for chosen in (listed, hashed)]
    return build_features(dataset, kernel, task=task, plan=[*plan, *more])


@pytest.fixture(scope="module")
def built(kernel: Kernel) -> dict[tuple[str, str], FeatureSet]:
    return {pair: every_op(dataset_of(*pair), kernel, pair[1]) for pair in SETTINGS}


@pytest.mark.parametrize("upto", ["train", "valid"])
@pytest.mark.parametrize("pair", SETTINGS)
def test_serving_answers_what_the_untrimmed_programs_say_at_the_end(
    built: Mapping[tuple[str, str], FeatureSet], pair: tuple[str, str], upto: Any
) -> None:
    features = built[pair]
    state = features.state(upto)
    state = ServingState.load(json.loads(json.dumps(state.meta())), state.arrays())
    asked, users, items = everyone(features, state, dataset_of(*pair))
    context = {name: asked[name] for name in CONTEXT}
    names = [feature.name for feature in features.schema.features]
    clock = int(np.asarray(asked["@clock"])[0])
    found = state.inputs(names, users=users, items=items, columns=context, clock=clock)
    expected = dict(untrimmed(features, asked, upto))
    assert set(expected) == set(names)
    differ = [name for name in names if found[name].dtype != expected[name].dtype or found[name].tobytes() != expected[name].tobytes()]
    assert not differ, {name: (found[name][:3].tolist(), expected[name][:3].tolist()) for name in differ[:3]}


def test_every_op_of_every_plugin_takes_part(built: Mapping[tuple[str, str], FeatureSet], kernel: Kernel) -> None:
    plans = [row for features in built.values() for row in features.plan]
    missed = {row.id for row in kernel.components("feature-op")} - {row["op"] for row in plans if row["taken"]} - GIVEN
    assert not missed, {row["op"]: row["reason"] for row in plans if row["op"] in missed}
    depends = {(feature.depends, feature.dynamic) for features in built.values() for feature in features.schema.features}
    assert depends >= {(entity, dynamic) for entity in ("user", "item") for dynamic in (False, True)} | {("pair", True), ("row", False)}


def everyone(features: FeatureSet, state: ServingState, dataset: Dataset) -> tuple[Table, np.ndarray, np.ndarray]:
    """Return every user beside every item, unknown ones and strangers included, with the context of some event; and their keys."""
    sizes = state.users.size + state.more_users.size - 1, state.items.size + state.more_items.size - 1
    users, items = (keys.ravel() for keys in np.meshgrid(*(np.arange(size) for size in sizes), indexing="ij"))
    context = dataset.train.take(np.random.default_rng(0).integers(0, dataset.train.rows, len(users)))
    clock = np.full(len(users), np.asarray(dataset.valid["@clock"]).max() + 1)
    columns: dict[str, Any] = {name: context[name] for name in CONTEXT}
    columns |= {"@user_key": users, "@item_key": items, "@clock": clock, "timestamp": clock}
    columns |= {"@user": np.where(users < state.users.size, users, 0), "@item": np.where(items < state.items.size, items, 0)}
    columns |= {"user_id": texts(users, state.users, state.more_users), "item_id": texts(items, state.items, state.more_items)}
    return Table(columns, len(users)), users, items


def texts(keys: np.ndarray, *vocabularies: Vocabulary) -> Coded:
    """Return the ids of keys as events name them, strangers with their own."""
    ids = [name for vocabulary in vocabularies for name in vocabulary.ids_of(np.arange(1, vocabulary.size))]
    return Coded((keys - 1).astype(np.int32), np.array([*ids, None], dtype=object)[:-1])


def untrimmed(features: FeatureSet, asked: Table, upto: str) -> Iterator[tuple[str, np.ndarray]]:
    """Run the programs as they were fitted, and folded, on all rows at once; tables are read at their end."""
    for op in features._at(upto):
        columns = event_columns(op.program.inputs, asked, features.sides)
        found = run_program(op.program, columns, ReadContext(asked.rows, latest=True))
        for feature, output in zip(op.features, op.program.outputs, strict=True):
            yield feature.name, typed(np.asarray(found[output]), feature)
