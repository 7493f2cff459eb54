from __future__ import annotations

import threading
from typing import Any, ClassVar

import numpy as np
import pytest

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.models import solve_blocks
from autorec_kernel.records.architecture import Architecture, Node, TensorSpec

pytestmark = pytest.mark.plugins

SEED = np.random.SeedSequence(0)


class Noise:
    """A closed form that draws."""

    Config = ComponentConfig
    accepts: ClassVar[tuple[Any, ...]] = ()
    variadic: ClassVar[bool] = False
    arrays: ClassVar[tuple[str, ...]] = ("interactions",)
    solved: ClassVar[list[int]] = []

    def output(self, specs):
        return TensorSpec("table", "item", width=2, rows=31)

    def build(self, specs, arrays):
        raise NotImplementedError

    def seconds(self, specs, schema):
        return 0.0

    def solve(self, specs, arrays, rng):
        self.solved.append(1)
        return {"values": rng.normal(size=(31, 2)), "ids": np.arange(3)}


class Kernel:
    def __init__(self, block):
        self.block = block

    def create(self, kind, name, **config):
        return self.block


GRAPH = Architecture((Node("table", "x/noise"), Node("other", "x/noise", config={"a": 1})), {"item": "table"})


@pytest.fixture
def block():
    Noise.solved.clear()
    return Noise()


def solve(block, features, seed=SEED, cache=None, graph=GRAPH):
    return solve_blocks(graph, features, Kernel(block), seed=seed, cache=cache)


def same(left, right):
    return all(np.array_equal(left[node][name], right[node][name]) for node in left for name in left[node])


def folders(cache):
    return [path for path in cache.iterdir() if path.is_dir()]


def test_what_was_solved_is_read_from_the_cache_with_the_same_bits(block, features_of, tmp_path):
    features = features_of("recommend")
    first = solve(block, features, cache=tmp_path)
    again = solve(block, features, cache=tmp_path)
    assert len(block.solved) == 2
    assert set(first) == {"table", "other"}
    assert same(first, again)
    assert [again["table"][name].dtype for name in ("values", "ids")] == [np.float64, np.int64]


def test_a_result_does_not_depend_on_whether_it_was_cached(block, features_of, tmp_path):
    features = features_of("recommend")
    solve(block, features, cache=tmp_path)
    assert same(solve(block, features), solve(block, features, cache=tmp_path))


def test_another_config_seed_or_feature_set_is_solved_apart(block, features_of, tmp_path):
    found = solve(block, features_of("recommend"), cache=tmp_path)
    assert not np.array_equal(found["table"]["values"], found["other"]["values"])
    solve(block, features_of("recommend"), np.random.SeedSequence(1), tmp_path)
    solve(block, features_of("recommend"), np.random.SeedSequence(1, spawn_key=(7, 0)), tmp_path)  # another trial of the run
    solve(block, features_of("rate"), cache=tmp_path)
    assert len(block.solved) == 6


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "gone", "digests", "list"])
def test_a_damaged_cache_is_solved_again_and_mended(block, features_of, tmp_path, damage, caplog):
    features = features_of("recommend")
    first = solve(block, features, cache=tmp_path)
    for folder in tmp_path.glob("solve-*/"):
        target = folder / ("digests.json" if damage in ("digests", "list") else "values.npy")
        data = bytearray(target.read_bytes())
        data[-1] ^= 1
        new = {"cut": bytes(data[:-9]), "flip": bytes(data), "empty": b"", "gone": b"", "digests": b"{", "list": b"[1]"}[damage]
        target.unlink() if damage == "gone" else target.write_bytes(new)
    again = solve(block, features, cache=tmp_path)
    assert len(block.solved) == 4
    assert same(first, again)
    assert "solved again" in caplog.text
    solve(block, features, cache=tmp_path)
    assert len(block.solved) == 4


def test_two_writers_at_once_leave_a_whole_result(block, features_of, tmp_path):
    features = features_of("recommend")
    expected = solve(block, features)
    failures = []

    def work():
        try:
            assert same(solve(block, features, cache=tmp_path), expected)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert failures == []
    assert same(solve(block, features, cache=tmp_path), expected)
    assert {path.name for folder in tmp_path.glob("solve-*/") for path in folder.iterdir()} == {"values.npy", "ids.npy", "digests.json"}


def test_an_array_that_does_not_exist_is_named(block, features_of, monkeypatch):
    monkeypatch.setattr(Noise, "arrays", ("interactoins",))
    with pytest.raises(ContractError, match="interactoins"):
        solve(block, features_of("recommend"))


def test_closed_forms_leave_the_interactions_as_they_are(kernel, features_of):
    features = features_of("recommend")
    before = features.interactions.items.copy()
    for name in ("ease", "item-knn", "popularity"):
        graph = kernel.create("blueprint", name, **{}).architecture(features.schema) if name == "item-knn" else None
        graph = graph or kernel.create("blueprint", f"baselines/{name}").architecture(features.schema)
        solve_blocks(graph, features, kernel, seed=SEED)
    assert np.array_equal(features.interactions.items, before)
