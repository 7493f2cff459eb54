from __future__ import annotations

import os
import time

import numpy as np
import pytest
from serving_toys import TOYS, sample

from autorec_kernel.deploy.export import export_onnx, graph_spec
from autorec_kernel.deploy.graph_network import GraphNetwork
from autorec_kernel.models.batches import to_tensors
from autorec_kernel.serving.graph import Graph
from autorec_planner.latency import measure_latency, pinned


class Slow:
    """A session that takes four milliseconds a call."""

    def __init__(self) -> None:
        self.calls = 0

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        time.sleep(0.004)
        self.calls += 1
        return {}


def test_the_slower_variant_is_seen_and_every_variant_is_called_as_often() -> None:
    network = TOYS["factors"]()
    fast, slow = Graph(export_onnx(network, sample(network.inputs)), graph_spec(network)), Slow()
    found = measure_latency({"fast": fast, "slow": slow}, sample(network.inputs), rounds=20, seconds=10)  # type: ignore[dict-item]
    assert 0 < found["fast"]["p50_ms"] < 4 <= found["slow"]["p50_ms"] <= found["slow"]["p95_ms"]
    assert found["fast"]["calls"] == found["slow"]["calls"] == 20
    assert slow.calls == 50  # each timed call follows an untimed one, five rounds warm up


def test_reading_the_clocks_is_not_part_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0]

    def after(nanoseconds: int) -> int:
        now[0] += nanoseconds
        return now[0]

    class Call:
        def run(self, inputs: dict[str, np.ndarray]) -> None:
            after(9_000)

    monkeypatch.setattr(time, "thread_time_ns", lambda: after(1_000))
    monkeypatch.setattr(time, "perf_counter_ns", lambda: after(0))
    found = measure_latency({"call": Call()}, {}, rounds=3)
    assert found["call"]["p50_ms"] == found["call"]["p99_ms"] == 0.009


def test_percentiles_are_of_wall_time_and_the_threads_own_time_stands_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    wall, own, calls = [0], [0], [0]

    class Call:
        """Takes as many microseconds of the wall clock as it was called before, and three of its thread's own."""

        def run(self, inputs: dict[str, np.ndarray]) -> None:
            wall[0] += 1_000 * calls[0]
            own[0] += 3_000
            calls[0] += 1

    monkeypatch.setattr(time, "thread_time_ns", lambda: own[0])
    monkeypatch.setattr(time, "perf_counter_ns", lambda: wall[0])
    found = measure_latency({"call": Call()}, {}, rounds=101)["call"]
    first, last = 11, 11 + 200  # five rounds warm up, and every timed call follows an untimed one
    expected = np.percentile(np.arange(first, last + 1, 2), [50, 95, 99]) / 1e3
    assert [found[name] for name in ("p50_ms", "p95_ms", "p99_ms")] == pytest.approx(expected)
    assert (found["cpu_ms"], found["calls"]) == (0.003, 101)


def test_the_thread_is_held_to_a_core_and_let_go_and_where_it_cannot_be_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [{3, 5}]
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: held[-1], raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: held.append(set(cores)), raising=False)
    with pinned() as told:
        assert told and held[-1] == {5}
    assert held == [{3, 5}, {5}, {3, 5}]

    def refused(*args: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refused)
    with pinned() as told:
        assert not told
    assert measure_latency({"slow": Slow()}, {}, rounds=1)["slow"]["pinned"] == 0.0


def test_graphs_take_turns_in_an_order_that_is_drawn_anew() -> None:
    order: list[str] = []

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def run(self, inputs: dict[str, np.ndarray]) -> None:
            order.append(self.name)

    measure_latency({name: Named(name) for name in "abc"}, {}, rounds=40)
    turns = ["".join(order[at : at + 6]) for at in range(0, len(order), 6)]
    assert all(sorted(turn) == list("aabbcc") and turn[::2] == turn[1::2] for turn in turns)
    assert len(set(turns)) == 6


def test_the_measurement_ends_at_its_limit() -> None:
    found = measure_latency({"slow": Slow()}, {"x": np.zeros(3)}, rounds=10_000, seconds=0.05)  # type: ignore[dict-item]
    assert found["slow"]["calls"] < 50


def test_a_graph_answers_where_a_network_is_expected() -> None:
    network = TOYS["scores"]()
    inputs = sample(network.inputs)
    graph = GraphNetwork(network, export_onnx(network, inputs))
    tensors = to_tensors(inputs, "cpu")
    (expected,), (found,) = network.serve(tensors["history"]), graph.serve(tensors["history"])
    np.testing.assert_allclose(found.numpy(), expected.detach().numpy(), atol=1e-5)
    assert (graph.inputs, graph.serving_outputs, graph.lengths) == (network.inputs, network.serving_outputs, network.lengths)
