"""What the two rules for small data are worth: small samples of four sets, each judged with a rule and without it.

`selection`: test AUC of the two learners on all features of the engine and on those that the default selector keeps (a run drops none below
5,000 training rows). `choice`: test figures of what a short search serves with and without the rule that a model must beat the best
baseline with confidence. Samples are drawn from the training and validation parts of the sets: their test rows stay sealed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from autorec_kernel.data import open_dataset
from autorec_kernel.evaluation.rows import auc
from autorec_kernel.features import build_features
from autorec_kernel.features.selection import apply_selection, select_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.recipe import Recipe
from autorec_kernel.records.dataset import Dataset
from autorec_kernel.search.choose import choose
from autorec_kernel.search.journal import Journal
from autorec_kernel.stages import evaluate
from autorec_kernel.stages.prepare import features_of, narrowed, selected
from autorec_kernel.stages.search import search, submitting
from autorec_kernel.stages.workplace import Silent, Workplace, make_folder
from benchmarks.feature_learners import LEARNERS
from benchmarks.feature_matrices import engine_matrices
from benchmarks.feature_sets import Given, open_set

LOGS = ("ml-100k", "ml-latest-small")
JUDGED = 4000  # judged rows of a table
EVENTS = 45  # events of a user whose lists are judged


def sample(name: str, folder: Path, rows: int, seed: int, task: str) -> tuple[Dataset, pd.DataFrame]:
    """Return `rows` training rows, a quarter as many validation rows and others to be judged, as a data set and as a frame.

    Tables are drawn by rows. Logs are drawn by users, with as many rows judged as trained on, and cut by time: at two moments, or for lists
    at two places of each user's first events, so that there are users enough to judge.
    """
    rng, base = np.random.default_rng([seed, rows]), open_set(name, folder, ("train", "valid"))
    frame, sides = base.frame.drop(columns="part"), {}
    roles = {"label": "label", "part": "split"}
    if name in LOGS:
        frame = _cut_log(frame, rows, rng, own=task == "recommend")
        sides = {side: path for side in ("users", "items") if (path := folder / name / f"{side}.csv.gz").exists()}
    else:
        frame = frame.iloc[rng.permutation(len(frame))[: rows + rows // 4 + JUDGED]]
        roles |= {column: "ignore" for column in ("instance_weight",) if column in frame}
        frame["part"] = np.repeat(["train", "valid", "test"], [rows, rows // 4, len(frame) - rows - rows // 4])
    frame = frame.reset_index(drop=True)
    positive = 1.0 if task == "recommend" else None
    return open_dataset(frame, **sides, task=task, protocol="given", roles=roles, positive_threshold=positive), frame


def _cut_log(frame: pd.DataFrame, rows: int, rng: np.random.Generator, *, own: bool) -> pd.DataFrame:
    """Return the rows of some users with their part: cut at two moments, or (`own`) the first events of each user at two places."""
    users = rng.permutation(frame["user_id"].unique())
    frame = frame[["user_id", "item_id", "timestamp", "label"]].sort_values(["timestamp", "user_id"], kind="stable")
    frame = frame[frame.groupby("user_id").cumcount() < EVENTS] if own else frame
    frame = frame[frame["user_id"].map(frame["user_id"].value_counts()[users].cumsum()) <= 2.25 * rows]
    grouped = frame.groupby("user_id")["item_id"]
    place, size = (grouped.cumcount(), grouped.transform("size")) if own else (np.arange(len(frame)), len(frame))
    ends = [np.round(size * share) for share in (1 / 2.25, 1.25 / 2.25)]
    return frame.assign(part=np.select([place < ends[0], place < ends[1]], ["train", "valid"], "test"))


def selection(name: str, folder: Path, rows: int, seed: int) -> dict[str, Any]:
    """Return the AUC of each learner on all features, and on those that the selector keeps."""
    dataset, frame = sample(name, folder, rows, seed, "click")
    kernel, found = Kernel.discover(), dict[str, Any]()
    features = build_features(dataset, kernel, task="click", seed=seed)
    dataset.test.fix_plan(features.digest)
    features.open_test(dataset.test.open("small data"))
    order = np.concatenate([dataset.row_ids[part] for part in ("train", "valid", "test")])
    given = Given(name, dataset, frame.iloc[order].reset_index(drop=True), (), ())
    judged = given.frame["label"].to_numpy()[given.rows("test")]
    counts = {}
    for kind in ("all", "kept"):
        if kind == "kept":
            apply_selection(features, select_features(features, kernel, seed=seed, curve_seconds=0))
        counts[kind] = len(features.schema.features)
        matrices = engine_matrices(given, features)
        if not (counts[kind] - len(features.schema.of("history")) - len(matrices.ids)):
            matrices = replace(matrices, ids=())  # nothing else is left to learn from
        for learner, fit in LEARNERS.items():
            scores, _ = fit(matrices, "test")
            found.setdefault(learner, {})[kind] = round(float(auc(judged, scores["test"]) or 0), 5)
    return {"features": counts, "judged": len(judged), **found}


def choice(name: str, folder: Path, rows: int, seed: int, trials: int) -> dict[str, Any]:
    """Return the test figures of what a search of some trials serves with the rule, and without it."""
    task = "recommend" if name in LOGS else "click"
    dataset, _ = sample(name, folder, rows, seed, task)
    recipe = Recipe(task=task, trials=trials, seed=seed, workers=1, device="cpu")
    with tempfile.TemporaryDirectory() as scratch:
        make_folder(Path(scratch))
        with Journal.open(Path(scratch) / "journal.jsonl") as journal:
            place = Workplace(Path(scratch), recipe, Kernel.discover(), journal, Silent())
            return _chosen(place, dataset)


def _chosen(place: Workplace, dataset: Dataset) -> dict[str, Any]:
    features = features_of(place, dataset, place.folder / "features")
    selected(features, place.kernel, place.recipe, place.folder / "features", 0.0)
    with submitting(place, features) as submit:
        found, state = search(place, features, submit)
    choices = {
        name: choose(found.trials, held, lambda one, other: evaluate.trial_comparison(place, features, one, other))
        for name, held in (("with", list(state.baselines)), ("without", []))
    }
    final = narrowed(features_of(place, dataset.final(), None, plan=features.plan), place.folder / "features")
    final.fading = features.fading
    models = {one.trial.number: evaluate.refit(place, final, one.trial).module for one in choices.values() if one}
    dataset.test.fix_plan(features.digest)
    final.open_test(dataset.test.open("small data"))
    tests = {number: evaluate.measure(model, final, place).quality for number, model in models.items()}
    served = {name: one.trial.details.get("blueprint") for name, one in choices.items() if one}
    judged = len(next(iter(tests.values())).parts)
    return {"served": served, "judged": judged, **{name: round(tests[one.trial.number].value, 5) for name, one in choices.items() if one}}


def main() -> None:
    """Print one line of JSON a sample, and add it to the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rule", choices=("selection", "choice"))
    parser.add_argument("data", type=Path, help="folder with one folder a data set")
    parser.add_argument("--set", dest="sets", nargs="+", required=True)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 4000], help="training rows")
    parser.add_argument("--seeds", type=int, nargs=2, default=[0, 5], help="the first one, and the one after the last")
    parser.add_argument("--trials", type=int, default=8, help="candidates besides the baselines (choice)")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(*given.seeds):
        for name in given.sets:
            for rows in given.rows:
                more = (given.trials,) if given.rule == "choice" else ()
                found = (choice if given.rule == "choice" else selection)(name, given.data, rows, seed, *more)
                line = json.dumps({"rule": given.rule, "set": name, "rows": rows, "seed": seed, **found})
                print(line, flush=True)
                if given.out:
                    with given.out.open("a") as file:
                        file.write(line + "\n")


if __name__ == "__main__":
    main()
