"""Test AUC of logistic regression and LightGBM on raw columns, hand-made features and the engine's output: same rows, labels and learners.

Everything is chosen on validation rows: the penalty of the logistic regression, the leaves and rounds of LightGBM, and for either whether
it sees the ids of users and items. Differences come with paired intervals over users where there are users (`compare_auc`).
"""

from __future__ import annotations

import argparse
import inspect
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from autorec_kernel.evaluation import compare_auc
from autorec_kernel.evaluation.rows import auc
from benchmarks import feature_learners, feature_sets, manual_columns, manual_features, past
from benchmarks.feature_learners import LEARNERS
from benchmarks.feature_matrices import Matrices, engine, manual, raw
from benchmarks.feature_sets import SETS, Given, open_set

KINDS = ("raw", "manual", "engine")
PAIRS = (("engine", "raw"), ("engine", "manual"), ("manual", "raw"))
_SOURCES = (feature_learners, feature_sets, manual_columns, manual_features, past, raw, manual)
Scores = dict[str, dict[str, np.ndarray]]


def measure(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one data set: AUC a learner and kind of features, and the paired differences."""
    judged = "valid" if given.valid_only else "test"
    data = open_set(name, given.data, ("train", "valid") if given.valid_only else ("train", "valid", "test"))
    rows = data.rows(judged)
    found: dict[str, Any] = {"set": name, "protocol": data.dataset.protocol.id, "judged": judged, "rows": len(rows), "auc": {}, "runs": []}
    scores: Scores = {learner: {} for learner in given.learners}
    for kind in given.features:
        for learner, run, score in _scores(data, kind, judged, given):
            scores[learner][kind] = score
            found["auc"].setdefault(learner, {})[kind] = round(float(auc(data.frame["label"].to_numpy()[rows], score) or 0), 5)
            found["runs"].append({"features": kind, "learner": learner, **run})
            print(json.dumps({"set": name, "judged": judged, "auc": found["auc"][learner][kind], **found["runs"][-1]}), flush=True)
    found["differences"] = [row for learner in given.learners for row in _differences(data, rows, learner, scores[learner])]
    for row in found["differences"]:
        print(json.dumps({"set": name, **row}), flush=True)
    return found


def _scores(data: Given, kind: str, judged: str, given: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any], np.ndarray]]:
    matrices: Matrices | None = None
    for learner in given.learners:
        path = _cached(data, kind, learner, given)
        kept = np.load(path) if path is not None and path.exists() else {}
        if judged in kept:
            yield learner, json.loads(str(kept["run"])), kept[judged]
            continue
        start = time.perf_counter()
        matrices = matrices or _matrices(data, kind, given)
        made, start = time.perf_counter() - start, time.perf_counter()
        scores, chosen = LEARNERS[learner](matrices, judged)
        run = {"columns": matrices.columns, **chosen, "seconds": round(time.perf_counter() - start, 1), "made_in": round(made, 1)}
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, **scores, run=json.dumps(run))
        yield learner, run, scores[judged]


def _matrices(data: Given, kind: str, given: argparse.Namespace) -> Matrices:
    if kind == "raw":
        return raw(data)
    return manual(data, sees=given.sees) if kind == "manual" else engine(data)


def _cached(data: Given, kind: str, learner: str, given: argparse.Namespace) -> Path | None:
    """Return where the scores of a run are kept; the engine's never are, since the engine changes."""
    if given.cache is None or kind == "engine":
        return None
    sources = "".join(inspect.getsource(source) for source in _SOURCES)
    key = blake2b(sources.encode() + repr((data.dataset.fingerprint, data.dataset.protocol.id, given.sees)).encode(), digest_size=6)
    return Path(given.cache) / f"{data.name}-{kind}-{learner}-{key.hexdigest()}.npz"


def _differences(data: Given, rows: np.ndarray, learner: str, scores: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    frame = data.frame.iloc[rows]
    users = np.unique(frame[data.user], return_inverse=True)[1] if data.user else None
    for first, second in PAIRS:
        if first in scores and second in scores:
            rng = np.random.default_rng(0)
            found = compare_auc(frame["label"].to_numpy(), scores[first], scores[second], rng, users=users, resamples=2000)
            if found is not None:
                told = {key: round(value, 5) for key, value in found.to_json().items() if value is not None}
                yield {"learner": learner, "of": f"{first} - {second}", **told}


def _state() -> str:
    """Return the commit, with a plus where files differ from it."""
    told = [subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout for words in _GIT]
    return told[0].strip() + ("+" if told[1].strip() else "")


_GIT = (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--untracked-files=no", "autorec_kernel", "plugins"))


def main() -> None:
    """Measure, print, and put the results beside those already in the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with one folder a data set")
    parser.add_argument("--set", dest="sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--features", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--learners", nargs="+", choices=list(LEARNERS), default=list(LEARNERS))
    parser.add_argument("--valid-only", action="store_true", help="judge on validation rows; the test rows stay sealed")
    parser.add_argument("--sees", choices=("all", "known", "training"), default="all", help="whose earlier clicks hand-made features see")
    parser.add_argument("--cache", type=Path, help="folder that keeps scores of raw and hand-made features between calls")
    parser.add_argument("--commit", help="what the results are of; default: this checkout")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    for name in given.sets:
        found = {"commit": given.commit or _state(), "sees": given.sees, **measure(name, given)}
        if given.out:
            kept = json.loads(given.out.read_text()) if given.out.exists() else []
            same = ("set", "judged", "sees", "commit")
            kept = [row for row in kept if any(row[key] != found[key] for key in same)]
            given.out.write_text(json.dumps([*kept, found], indent=1) + "\n")


if __name__ == "__main__":
    main()
