"""`run`: a table in, a verified bundle out. Each stage is a function from records to a record; this file only puts them in order."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autorec_kernel.errors import InfrastructureError, InterruptedRun
from autorec_kernel.files import remove_unfinished
from autorec_kernel.recipe import Recipe
from autorec_kernel.stages.workplace import Reporter, Silent, Workplace, make_folder

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel

__all__ = ["plan_run", "run"]

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
    from autorec_kernel.features.plan import free_memory
    from autorec_kernel.search.journal import Journal
    from autorec_kernel.search.tasks import threads_limited
    from autorec_kernel.stages.identity import spent_seconds
    from autorec_kernel.stages.prepare import device_of
    from autorec_kernel.stages.search import check_metric

    kernel.require(*_NEEDED)
    check_metric(recipe)
    make_folder(folder)
    if (folder / "journal.jsonl").exists() and not resume:
        raise InfrastructureError(
            "this folder holds a run already", where=str(folder), hint="add --resume to go on with it, or choose another --out"
        )
    with Journal.open(folder / "journal.jsonl") as journal:
        place = Workplace(folder, recipe, kernel, journal, reporter or Silent(), device=device_of(recipe))
        place.spent = spent_seconds(journal.records())
        remove_unfinished(folder)
        facts = {"spent": place.spent, "budget": recipe.seconds, "memory": free_memory(), **_paths(data=source, users=users, items=items)}
        journal.append("session_started", time=time.time(), **facts)
        try:
            with threads_limited(recipe.threads):
                return _stages(place, source, users, items)
        except KeyboardInterrupt:
            hint = f"autorec run … --out {folder} --resume"
            raise InterruptedRun("the run was stopped; everything finished is kept", where=str(folder), hint=hint) from None
        finally:
            with contextlib.suppress(InfrastructureError):  # a full disk has its own error on the way
                journal.append("session_ended", elapsed=place.elapsed(), time=time.time())


def plan_run(source: Any, recipe: Recipe, kernel: Kernel, *, users: Any = None, items: Any = None) -> dict[str, Any]:
    """Return what a run would do, without training anything: data, protocol, blueprints, strategy, budget (`--dry-run`)."""
    from autorec_kernel.features import build_features
    from autorec_kernel.search.presets import architectures
    from autorec_kernel.stages.prepare import HISTORY, device_of, open_table, ops_of
    from autorec_kernel.stages.search import check_metric, limits_of, metric_of, space_of, strategy_of, workers_of

    kernel.require(*_NEEDED)
    check_metric(recipe)
    dataset = open_table(source, recipe, kernel, users, items)
    features = build_features(dataset, ops_of(kernel, recipe), seed=recipe.seed, history_length=HISTORY, task=recipe.task)
    fitting, space = space_of(kernel, recipe, features.schema)
    place: Any = Workplace(Path(), recipe, kernel, None, Silent(), device=device_of(recipe))  # type: ignore[arg-type]
    return {
        "task": recipe.task,
        "metric": metric_of(place),
        "protocol": {"id": dataset.protocol.id, "reason": dataset.protocol.reason},
        "rows": {"train": dataset.train.rows, "valid": dataset.valid.rows, "test": dataset.test.rows},
        "features": [row for row in features.plan],
        "blueprints": [{"id": offer.id, "baseline": offer.baseline, "fits": not offer.reason, "reason": offer.reason} for offer in fitting],
        "space": {
            "preset": recipe.search_space,
            "genes": len(space),
            "size": None if space.size == float("inf") else space.size,
            "architectures": architectures(space),
        },
        "strategy": strategy_of(place),
        "workers": workers_of(place),
        "device": place.device,
        "limits": limits_of(place),
        "budget": {"seconds": recipe.seconds, "trials": recipe.trials},
        "notes": list(dataset.notes),
    }


def _paths(**tables: Any) -> dict[str, str]:
    """Return where the tables lie, of those that are files: what a replay of the run reads."""
    named = {name: Path(value) for name, value in tables.items() if isinstance(value, str | Path)}
    return {name: str(path.absolute() if path.exists() else path) for name, path in named.items()}


def _stages(place: Workplace, source: Any, users: Any, items: Any) -> dict[str, Any]:
    from autorec_kernel.stages.advice import advised
    from autorec_kernel.stages.identity import check_same, keep_splits
    from autorec_kernel.stages.prepare import audited, features_of, open_table, selected
    from autorec_kernel.stages.search import search, submitting

    with place.stage("data", "reading the table"):
        dataset = open_table(source, place.recipe, place.kernel, users, items)
        finished = check_same(place, dataset)
        keep_splits(place, dataset)
    if finished is not None:
        return finished
    with place.stage("features", "building features"):
        features = features_of(place, dataset, place.folder / "features")
        place.audit = audited(dataset, features, place.kernel, place.recipe, place.folder / "features").to_json()
        selected(features, place.kernel, place.recipe, place.folder / "features", share=place.first_share("features"))
        place.same("features", digest=features.digest)
        if features.fading.half_life:
            place.note(str(features.fading))
    with place.stage("search", "searching"), submitting(place, features) as submit:
        place.recipe = advised(place, features)
        found, state = search(place, features, submit)
    from autorec_kernel.stages.finish import finish

    return finish(place, dataset, features, found, state)
