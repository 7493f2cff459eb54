"""The judge of `retriever_accuracy`: opens the test part once and compares the scores that all models wrote for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autorec_kernel.evaluation import RankingResult, bootstrap_interval, evaluate_scores, paired_comparison
from autorec_kernel.features import FeatureSet
from autorec_kernel.features.evaluation import EvaluationSet
from benchmarks.peers.machine import facts_of_machine
from benchmarks.retriever_pairs import PAIRS, Ours

__all__ = ["METRIC", "judged", "longer", "table"]

METRIC, RECALL = "ndcg@10", "recall@10"


def longer(features: FeatureSet) -> tuple[np.ndarray, np.ndarray]:
    """Return the histories of the validation users with their validation item behind them."""
    asked = features.evaluation("valid")
    lists = np.split(asked.history_items, asked.history_offsets[1:-1])
    joined = [np.append(own, item) for own, item in zip(lists, asked.positive_items, strict=True)]
    return np.append(0, np.cumsum([len(own) for own in joined])), np.concatenate(joined)


def judged(folders: Sequence[Path], dataset: Any, features: FeatureSet) -> dict[str, Any]:
    """Open the test part, judge all, compare ours with their peers and with popularity.

    Args:
        folders: Scores of one training each; the values of a model that is in several are averaged user by user.
    """
    dataset.test.fix_plan("models, options and weights are chosen; their scores are written")
    features.open_test(dataset.test.open("final figures"))
    asked, rows = _asked_of(features)
    found = {stem: _mean(results) for stem, results in _results(folders, asked, rows).items()}
    models = {stem: _told(stem, folders, values) for stem, values in found.items()}
    peers = [stem for stem in models if not stem.startswith("ours-")]
    best = max(peers, key=lambda stem: float(models[stem]["valid"]), default="")  # the peers' best of all, on the validation rows
    pairs = {name: _pairs(name, ours, best, found) for name, ours in PAIRS.items() if f"ours-{name}" in found}
    left_out = len(features.evaluation("test")) - len(asked)
    about = {"users": len(asked), "left_out": left_out, "items": features.schema.items - 1, "events": features.schema.events}
    return {**about, "machine": facts_of_machine(), "models": models, "best": best, "pairs": pairs}


def _asked_of(features: FeatureSet) -> tuple[EvaluationSet, np.ndarray]:
    """Return the test users whose history is the one that was scored, and their rows in the score files.

    The others are left out: training does not know their validation item, so that a history cannot hold it.
    """
    before, after, (offsets, items) = features.evaluation("valid"), features.evaluation("test"), longer(features)
    scored = dict(zip(before.ids, np.split(items, offsets[1:-1]), strict=True))
    lists = np.split(after.history_items, after.history_offsets[1:-1])
    kept = [row for row, (user, own) in enumerate(zip(after.ids, lists, strict=True)) if np.array_equal(scored.get(user), own)]
    place = {user: row for row, user in enumerate(before.ids)}
    return after.take(np.array(kept)), np.array([place[after.ids[row]] for row in kept])


def _results(folders: Sequence[Path], asked: EvaluationSet, rows: np.ndarray) -> dict[str, list[RankingResult]]:
    """Judge every score file on the opened test rows."""
    found: dict[str, list[RankingResult]] = {}
    for file in (file for folder in folders for file in sorted(folder.glob("*-*.npy"))):
        result = evaluate_scores((METRIC, RECALL), asked.users, np.load(file)[rows], asked.positives, asked.seen)
        found.setdefault(file.stem, []).append(result)
    return found


def _mean(results: Sequence[RankingResult]) -> dict[str, np.ndarray]:
    return {name: np.mean([result.values[name] for result in results], axis=0) for name in (METRIC, RECALL)}


def _told(stem: str, folders: Sequence[Path], values: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return how a model was trained, with each seed, and what it found."""
    first, *others = (json.loads(file.read_text()) for file in (folder / f"{stem}.json" for folder in folders) if file.exists())
    interval = bootstrap_interval(values[METRIC], np.random.default_rng(0)).to_json()
    return {**first, "other_seeds": others, "test": interval, RECALL: float(values[RECALL].mean())}


def _pairs(name: str, ours: Ours, best: str, found: dict[str, dict[str, np.ndarray]]) -> dict[str, Any]:
    """Return the paired differences of one of our models with its namesakes, popularity and the peers' best."""
    own, others = found[f"ours-{name}"][METRIC], {*_namesakes(ours, found), "ours-popularity", best} & set(found)
    return {other: paired_comparison(own, found[other][METRIC], np.random.default_rng(0)).to_json() for other in sorted(others)}


def _namesakes(ours: Ours, found: dict[str, Any]) -> list[str]:
    """Return the peers' models that one of ours is compared with, those with a longer budget too."""
    return [stem for peer in ours.peers for stem in (peer, f"{peer}-long") if stem in found]


def table(result: dict[str, Any]) -> str:
    """Return the Markdown table of a result: values with their 95 % intervals, and paired differences."""
    lines = [
        "| ours | test NDCG@10 | peer | test NDCG@10 | ours - peer (95 %) | ours - popularity (95 %) | ours - the peers' best |",
        "|---|---|---|---|---|---|---|",
    ]
    models = result["models"]
    for name in result["pairs"]:
        for stem in _namesakes(PAIRS[name], models) or [""]:
            other = [stem, _figure(models[stem]["test"], "mean")] if stem else ["-", "-"]
            differences = [result["pairs"][name].get(against) for against in (stem, "ours-popularity", result["best"])]
            told = [_figure(one, "difference") if one else "-" for one in differences]
            lines.append(f"| {' | '.join([name, _figure(models[f'ours-{name}']['test'], 'mean'), *other, *told])} |")
    return "\n".join(lines)


def _figure(found: dict[str, float], value: str) -> str:
    sign = "+" if value == "difference" else ""
    return f"{found[value]:{sign}.4f} [{found['low']:{sign}.4f}, {found['high']:{sign}.4f}]"
