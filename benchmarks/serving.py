"""What `autorec serve` holds under load: requests a second, latency, errors, memory, and the cold start.

    python -m benchmarks.serving --seconds 60

The bundle holds implicit least squares (Hu et al. 2008) over synthetic events. The server is pinned to one core, the callers (keep-alive
connections, one thread each) to another one. Prints one JSON line; `load` is the load average before the run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from autorec_planner.cold import cold_start

BARS = {"requests_per_s": 300, "p99_ms": 50, "errors": 0, "slope_mb_per_min": 1.0, "cold_cpu_s": 0.5, "cold_mb": 120}
_SERVER = "import os, sys; os.sched_setaffinity(0, {core}); from autorec_kernel.cli.main import main; sys.exit(main(sys.argv[1:]))"
_SETTLED = 10.0  # seconds after which memory is looked at


def write_bundle_of(folder: Path, items: int, users: int, events: int, factors: int) -> Path:
    """Fit implicit least squares to events drawn from planted factors, and write its bundle."""
    import pandas as pd

    from autorec_kernel.data import open_dataset
    from autorec_kernel.deploy.bundle import BundleFacts, served_model, write_bundle
    from autorec_kernel.deploy.export import export_onnx
    from autorec_kernel.deploy.plan import serving_sample
    from autorec_kernel.features import build_features
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.models import FitSettings, train

    rng, kernel = np.random.default_rng(0), Kernel.discover()
    taste = rng.integers(0, 20, users)
    who = rng.integers(0, users, events)
    what = (taste[who] + 20 * rng.integers(0, items // 20, events)) % items
    what[:items], who[:items] = np.arange(items), np.arange(items) % users
    frame = pd.DataFrame({"user_id": [f"u{one}" for one in who], "item_id": [f"i{one}" for one in what], "timestamp": np.arange(events)})
    dataset = open_dataset(frame, task="recommend")
    ops = {op: kernel.load("feature-op", op) for op in ("features/id", "features/history")}
    features = build_features(dataset, ops, task="recommend")
    graph = kernel.create("blueprint", "baselines/ials", embedding_dim=factors, sweeps=3).architecture(features.schema)
    network, _ = train(graph, features, features.schema, kernel, FitSettings(epochs=1), seed=0, trial=0)
    sample = serving_sample(network, features)
    model = served_model(network, export_onnx(network, sample))
    facts = BundleFacts("recommend", dataset.protocol.id)
    write_bundle(folder, model=model, state=features.state(), sample=sample, facts=facts, columns=dataset.schema)
    return folder


def cold(bundle: Path) -> dict[str, Any]:
    """Return what a fresh process takes from its start to the first answer; the middle of five."""
    runs = [cold_start(bundle, "retriever") for _ in range(5)]
    return sorted(runs, key=lambda run: run["cpu_seconds"])[2]


class Server:
    """`autorec serve` pinned to a core."""

    def __init__(self, bundle: Path, core: int) -> None:
        command = [sys.executable, "-c", _SERVER.format(core={core}), "serve", str(bundle), "--port", "0", "--quiet"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        found = re.search(r"at http://[^ ]*:(\d+) ", line := self.process.stderr.readline())
        if found is None:
            raise RuntimeError(line + self.process.stderr.read())
        self.port = int(found[1])
        self._known = psutil.Process(self.process.pid)

    def memory(self) -> float:
        """Return resident megabytes."""
        return self._known.memory_info().rss / 2**20

    def cpu(self) -> float:
        """Return CPU seconds so far, those of the process that verified the bundle left out."""
        times = self._known.cpu_times()
        return times.user + times.system

    def stop(self) -> int:
        """End it and return its exit code."""
        self.process.terminate()
        return self.process.wait(30)


def call(connection: socket.socket, body: bytes) -> int:
    """Send one request over an open connection, read the whole answer and return its status."""
    head = f"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    data = connection.recv(65536)
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    start, _, rest = data.partition(b"\r\n\r\n")
    left = int(start.lower().split(b"content-length:")[1].split(b"\r\n")[0]) - len(rest)
    while left > 0:
        left -= len(connection.recv(65536))
    return int(start[9:12])


def drive(port: int, seconds: float, connections: int, users: int, items: int) -> dict[str, Any]:
    """Ask as fast as answers come: eight known users in ten, one history, one stranger; return latencies and errors."""
    ends, took, errors = time.monotonic() + seconds, list[float](), [0]

    def ask(seed: int) -> None:
        rng = np.random.default_rng(seed)
        bodies = [_body(rng, users, items, kind) for kind in rng.integers(0, 10, 500)]
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = 0
            while time.monotonic() < ends:
                began = time.perf_counter()
                status = call(connection, bodies[number % len(bodies)])
                took.append(time.perf_counter() - began)
                errors[0] += status != 200
                number += 1

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(connections)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lasted = time.monotonic() - began
    p50, p99 = np.quantile(took, [0.5, 0.99]) * 1000
    share = time.process_time() / lasted
    return {
        "requests_per_s": len(took) / lasted,
        "p50_ms": p50,
        "p99_ms": p99,
        "errors": errors[0],
        "requests": len(took),
        "caller_cpu": share,
    }


def _body(rng: np.random.Generator, users: int, items: int, kind: int) -> bytes:
    history = [f"i{one}" for one in rng.integers(0, items, 20)]
    told: dict[str, Any] = {"histories": [history]} if kind == 0 else {"users": ["stranger" if kind == 1 else f"u{rng.integers(users)}"]}
    return json.dumps({**told, "k": 10}).encode()


def under_load(bundle: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Serve and ask, each on a core of its own, and look at the server's memory once a second."""
    cores = sorted(os.sched_getaffinity(0))
    server = Server(bundle, cores[0])
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            call(connection, b'{"users": ["u1"]}')
        first = {"server_cold_cpu_s": server.cpu(), "server_cold_mb": server.memory()}
        numbers = [str(one) for one in (server.port, given.seconds, given.connections, given.users, given.items)]
        command = [sys.executable, "-m", "benchmarks.serving", "--caller", str(cores[-1]), *numbers]
        caller = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        began, spent, seen = time.monotonic(), server.cpu(), list[tuple[float, float]]()
        while caller.poll() is None:
            seen.append((time.monotonic() - began, server.memory()))
            time.sleep(1)
        assert caller.stdout is not None
        told = json.loads(caller.stdout.read())
        cpu = server.cpu() - spent
    finally:
        code = server.stop()
    late = [pair for pair in seen if pair[0] >= min(_SETTLED, given.seconds / 2)]
    slope = statistics.linear_regression(*zip(*late, strict=True)).slope * 60
    more = {
        "slope_mb_per_min": slope,
        "server_mb": seen[-1][1],
        "server_cpu_ms_a_request": cpu / told["requests"] * 1000,
        "exit_code": code,
    }
    return {**first, **told, **more, "one_core": len(cores) == 1}


def main() -> None:
    """Print one JSON line: figures, bars, and which bars are missed."""
    if sys.argv[1:2] == ["--caller"]:
        core, port, seconds, *rest = sys.argv[2:]
        os.sched_setaffinity(0, {int(core)})
        print(json.dumps(drive(int(port), float(seconds), *(int(one) for one in rest))))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--factors", type=int, default=32)
    parser.add_argument("--bundle", type=Path, help="Keep the bundle here, or take the one that is here (of the same sizes).")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bundle = given.bundle or Path(name) / "bundle"
        if not bundle.exists():
            write_bundle_of(bundle, given.items, given.users, given.events, given.factors)
        load, start = os.getloadavg()[0], cold(bundle)
        started = {"cold_cpu_s": start["cpu_seconds"], "cold_mb": start["peak_bytes"] / 2**20, "cold_torch": start["torch"]}
        told = {"load": load, **started, **under_load(bundle, given)}
    missed = [bar for bar, value in BARS.items() if (told[bar] < value if bar == "requests_per_s" else told[bar] > value)]
    print(json.dumps({**{key: round(v, 3) if isinstance(v, float) else v for key, v in told.items()}, "bars": BARS, "missed": missed}))


if __name__ == "__main__":
    main()
