"""3,000 mutated bundles, each opened by a process of its own: none may be accepted, crash, hang, or write outside.

    python -m benchmarks.mutated_bundles --out benchmarks/results/mutated_bundles.json

Two bundles are made by a tiny run each: a retriever that reads histories, and a ranker with running aggregates, both with what later events
are folded into. A mutant is opened as every command opens a bundle, and asked for lists, predictions, folding and drift. One whose manifest
was left alone must be refused. One whose manifest was recomputed is a bundle like any other: it must be safe, whatever it answers, and
refused where its digest or its signature is asked for. `--only NUMBER` shows one mutant again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import get_context
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np  # noqa: E402

from benchmarks import forgeries  # noqa: E402, F401  it adds its kinds
from benchmarks.mutations import KINDS, Kind, Place  # noqa: E402

Report = dict[str, Any]
ROLES = ("retriever", "ranker")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_EVENTS = (
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.link",
    "os.truncate",
    "os.chmod",
    "os.exec",
    "os.fork",
    "os.system",
)
_EVENTS += ("os.posix_spawn", "subprocess.Popen", "socket.connect", "socket.bind", "pickle.find_class", "shutil.move", "ctypes.dlopen")


# --- the two bundles -------------------------------------------------------------------------------------------------------------


def make_bundles(base: Path) -> dict[str, Path]:
    """Train a retriever and a ranker on planted events for an epoch, and write their bundles."""
    import pandas as pd

    rng = np.random.default_rng(0)
    rows = 1500
    user = rng.integers(0, 60, rows)
    item = (user * 7 + rng.integers(0, 25, rows)) % 50
    frame = pd.DataFrame(
        {
            "user_id": [f"u{one}" for one in user],
            "item_id": [f"i{one}" for one in item],
            "rating": 1 + (user + item) % 5,
            "timestamp": 1_700_000_000 + 3600 * np.arange(rows),
            "price": rng.normal(size=rows).round(3),
            "shop": [f"s{one % 4}" for one in item],
        }
    )
    ops = ("id", "history"), ("id", "counts", "means", "time-parts", "scale", "attributes", "bins", "history")
    return {
        "retriever": _bundle(base / "retriever", frame, "recommend", "zoo/sasrec", ops[0]),
        "ranker": _bundle(base / "ranker", frame, "rate", "zoo/deepfm", ops[1]),
    }


def _bundle(folder: Path, frame: Any, task: str, blueprint: str, ops: tuple[str, ...]) -> Path:
    from autorec_kernel.data import open_dataset
    from autorec_kernel.deploy.bundle import BundleFacts, served_model, write_bundle
    from autorec_kernel.deploy.drift import held_out_profile
    from autorec_kernel.deploy.plan import serving_sample
    from autorec_kernel.features import build_features
    from autorec_kernel.features.live import live_of
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.models import FitSettings, train

    kernel, dataset = Kernel.discover(), open_dataset(frame, task=task)
    features = build_features(dataset, {f"features/{op}": kernel.load("feature-op", f"features/{op}") for op in ops}, task=task)
    graph = kernel.create("blueprint", blueprint).architecture(features.schema)
    network, _ = train(graph, features, features.schema, kernel, FitSettings(epochs=1), seed=0, trial=0)
    sample = serving_sample(network, features)
    write_bundle(
        folder,
        model=served_model(network, _compressed(graph, network, features, sample, kernel)),
        state=features.state(),
        sample=sample,
        facts=BundleFacts(task, dataset.protocol.id),
        columns=dataset.schema,
        drift=held_out_profile(features, network.inputs, dataset),
        live=live_of(features, names=network.inputs, stored=[]),
    )
    return folder


def _compressed(graph: Any, network: Any, features: Any, sample: Any, kernel: Any) -> bytes:
    """Return the graph as a plan leaves it: folded, quantised, histories cut, inputs packed."""
    from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
    from autorec_kernel.deploy.export import export_onnx
    from autorec_kernel.records.model import CompressedModel, TrainedModel

    model = CompressedModel(TrainedModel(graph, network, features.schema), export_onnx(network, sample))
    context = CompressionContext(Target("edge"), features, sample, lambda model, share: model, np.random.default_rng(0))
    steps: dict[str, dict[str, Any]] = {"rewrite/fold": {}, "rewrite/last-position": {}, "prune/history": {"steps": 8}}
    steps |= {"quantize/int8-tables": {"smallest": 64}, "quantize/int8-dynamic": {"smallest": 64}, "rewrite/packed-inputs": {}}
    for name, options in steps.items():
        try:
            model = kernel.create("compressor", name, **options).compress(model, context)
        except NotApplicable as reason:
            print(f"# {name}: {reason.message}", flush=True)
    return model.graph or b""


# --- opening and asking ----------------------------------------------------------------------------------------------------------


def answers(path: Path, require_digest: str = "") -> Iterator[Any]:
    """Open a bundle, then yield what it answers: nothing is yielded before it was accepted."""
    from autorec_kernel.errors import UsageError
    from autorec_kernel.serving import Recommender

    found = Recommender.load(path, require_digest=require_digest)
    yield found.bundle.digest
    users, items = ["u1", "u2", "stranger", None], ["i1", "i2", "i3", "unheard of"]
    when = np.arange(4, dtype=np.int64) * 10**9 + 1_800_000_000 * 10**9
    columns: dict[str, Any] = {"timestamp": when, "@clock": when, "price": np.array([0.5, np.nan, -1e30, 3.0])}
    labelled = {**columns, "rating": np.array([5.0, 4.0, 1.0, 2.0])}
    asked: list[Callable[[], Any]] = [
        lambda: [one.to_json() for one in found.recommend(users, k=5)],
        lambda: [one.to_json() for one in found.recommend(None, [["i1", "i2", "nothing"], []], k=3, exclude_seen=False)],
        lambda: found.score("u1", items).tolist(),
        lambda: found.predict(users, items, columns).values.tolist(),
    ]
    if "live.json" in found.bundle.members:
        events = {name: one[:3] for name, one in labelled.items()}
        asked.append(lambda: found.fold(users[:3], items[:3], events).recommend(["u1", "stranger"], k=3)[1].items)
    if "drift.json" in found.bundle.members:
        asked.append(lambda: found.drift(users, items, columns).to_json())
    for one in asked:
        try:
            yield one()
        except UsageError as error:
            yield str(error)


def _child(path: Path, require_digest: str, expected: str, pipe: int, memory: int, seconds: int) -> None:
    """Open and ask in this process, and write what came of it to the pipe. Never returns."""
    seen: list[str] = []
    started = time.process_time()
    told: Report = {}
    try:
        _limit(memory, seconds)
        sys.addaudithook(lambda event, arguments: _watch(seen, event, arguments))
        told = _outcome(path, require_digest, expected)
    except BaseException as error:
        told = {"outcome": "crash", "detail": f"{type(error).__name__}: {str(error)[:300]}", "trace": traceback.format_exc()[-1500:]}
    finally:
        told |= {
            "events": seen[:5],
            "cpu_s": time.process_time() - started,
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        os.write(pipe, json.dumps(told).encode()[:60_000])
        os._exit(0)


def _outcome(path: Path, require_digest: str, expected: str) -> Report:
    from autorec_kernel.errors import AutoRecError, BundleError

    found: list[Any] = []
    try:
        for one in answers(path, require_digest):
            found.append(one)
    except BundleError as error:
        return {"outcome": "refused when asked" if found else "refused", "detail": str(error)[:200]}
    except AutoRecError as error:
        if not found:
            raise
        return {"outcome": "refused when asked", "detail": str(error)[:200]}
    return {"outcome": "same" if json.dumps(found[1:]) == expected else "changed", "detail": ""}


def _limit(memory: int, seconds: int) -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + memory, size + memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _watch(seen: list[str], event: str, arguments: tuple[Any, ...]) -> None:
    """Note what touches anything: opening to write, changing files, starting programs, connecting, unpickling."""
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES:
        seen.append(f"open {arguments[0]!r:.100}")
    elif event in _EVENTS:
        seen.append(f"{event} {arguments!r:.100}")


def attempt(path: Path, require_digest: str, expected: str, *, memory: int, seconds: int) -> Report:
    """Open a mutant in a process of its own, and say how that ended."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reader)
        _child(path, require_digest, expected, writer, memory, seconds)
    os.close(writer)
    data, ends = b"", time.monotonic() + 12 * seconds  # other work on the machine counts in wall time, not in CPU time
    while time.monotonic() < ends and select.select([reader], [], [], max(0.0, ends - time.monotonic()))[0]:
        part = os.read(reader, 65_536)
        if not part:
            break
        data += part
    late = time.monotonic() >= ends
    if late:
        os.kill(process, signal.SIGKILL)
    os.close(reader)
    _, status = os.waitpid(process, 0)
    if late or (os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)):
        return {"outcome": "hang", "detail": f"more than {seconds} s of CPU, or {12 * seconds} s"}
    if os.WIFSIGNALED(status):
        return {"outcome": "crash", "detail": f"signal {os.WTERMSIG(status)}"}
    try:
        found: Report = json.loads(data)
    except ValueError:
        return {"outcome": "crash", "detail": f"exit code {os.WEXITSTATUS(status)} without a word"}
    return found


# --- one mutant ------------------------------------------------------------------------------------------------------------------


def judge(kind: Kind, mode: str, found: Report) -> str:
    """Return what is wrong with how a mutant ended in a mode (plain, digest or signed), "" where nothing is."""
    if found["outcome"] in ("crash", "hang"):
        return str(found["outcome"])
    if found.get("events") or found.get("touched"):
        return "write"
    loaded = found["outcome"] in ("same", "changed", "refused when asked")
    may_load = kind.consistent and (mode == "plain" or (mode == "digest" and not kind.covered and found["outcome"] == "same"))
    return "accepted" if loaded and not may_load else ""


def mutant(number: int, seed: int, members: Mapping[str, Mapping[str, bytes]], base: Path) -> tuple[str, str, Path]:
    """Write a mutant; the same number and seed bring the same one.

    Returns:
        Its kind, its role, and its path.
    """
    names = sorted(KINDS)
    role, name = ROLES[number % 2], names[number // 2 % len(names)]
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    folder, outside = base / "mutant", base / "outside"
    for one in (folder, outside):
        one.mkdir(parents=True)
    (outside / "secret").write_bytes(bytes(1 << 16))
    return name, role, KINDS[name].make(dict(members[role]), rng, Place(folder, outside))


def _snapshot(base: Path) -> dict[str, tuple[int, int]]:
    return {str(one): (facts.st_mtime_ns, facts.st_size) for one in (base, *base.rglob("*")) if (facts := one.lstat())}


def trial(number: int, options: Mapping[str, Any], base: Path) -> list[Report]:
    """Make one mutant, open it in every mode, and clean up."""
    base.mkdir()
    name, role, path = mutant(number, options["seed"], options["members"], base)
    kind, facts = KINDS[name], options["facts"][role]
    if path.is_file() and path.read_bytes() == options["zips"][role]:
        raise AssertionError(f"mutant {number} ({name}) is the bundle itself")
    modes = {"plain": "", "digest": facts["digest"], "signed": facts["manifest"]} if kind.consistent else {"plain": ""}
    found = []
    for mode, required in modes.items():
        before = _snapshot(base)
        with contextlib.chdir(base / "outside"):
            one = attempt(path, required, facts["answers"], memory=options["memory"], seconds=options["seconds"])
        one |= {"number": number, "kind": name, "role": role, "mode": mode, "touched": _snapshot(base) != before}
        found.append(one | {"wrong": judge(kind, mode, one)})
    shutil.rmtree(base)
    return found


def _worker(share: list[int], options: Mapping[str, Any], base: str, queue: Any) -> None:
    import onnxruntime  # before the first fork, so that no child pays for it

    from autorec_kernel.serving import Recommender

    assert onnxruntime and Recommender
    sys.dont_write_bytecode = True
    for number in share:
        queue.put(trial(number, options, Path(base) / str(number)))
    queue.put(None)


# --- all of them -----------------------------------------------------------------------------------------------------------------


def run(
    bundles: Mapping[str, Path], numbers: list[int], *, seed: int = 0, workers: int = 2, memory: int = 2 << 30, seconds: int = 20
) -> list[Report]:
    """Try mutants of the bundles, shared out among processes."""
    from autorec_kernel.records.bundle import member_digest
    from autorec_kernel.serving.archive import read_members, zip_bytes

    members = {role: read_members(path) for role, path in bundles.items()}
    facts = {}
    for role, path in bundles.items():
        digest, *told = answers(path)
        facts[role] = {
            "digest": digest,
            "manifest": f"manifest:{member_digest(members[role]['manifest.json'])}",
            "answers": json.dumps(told),
        }
    zips = {role: zip_bytes(tree) for role, tree in members.items()}
    options = {"seed": seed, "memory": memory, "seconds": seconds, "members": members, "facts": facts, "zips": zips}
    found: list[Report] = []
    context = get_context("fork")
    with tempfile.TemporaryDirectory(prefix="mutants-") as base:
        queue = context.Queue()
        shares = [numbers[start::workers] for start in range(workers)]
        processes = [context.Process(target=_worker, args=(share, options, base, queue)) for share in shares]
        for process in processes:
            process.start()
        left = len(processes)
        while left:
            part = queue.get(timeout=900)
            left -= part is None
            found += part or []
            if part and part[0]["number"] % 200 == 0:
                print(f"{len(found)} openings", file=sys.stderr, flush=True)
        for process in processes:
            process.join()
    return found


def summary(found: list[Report], seed: int, seconds: float) -> Report:
    """Return the counts that the bar is about, and by kind how the mutants ended."""
    wrong = Counter(one["wrong"] for one in found if one["wrong"])
    kinds = {name: {} for name in sorted(KINDS)}
    for one in found:
        key = one["outcome"] if one["mode"] == "plain" else f"{one['outcome']}, {one['mode']}"
        kinds[one["kind"]][key] = kinds[one["kind"]].get(key, 0) + 1
    return {
        "mutants": len({one["number"] for one in found}),
        "openings": len(found),
        "manifest_recomputed": len({one["number"] for one in found if KINDS[one["kind"]].consistent}),
        "seed": seed,
        "accepted_changes": wrong["accepted"],
        "crashes": wrong["crash"],
        "writes_outside": wrong["write"],
        "hangs": wrong["hang"],
        "slowest_cpu_s": round(max(one.get("cpu_s", 0.0) for one in found), 2),
        "largest_rss_mb": round(max(one.get("rss_mb", 0.0) for one in found)),
        "seconds": round(seconds),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "kinds": {name: dict(sorted(ends.items())) for name, ends in kinds.items()},
        "wrong": [one for one in found if one["wrong"]][:100],
    }


def main() -> int:
    """Make the bundles, try the mutants, print the result; exit code 1 where the bar is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=20, help="CPU seconds of one opening")
    parser.add_argument("--memory", type=int, default=2048, help="megabytes of one opening, beside what the process has")
    parser.add_argument("--bundles", type=Path, help="folder with bundles made before: retriever, ranker; made there if it lacks them")
    parser.add_argument("--only", type=int, help="one mutant, in full")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = given.bundles or Path(folder)
        bundles = {role: base / role for role in ROLES} if (base / "ranker").exists() else make_bundles(base)
        start = time.monotonic()
        numbers = list(range(given.count)) if given.only is None else [given.only]
        found = run(
            bundles, numbers, seed=given.seed, workers=min(given.workers, len(numbers)), memory=given.memory << 20, seconds=given.seconds
        )
    if given.only is not None:
        print(json.dumps(found, indent=2))
        return 0
    told = summary(found, given.seed, time.monotonic() - start)
    text = json.dumps(told, indent=2) + "\n"
    print(text, end="")
    if given.out:
        given.out.write_text(text)
    return int(any(told[name] for name in ("accepted_changes", "crashes", "writes_outside", "hangs")))


if __name__ == "__main__":
    sys.exit(main())
