"""Columns held in memory are those of the feature set."""

from __future__ import annotations

import numpy as np
import pytest

from autorec_kernel.models import columns
from autorec_kernel.models.columns import Columns

pytestmark = pytest.mark.plugins


def test_what_is_held_is_what_the_feature_set_gives(features_of):
    features = features_of("rate")
    names, rows = [feature.name for feature in features.schema.features], features.rows("train")[3:]
    held, places = Columns(features, names, ["rating"], rows), np.array([5, 0, 5, len(rows) - 1])
    found, labels = held.read(places)
    expected = features.row_inputs(names, rows[places])
    assert set(found) == {name for name in names if features.schema[name].kind in ("id", "numeric")}
    assert {features.schema[name].kind for name in found} == {"id", "numeric"}
    for name, values in found.items():
        assert values.dtype == expected[name].dtype
        np.testing.assert_array_equal(values, expected[name])
    np.testing.assert_array_equal(labels["rating"], features.labels_at("rating", rows[places]))


def test_rows_are_copied_block_by_block(features_of, monkeypatch):
    features = features_of("rate")
    names, rows = [features.schema.user, features.schema.item], features.rows("train")
    whole, _ = Columns(features, names, [], rows).read(np.arange(len(rows)))
    monkeypatch.setattr(columns, "_BLOCK", 7)
    parts, _ = Columns(features, names, [], rows).read(np.arange(len(rows)))
    assert all(np.array_equal(whole[name], parts[name]) for name in names)


def test_more_than_the_bound_is_not_held(features_of, monkeypatch):
    features = features_of("rate")
    monkeypatch.setattr(columns, "_BYTES", 100)
    assert Columns(features, [features.schema.user], ["rating"], features.rows("train")).read(np.arange(3)) == ({}, {})
