"""`run`: a table in, a verified bundle out. Each stage is a function from records to a record; this file only puts them in order."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.errors import InfrastructureError, InterruptedRun, SearchError
from autorec_kernel.recipe import Recipe
from autorec_kernel.stages.workplace import Reporter, Silent, Workplace, make_folder

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.records.dataset import Dataset
    from autorec_kernel.records.trial import SearchResult, Trial
    from autorec_kernel.search.loop import Search
    from autorec_kernel.stages.evaluate import Measured

__all__ = ["plan_run", "run"]

_log = logging.getLogger(__name__)
HISTORY = 1000  # longest history kept in a feature set
_NEEDED = ("feature-op", "model-block", "blueprint", "evaluator", "search-strategy")


def run(
    source: Any,
    recipe: Recipe,
    kernel: Kernel,
    folder: Path,
    *,
    users: Any = None,
    items: Any = None,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Run the whole road and return what `result.json` holds.

    Args:
        source: Table of interactions: a path, or a frame.
        recipe: What to do.
        folder: Run folder; made if need be.
        users, items: Tables with one row a user, an item.
        resume: Go on with the run in `folder`; a finished run is returned as it is.
        reporter: Told how the run goes.

    Raises:
        PluginError: A kind of component that the road needs is not installed.
        DataError: The table cannot be used.
        SearchError: No candidate could be evaluated.
        InfrastructureError: The folder cannot be written, is in use, or holds another run.
        InterruptedRun: Ctrl-C; the run can be resumed.
    """
    from autorec_kernel.search.journal import Journal

    kernel.require(*_NEEDED)
    make_folder(folder)
    if (folder / "journal.jsonl").exists() and not resume:
        raise InfrastructureError("this folder holds a run already", where=str(folder), hint="add --resume to go on with it, or choose another --out")
    with Journal.open(folder / "journal.jsonl") as journal:
        place = Workplace(folder, recipe, kernel, journal, reporter or Silent(), device=_device(recipe))
        place.spent = _spent(journal.records())
        journal.append("session_started", time=time.time(), spent=place.spent)
        try:
            return _stages(place, source, users, items)
        except KeyboardInterrupt:
            hint = f"autorec run … --out {folder} --resume"
            raise InterruptedRun("the run was stopped; everything finished is kept", where=str(folder), hint=hint) from None
        finally:
            journal.append("session_ended", elapsed=place.elapsed(), time=time.time())


def plan_run(source: Any, recipe: Recipe, kernel: Kernel, *, users: Any = None, items: Any = None) -> dict[str, Any]:
    """Return what a run would do, without training anything: data, protocol, blueprints, strategy, budget (`--dry-run`)."""
    from autorec_kernel.features import build_features
    from autorec_kernel.search.genes import assemble_space, offers
    from autorec_kernel.stages.search import limits_of, metric_of, strategy_of, workers_of

    kernel.require(*_NEEDED)
    dataset = _open(source, recipe, kernel, users, items)
    features = build_features(dataset, kernel, seed=recipe.seed, history_length=HISTORY, task=recipe.task)
    fitting = offers(kernel, recipe.task, features.schema)
    space = assemble_space(kernel, fitting, features.schema, recipe.evaluator)
    place: Any = Workplace(Path(), recipe, kernel, None, Silent(), device=_device(recipe))  # type: ignore[arg-type]
    return {
        "task": recipe.task,
        "metric": metric_of(place),
        "protocol": {"id": dataset.protocol.id, "reason": dataset.protocol.reason},
        "rows": {"train": dataset.train.rows, "valid": dataset.valid.rows, "test": dataset.test.rows},
        "features": [row for row in features.plan],
        "blueprints": [{"id": offer.id, "baseline": offer.baseline, "fits": not offer.reason, "reason": offer.reason} for offer in fitting],
        "space": {"genes": len(space), "size": None if space.size == float("inf") else space.size},
        "strategy": strategy_of(place),
        "workers": workers_of(place),
        "device": place.device,
        "limits": limits_of(place),
        "budget": {"seconds": recipe.seconds, "trials": recipe.trials},
        "notes": list(dataset.notes),
    }


def _stages(place: Workplace, source: Any, users: Any, items: Any) -> dict[str, Any]:
    from autorec_kernel.stages.search import search, submitting

    with place.stage("data", "reading the table"):
        dataset = _open(source, place.recipe, place.kernel, users, items)
        finished = _check_same(place, dataset)
        _keep_splits(place, dataset)
    if finished is not None:
        return finished
    with place.stage("features", "building features"):
        features = _features(place, dataset, place.folder / "features")
    with place.stage("search", "searching"), submitting(place, features) as submit:
        found, state = search(place, features, submit)
    return _finish(place, dataset, features, found, state)


def _finish(place: Workplace, dataset: Dataset, features: FeatureSet, found: SearchResult, state: Search) -> dict[str, Any]:
    from autorec_kernel.deploy.graph_network import GraphNetwork
    from autorec_kernel.search.choose import choose
    from autorec_kernel.stages import evaluate as judge
    from autorec_kernel.stages.deploy import bundle_of, deploy, plan_compression
    from autorec_kernel.stages.result import clean, plugin_versions

    chosen = choose(found.trials, list(state.baselines), lambda one, other: judge.trial_comparison(place, features, one, other))
    if chosen is None:
        raise SearchError(_why_nothing(found), where=str(place.folder), hint="autorec status " + str(place.folder))
    with place.stage("evaluate", "refitting on all rows before the test part"):
        validated = judge.restored(place, features, chosen.trial)
    with place.stage("deploy", "planning the compression"):
        steps = plan_compression(place, features, validated)
    with place.stage("evaluate", "refitting on all rows before the test part"):
        dataset.test.fix_plan(judge.plan_digest(chosen.trial, steps))
        final = _features(place, dataset.final(), None)
        model = judge.refit(place, final, chosen.trial)
    with place.stage("deploy", "compressing"):
        deployed = deploy(place, final, model, steps)
    with place.stage("evaluate", "measuring on the test rows"):
        state_before_test = final.state()
        final.open_test(dataset.test.open("the float and the compressed model of this run"))
        place.journal.append("test_opened", reason=dataset.test.openings[-1])
        tests = {
            "best": judge.measure(model.module, final, place),
            "compressed": judge.measure(GraphNetwork(deployed.compressed.model.model.module, deployed.compressed.model.graph or b""), final, place),
        }
        baselines = _baselines(place, final, found, state, tests["compressed"])
    with place.stage("deploy", "writing the bundle"):
        assert final.state() is state_before_test
        metrics = {"valid": clean(chosen.trial.metrics), "test": clean(tests["compressed"].metrics)}
        bundle = bundle_of(place, dataset, final, deployed, metrics, plugin_versions(place), steps)  # type: ignore[arg-type]
    result = _result(place, dataset, features, found, chosen, steps, deployed, tests, baselines, bundle)
    place.write_json("result.json", result)
    place.journal.append("finished", bundle=bundle.digest, trial=chosen.trial.number)
    return result


def _result(
    place: Workplace,
    dataset: Dataset,
    features: FeatureSet,
    found: SearchResult,
    chosen: Any,
    steps: list[dict[str, Any]],
    deployed: Any,
    tests: Mapping[str, Measured],
    baselines: Mapping[str, Any],
    bundle: Any,
) -> dict[str, Any]:
    from autorec_kernel.stages.result import RESULT_VERSION, clean, plugin_versions, stage_seconds, status_counts, trial_row
    from autorec_kernel.stages.search import metric_of, strategy_of

    protocol = dataset.protocol
    sizes = {"before": deployed.float_model.bytes, "after": deployed.compressed.bytes}
    return {
        "version": RESULT_VERSION,
        "task": place.recipe.task,
        "metric": metric_of(place),
        "protocol": {
            "id": protocol.id,
            "split": protocol.split,
            "clock": protocol.clock,
            "deduplicate": protocol.deduplicate,
            "positive_threshold": protocol.positive_threshold,
            "reason": protocol.reason,
        },
        "seed": place.recipe.seed,
        "strategy": strategy_of(place),
        "recipe": place.recipe.model_dump(mode="json"),
        "data": {
            "fingerprint": dataset.fingerprint,
            "rows": {"train": dataset.train.rows, "valid": dataset.valid.rows, "test": dataset.test.rows},
            "users": max(0, features.schema.users - 1),
            "items": max(0, features.schema.items - 1),
        },
        "stages": stage_seconds(place),
        "baselines": dict(baselines),
        "best": {
            **trial_row(chosen.trial),
            "chosen": chosen.to_json(),
            "test": clean(tests["best"].metrics),
            "test_interval": tests["best"].interval,
            "test_counts": dict(tests["best"].counts),
        },
        "compressed": {
            "steps": steps,
            "test": clean(tests["compressed"].metrics),
            "test_interval": tests["compressed"].interval,
            "bytes": sizes,
            "latency_ms": {name: dict(values) for name, values in deployed.latency.items()},
        },
        "verdict": _verdict(baselines, metric_of(place)),
        "trials": status_counts(found),
        "front": [trial_row(trial) for trial in found.front],
        "search": {"stopped_by": found.stopped_by, "trials": len(found.trials)},
        "plugins": plugin_versions(place),
        "bundle": {"path": "bundle", "content_digest": bundle.digest, "bytes": bundle.size},
        "notes": [*dataset.notes, *place.notes],
    }


def _baselines(place: Workplace, final: FeatureSet, found: SearchResult, state: Search, served: Measured) -> dict[str, Any]:
    from autorec_kernel.stages.evaluate import compare_quality, measure, refit
    from autorec_kernel.stages.result import baseline_row

    rows: dict[str, Any] = {}
    for number, name in state.baselines.items():
        trial = found.trials[number]
        test = measure(refit(place, final, trial).module, final, place) if trial.status == "complete" else None
        difference = compare_quality(served.quality, test.quality, place.recipe.seed) if test else None
        rows[name] = baseline_row(trial, test, difference)
    for record in place.journal.records():
        if record["kind"] == "skipped":
            rows[record["component"]] = {"status": "skipped", "valid": None, "test": None, "served_minus_this": None, "error": record["reason"]}
    return rows


def _verdict(baselines: Mapping[str, Any], metric: str) -> str:
    """Return one sentence: is the served model better than the best simple one on the test rows?"""
    judged = {name: row for name, row in baselines.items() if row.get("served_minus_this")}
    if not judged:
        return "no baseline could be compared with on the test rows"
    name, row = min(judged.items(), key=lambda entry: entry[1]["served_minus_this"]["difference"])
    found = row["served_minus_this"]
    low, high = found["low"], found["high"]
    if low is not None and low > 0:
        return f"better than the best baseline ({name}) on {metric}, 95 % interval of the difference {low:.4f} to {high:.4f}"
    if high is not None and high < 0:
        return f"worse than the baseline {name} on {metric}, 95 % interval of the difference {low:.4f} to {high:.4f}"
    return f"no better than the best baseline ({name}) on {metric} with confidence: 95 % interval of the difference {low} to {high}"


def _open(source: Any, recipe: Recipe, kernel: Kernel, users: Any, items: Any) -> Dataset:
    from autorec_kernel.data import open_dataset

    return open_dataset(
        source,
        users=users,
        items=items,
        task=recipe.task,
        roles=recipe.roles,
        kinds=recipe.kinds,
        protocol=recipe.protocol,
        positive_threshold=recipe.positive_threshold,
        deduplicate=recipe.deduplicate,
        seed=recipe.seed,
        kernel=kernel,
    )


def _features(place: Workplace, dataset: Dataset, folder: Path | None) -> FeatureSet:
    from autorec_kernel.features import build_features

    return build_features(
        dataset,
        place.kernel,
        folder=folder,
        seed=place.recipe.seed,
        budget_seconds=place.share("features"),
        history_length=HISTORY,
        task=place.recipe.task,
    )


def _check_same(place: Workplace, dataset: Dataset) -> dict[str, Any] | None:
    """Write the run's identity, or compare it with what the journal says; return the result of a finished run."""
    from autorec_kernel.stages.result import plugin_versions

    budgets = {"budget", "trials", "workers"}
    stated = place.recipe.model_dump(mode="json")
    mine = {
        "recipe": {key: value for key, value in stated.items() if key not in budgets},
        "data": dataset.fingerprint,
        "protocol": dataset.protocol.id,
        "plugins": plugin_versions(place),
        "device": place.device,
    }
    recorded = next((record for record in place.journal.records() if record["kind"] == "run"), None)
    if recorded is None:
        place.journal.append("run", **json.loads(json.dumps(mine)))
        return None
    changed = [key for key, value in json.loads(json.dumps(mine)).items() if recorded.get(key) != value]
    if changed:
        told = "; ".join(f"{key}: was {recorded.get(key)}, is {mine[key]}" for key in changed)
        raise InfrastructureError(f"this folder holds another run: {told}"[:1500], where=str(place.folder), hint="choose another --out")
    ended = any(record["kind"] == "finished" for record in place.journal.records())
    path = place.folder / "result.json"
    if not ended or not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    asked = {key: stated[key] for key in ("budget", "trials")}
    return found if {key: found["recipe"][key] for key in asked} == asked else None


def _keep_splits(place: Workplace, dataset: Dataset) -> None:
    folder = place.folder / "splits"
    folder.mkdir(exist_ok=True)
    digests = {}
    for name, rows in dataset.row_ids.items():
        values = np.asarray(rows, dtype=np.int64)
        np.save(folder / f"{name}.npy", values, allow_pickle=False)
        digests[name] = hashlib.sha256(values.tobytes()).hexdigest()[:16]
    place.write_json("splits/protocol.json", {"id": dataset.protocol.id, "reason": dataset.protocol.reason, "digests": digests})


def _device(recipe: Recipe) -> str:
    if recipe.device == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if recipe.device == "cuda":
        raise InfrastructureError("device cuda was asked for, and torch finds none", hint="--device auto falls back to the CPU")
    return "cpu"


def _spent(records: Any) -> float:
    return max((float(record.get("elapsed", 0.0)) for record in records if record["kind"] == "session_ended"), default=0.0)


def _why_nothing(found: SearchResult) -> str:
    reasons: dict[str, int] = {}
    trial: Trial
    for trial in found.trials:
        last = trial.error.strip().splitlines()[-1] if trial.error.strip() else ""
        key = f"{trial.status}: {last}"[:160]
        reasons[key] = reasons.get(key, 0) + 1
    return "no candidate could be evaluated (" + "; ".join(f"{count} x {reason}" for reason, count in sorted(reasons.items())) + ")"


