"""Lists of ten out of 200,000 items by an index, against exact numpy; and a thousand candidates of one user through a ranker.

    python -m benchmarks.retrieval index --data /work/shared/data --out benchmarks/results/retrieval.json
    python -m benchmarks.retrieval ranker RUN/bundle --out benchmarks/results/retrieval_ranker.json

One core, one thread, exact and index in turns (twenty calls each, the order drawn; and call by call); medians and 99th percentiles of
wall and of CPU time. `index` makes two bundles through the deployment's own code: a mixture of 2,000 Gaussians, and the factors of implicit
least squares on Diginetica's training sessions. No set here has 200,000 items: its 43,097 stand there five times over, each copy moved by
three tenths of its length. Queries are those of held-out users, which nothing was built or chosen with: the sessions of the test part,
folded in.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

ROWS, WIDTH, USERS, HELD_OUT = 200_000, 64, 2000, 1500
BARS = {"saved": 0.95, "recall@10": 0.99, "ranker_p99_ms": 10.0}
_LOAD = """
import json, re, sys, time
from autorec_kernel.serving import Recommender
create = None
if sys.argv[2] == "index":
    from autorec_kernel.kernel import Kernel
    create = Kernel.discover().create
found = Recommender.load(sys.argv[1], create=create)
found.recommend(["u1"])
mb = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024  # ru_maxrss would be that of who started this
print(json.dumps({"cpu_s": time.process_time(), "mb": mb, "retrieval": found.retrieval, "torch": "torch" in sys.modules}))
"""
Vectors = tuple[np.ndarray, np.ndarray, np.ndarray]


def mixture(rng: np.random.Generator) -> Vectors:
    """Return float32 items [ROWS, WIDTH], users [USERS, WIDTH] and held-out users of 2,000 clusters of unequal size."""
    middles, shares = rng.normal(size=(2000, WIDTH)), rng.dirichlet(np.full(2000, 0.5))
    items, users, held_out = (
        middles[rng.choice(2000, count, p=shares)] + 0.5 * rng.normal(size=(count, WIDTH)) for count in (ROWS, USERS, HELD_OUT)
    )
    return items.astype(np.float32), users.astype(np.float32), held_out.astype(np.float32)


def trained(data: Path, rng: np.random.Generator) -> Vectors:
    """Return the same of implicit least squares on Diginetica's training sessions; held out are test sessions."""
    import pandas as pd

    from autorec_blocks.als import AlsItems

    frame = pd.read_csv(data / "diginetica-sessions" / "sessions.csv.gz")
    item = pd.factorize(frame["item_id"])[0] + 1
    sessions = [item[rows] for rows in frame.groupby("session_id", sort=True).indices.values()]
    train = frame.groupby("session_id", sort=True)["split"].first().to_numpy() == "train"
    known, strange = ([one for one, here in zip(sessions, train, strict=True) if here == wanted] for wanted in (True, False))
    history = SimpleNamespace(
        users=len(known), item_count=item.max() + 1, items=np.concatenate(known), offsets=np.cumsum([0, *map(len, known)])
    )
    config = AlsItems.Config(rows=int(item.max()) + 1, width=WIDTH, sweeps=5)
    table = np.asarray(AlsItems(config).solve((), {"interactions": history}, rng)["values"])
    users, held_out = (
        np.stack([_folded(table, part[number], config.confidence) for number in rng.choice(len(part), count, replace=False)])
        for part, count in ((known, USERS), (strange, HELD_OUT))
    )
    return _stretched(table[1:], rng), users, held_out


def _folded(table: np.ndarray, session: np.ndarray, confidence: float) -> np.ndarray:
    own = table[np.unique(session)].astype(np.float64)
    system = np.eye(table.shape[1]) + confidence * own.T @ own
    return np.linalg.solve(system, (1 + confidence) * own.sum(0)).astype(np.float32)


def _stretched(items: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return ROWS rows: the items, and copies of them that are moved by three tenths of their length."""
    lengths = np.linalg.norm(items, axis=1, keepdims=True) / WIDTH**0.5
    copies = [items + 0.3 * lengths * rng.normal(size=items.shape) for _ in range(-(-ROWS // len(items)) - 1)]
    return np.concatenate([items, *copies])[:ROWS].astype(np.float32)


def write_bundle_of(folder: Path, items: np.ndarray, users: np.ndarray) -> dict[str, Any]:
    """Write a bundle of user and item vectors as a run does, with an index; every user has seen twenty items that suit him."""
    from onnx import TensorProto, helper, numpy_helper

    from autorec_kernel.deploy.bundle import BundleFacts, ServedModel, write_bundle
    from autorec_kernel.deploy.index import with_index
    from autorec_kernel.deploy.rewrite import with_items
    from autorec_kernel.kernel import Kernel

    table = np.concatenate([np.zeros((1, WIDTH), np.float32), users])
    ends = (
        [helper.make_tensor_value_info("user_id", TensorProto.INT64, ["A"])],
        [helper.make_tensor_value_info("user", TensorProto.FLOAT, ["A", WIDTH])],
    )
    node = helper.make_node("Gather", ["table", "user_id"], ["user"])
    graph = helper.make_graph([node], "users", *ends, [numpy_helper.from_array(table, "table")])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    spec = {"inputs": ["user_id"], "outputs": ["user"], "lengths": {}}
    model = ServedModel("retriever", with_items(data, np.concatenate([np.zeros((1, WIDTH), np.float32), items])), spec)
    state, began = _state(items, users), time.process_time()
    model = with_index(model, state, Kernel.discover())
    took = time.process_time() - began
    write_bundle(folder, model=model, state=state, sample={"user_id": np.arange(8)}, facts=BundleFacts("recommend", "given/benchmark"))
    size = sum(np.asarray(array).nbytes for array in model.index_arrays.values())
    return {"index": dict(model.index), "build_cpu_s": took, "vector_bytes": items.nbytes, "index_bytes": size}


def _state(items: np.ndarray, users: np.ndarray) -> Any:
    from autorec_kernel.records.features import Feature, FeatureSchema
    from autorec_kernel.records.serving_state import ServingState
    from autorec_kernel.records.vocabulary import Vocabulary

    rng, rows, count = np.random.default_rng(1), len(users) + 1, len(items) + 1
    suited = [1 + rng.choice(np.argpartition(items @ user, -200)[-200:], 20, replace=False) for user in users]
    seen = np.concatenate(suited).astype(np.int32)
    ids = Feature("user_id", "id", "user", vocabulary="user", size=rows), Feature("item_id", "id", "item", vocabulary="item", size=count)
    return ServingState(
        FeatureSchema(ids, "user_id", "item_id", rows, count, {"@event": "score"}, {}, events=len(seen)),
        Vocabulary.of([f"u{number}" for number in range(1, rows)]),
        Vocabulary.of([f"i{number}" for number in range(1, count)]),
        {"user_id": np.arange(rows, dtype=np.int32), "item_id": np.arange(count, dtype=np.int32)},
        {},
        np.bincount(seen, minlength=count).astype(np.float32),
        np.concatenate([[0, 0], 20 * np.arange(1, rows)]).astype(np.int64),
        seen,
        np.ones(len(seen), dtype=bool),
        {"user": "user_id", "item": "item_id", "time": ""},
    )


def exact(items: np.ndarray, user: np.ndarray, k: int = 10) -> np.ndarray:
    """Return the rows of the k largest inner products: what numpy does best."""
    scores = items @ user
    best = np.argpartition(scores, -k)[-k:]
    return np.asarray(best[np.argsort(-scores[best], kind="stable")])


def in_turns(
    ways: dict[str, Callable[[int], Any]], count: int, rng: np.random.Generator, *, calls: int = 20
) -> dict[str, dict[str, float]]:
    """Return way → microseconds of a call, wall and CPU: median and 99th percentile of `count` calls, the ways in turns.

    Args:
        calls: Of one way at a time. With 1 an exact scan of 51 MB lies before nearly every other call, whose own data it throws out of the
            cache.
    """
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for start in range(-calls, count, calls):
        for name in rng.permutation(list(ways)):
            for number in range(start, min(start + calls, count)):
                wall, cpu = time.perf_counter(), time.thread_time()
                ways[name](number % count)
                took[name].append((time.perf_counter() - wall, time.thread_time() - cpu))
    found = {}
    for name, times in took.items():
        (wall, cpu), (late, late_cpu) = np.quantile(np.array(times[calls:]), [0.5, 0.99], axis=0) * 1e6
        found[name] = {"p50_us": wall, "p99_us": late, "cpu_p50_us": cpu, "cpu_p99_us": late_cpu}
    return found


def measured(name: str, vectors: Vectors, folder: Path) -> dict[str, Any]:
    """Return the figures of one table: the index alone, and lists of a served bundle, each against exact lists."""
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.serving import Recommender
    from autorec_kernel.serving.nearest import Nearest
    from autorec_kernel.serving.scorers import VectorScorer

    items, users, held_out = vectors
    told = {"table": name, "rows": len(items), "width": WIDTH, "load": os.getloadavg()[0], **write_bundle_of(folder, items, users)}
    with_it, without = Recommender.load(folder, create=Kernel.discover().create), Recommender.load(folder)
    arrays = {key[7:]: with_it.bundle.array(member) for key, member in with_it.schema["tables"].items() if key.startswith("@index.")}
    opened = Kernel.discover().create("index", told["index"]["component"]).open(arrays)
    scorer = VectorScorer(SimpleNamespace(lengths={}), None, with_it.graph.items())  # type: ignore[arg-type]
    nearest, none = Nearest(opened, scorer, told["index"]["effort"]), (np.zeros(2, np.int64), np.zeros(0, np.int64))
    rng, ids = np.random.default_rng(2), [f"u{number}" for number in range(1, USERS + 1)]
    ways = {"exact": lambda n: exact(items, held_out[n]), "index": lambda n: nearest.lists(held_out[n : n + 1], 10, none)}
    plain, cold = in_turns(ways, HELD_OUT, rng), in_turns(ways, 500, rng, calls=1)
    served = in_turns({"exact": lambda n: without.recommend([ids[n]]), "index": lambda n: with_it.recommend([ids[n]])}, 500, rng)
    recalled = nearest.recall(held_out, (np.zeros(HELD_OUT + 1, np.int64), np.zeros(0, np.int64)))
    return {
        **told,
        "recall@10": recalled,
        "us": plain,
        "us_one_by_one": cold,
        "saved": 1 - plain["index"]["p50_us"] / plain["exact"]["p50_us"],
        "saved_cpu": 1 - plain["index"]["cpu_p50_us"] / plain["exact"]["cpu_p50_us"],
        "served_us": served,
        "loaded": {way: json.loads(_fresh(_LOAD, str(folder), way)) for way in ("index", "exact")},
    }


def _fresh(code: str, *arguments: str) -> bytes:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=True).stdout


def index(given: argparse.Namespace) -> dict[str, Any]:
    """Measure both tables."""
    makers: list[tuple[str, Callable[[np.random.Generator], Vectors]]] = [("mixture", mixture)]
    if given.data is not None:
        makers.append(("diginetica, implicit least squares, five times over", partial(trained, given.data)))
    rows = []
    for name, make in makers:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measured(name, make(np.random.default_rng(0)), Path(folder) / "bundle"))
            print(json.dumps(rows[-1]), flush=True)
    judged = [(row["table"], bar, min(row[bar], row.get(f"{bar}_cpu", 1.0))) for row in rows for bar in ("saved", "recall@10")]
    missed = [f"{table}: {bar}" for table, bar, value in judged if value < BARS[bar]]
    return {"tables": rows, "bars": BARS, "missed": missed}


def ranker(given: argparse.Namespace) -> dict[str, Any]:
    """Measure a thousand candidates of one user after the other, as `predict` and as `score` are asked."""
    from autorec_kernel.serving import Recommender

    recommender, rng = Recommender.load(given.bundle), np.random.default_rng(0)
    known = {"user": recommender.state.users, "item": recommender.state.items}
    ids = {name: vocabulary.ids_of(np.arange(1, vocabulary.size)) for name, vocabulary in known.items()}
    count = min(given.candidates, len(ids["item"]))
    asked: Sequence[tuple[str, list[str]]] = [
        (str(rng.choice(ids["user"])), [str(one) for one in rng.choice(ids["item"], count, replace=False)]) for _ in range(given.calls)
    ]
    ways = {
        "predict": lambda n: recommender.predict([asked[n][0]] * count, asked[n][1]),
        "score": lambda n: recommender.score(asked[n][0], asked[n][1]),
    }
    found = {"candidates": count, "catalogue": len(ids["item"]), "bytes": len(recommender.bundle.members["ranker.onnx"])}
    found |= {"load": os.getloadavg()[0], "us": in_turns(ways, given.calls, rng), "digest": recommender.bundle.digest}
    late = {way: times["p99_us"] / 1000 for way, times in found["us"].items()}
    missed = [way for way, ms in late.items() if ms > BARS["ranker_p99_ms"]]
    return {**found, "p99_ms": late, "bar_ms": BARS["ranker_p99_ms"], "missed": missed}


def main() -> None:
    """Measure, print one JSON line and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    one = parts.add_parser("index")
    one.add_argument("--data", type=Path, help="Folder with diginetica-sessions; without it the mixture alone.")
    one.set_defaults(part=index)
    two = parts.add_parser("ranker")
    two.add_argument("bundle", type=Path)
    two.add_argument("--candidates", type=int, default=1000)
    two.add_argument("--calls", type=int, default=500)
    two.set_defaults(part=ranker)
    for part in (one, two):
        part.add_argument("--out", type=Path)
    given = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with threadpool_limits(1):
        told = given.part(given)
    text = json.dumps(told, default=float)
    print(text)
    if given.out is not None:
        given.out.write_text(json.dumps(json.loads(text), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
