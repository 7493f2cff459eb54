"""Inherited weights: candidates start from tables that were learned before, the same ones in every process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from autorec_kernel.contracts.evaluator import EvaluationContext, Rung
from autorec_kernel.models import NotFiniteError, build_network
from autorec_kernel.search.genes import decode
from autorec_kernel.space import Genotype
from autorec_supernet.inherited import Inherited
from autorec_supernet.options import InheritedOptions
from autorec_supernet.parents import note_tables, tables_of_parent
from autorec_supernet.stem import give, read_tables, refitted_stem, stem_genotype, tables_of

FULL = Rung(0, 1.0)
Context = Callable[..., EvaluationContext]
Point = Callable[..., Genotype]


def inherited(**options: Any) -> Inherited:
    told = {"candidates": 0, "width": 16, "full": {"epochs": 3, "batch_size": 256}, "batch_size": 256, "epochs": 2, **options}
    return Inherited(InheritedOptions(**told))


@pytest.fixture
def prepared(context: Context) -> EvaluationContext:
    given = context("supernet/inherited")
    return replace(given, artefacts=inherited().prepare(given))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, torch.Tensor]]]:
    """Collect the tables of each network as its training begins."""
    import autorec_training.full as module

    train, found = module.train, list[dict[str, torch.Tensor]]()

    def spy(*args: Any, begin: Any = None, **options: Any) -> Any:
        def begun(network: Any) -> None:
            begin(network)
            found.append(tables_of(network))

        return train(*args, begin=None if begin is None else begun, **options)

    monkeypatch.setattr(module, "train", spy)
    yield found


def stem_of(context: EvaluationContext) -> dict[str, torch.Tensor]:
    return dict(read_tables(context.folder / context.artefacts["stem-ranker"]))


@pytest.mark.parametrize("width", [8, 16, 32])
def test_training_begins_with_the_leading_columns_of_the_stem_bit_for_bit(
    prepared: EvaluationContext, point: Point, seen: list[dict[str, torch.Tensor]], width: int
) -> None:
    assert prepared.space is not None
    genotype = point(prepared.space, "zoo/deepfm", **{"zoo/deepfm.embedding_dim": width})
    found = inherited().evaluate(genotype, FULL, prepared)
    stem, (tables,) = stem_of(prepared), seen
    for name in ("user", "item"):
        columns = min(width, 16)
        assert torch.equal(tables[f"{width}:{name}"][:, :columns], stem[f"16:{name}"][:, :columns])
        assert torch.equal(tables[f"1:{name}"], stem[f"1:{name}"])
    assert found.details["inherited"]["from"] == "stem"
    assert {f"{width}:item", f"{width}:user", "1:item"} <= set(found.details["inherited"]["tables"])


def test_tables_of_width_one_are_never_cut_from_embeddings(prepared: EvaluationContext, point: Point) -> None:
    assert prepared.space is not None
    candidate = decode(point(prepared.space, "zoo/deepfm"), prepared.features.schema, prepared.kernel)
    network = build_network(candidate.architecture, candidate.features, prepared.kernel, seed=1)
    before = tables_of(network)
    rows = before["1:item"].shape[0]
    assert all(not name.startswith("1:") for name in give(network, {"16:item": torch.ones(rows, 16)}))
    assert torch.equal(tables_of(network)["1:item"], before["1:item"])
    assert give(network, {"16:item": torch.ones(rows + 1, 16)}) == []


def test_what_is_inherited_makes_a_difference_where_little_is_learned(context: Context, point: Point) -> None:
    """A factorization machine is its tables: steps too small to learn anything leave one at chance, and the other as good as the stem."""
    given = context("supernet/inherited", wanted=("zoo/fm",))
    assert given.space is not None
    told = {"stem_ranker": "zoo/fm", "full": {"epochs": 12, "batch_size": 64, "patience": 0}, "epochs": 1}
    learned = replace(given, artefacts=inherited(**told).prepare(given))
    genotype = point(given.space, "zoo/fm", **{"zoo/fm.embedding_dim": 16, "ranker.training.learning_rate": 1e-4})
    warm = inherited(**told).evaluate(genotype, FULL, learned).details["losses"][0]
    cold = given.kernel.create("evaluator", "training/full", epochs=1, batch_size=256).evaluate(genotype, FULL, given).details["losses"][0]
    assert warm < cold - 0.05


def test_a_rung_trains_its_share_of_the_few_epochs(prepared: EvaluationContext, point: Point) -> None:
    assert prepared.space is not None
    genotype = point(prepared.space, "zoo/deepfm")
    epochs = [inherited(epochs=4, patience=0).evaluate(genotype, rung, prepared).details["epochs"] for rung in (Rung(0, 0.5), Rung(1, 1.0))]
    assert epochs == [2, 4]


def test_evaluations_and_preparations_are_equal_when_repeated(context: Context, prepared: EvaluationContext, point: Point) -> None:
    assert prepared.space is not None
    assert dict(prepared.artefacts) == dict(inherited().prepare(replace(prepared, artefacts={})))
    genotype = point(prepared.space, "zoo/deepfm")
    first, second = (inherited().evaluate(genotype, FULL, prepared) for _ in range(2))
    assert (first.metrics, first.details) == (second.metrics, second.details)
    assert inherited().evaluate(genotype, FULL, replace(prepared, trial=9)).details["weights"] != first.details["weights"]


def test_a_child_starts_from_its_parent_where_its_weights_are_kept_and_else_from_the_stem(
    prepared: EvaluationContext, point: Point, seen: list[dict[str, torch.Tensor]]
) -> None:
    assert prepared.space is not None
    evaluator = inherited(from_parent=True, patience=0)
    parent = evaluator.evaluate(point(prepared.space, "zoo/deepfm"), FULL, prepared)
    model = evaluator.restore(point(prepared.space, "zoo/deepfm"), parent.artefacts, prepared)
    assert model is not None
    child = replace(prepared, trial=4, parent=3)
    found = evaluator.evaluate(point(prepared.space, "zoo/dcn"), FULL, child)
    kept = tables_of(model.module)
    width = next(int(name.split(":")[0]) for name in kept if name.endswith(":item") and not name.startswith("1:"))
    assert torch.equal(seen[-1][f"{width}:item"], kept[f"{width}:item"])
    best = parent.details["inherited"]["epochs"] + parent.details["best_epoch"]
    assert (found.details["inherited"]["from"], found.details["inherited"]["epochs"]) == ("trial 3", best)
    (prepared.folder / parent.artefacts["weights"]).unlink()
    assert evaluator.evaluate(point(prepared.space, "zoo/dcn"), FULL, child).details["inherited"]["from"] == "stem"


def test_parents_are_passed_over_unless_asked_for(prepared: EvaluationContext, point: Point) -> None:
    assert prepared.space is not None
    inherited(from_parent=True).evaluate(point(prepared.space, "zoo/deepfm"), FULL, prepared)
    found = inherited().evaluate(point(prepared.space, "zoo/dcn"), FULL, replace(prepared, trial=4, parent=3))
    assert found.details["inherited"]["from"] == "stem"


def test_a_judged_model_comes_back_and_is_refitted_from_a_stem_of_all_rows(
    prepared: EvaluationContext, point: Point, seen: list[dict[str, torch.Tensor]]
) -> None:
    assert prepared.space is not None
    genotype = point(prepared.space, "zoo/deepfm")
    found = inherited().evaluate(genotype, FULL, prepared)
    model = inherited().restore(genotype, found.artefacts, replace(prepared, artefacts={}, space=None))
    assert model is not None
    stored = np.load(prepared.folder / found.artefacts["values"])
    assert np.array_equal(inherited().full(prepared)._judge(model.module, prepared)[1], stored)  # type: ignore[attr-defined]
    inherited().refit(genotype, found.details, replace(prepared, artefacts={}, space=None))
    facts, own = found.details["inherited"], stem_genotype("ranker", "zoo/deepfm", 16)
    stem = refitted_stem(own, facts["epochs"], {"epochs": 3, "batch_size": 256}, prepared)
    assert torch.equal(seen[-1]["16:item"], stem["16:item"])


def test_a_refit_trains_its_stem_for_as_many_epochs_as_the_trial_says(
    prepared: EvaluationContext, point: Point, seen: list[dict[str, torch.Tensor]]
) -> None:
    assert prepared.space is not None
    told = {"inherited": {"epochs": 3}, "best_epoch": 1}
    inherited().refit(point(prepared.space, "zoo/deepfm"), told, replace(prepared, artefacts={}, space=None))
    own = stem_genotype("ranker", "zoo/deepfm", 16)
    short, long = (refitted_stem(own, epochs, {"epochs": 3, "batch_size": 256}, prepared)["16:item"] for epochs in (1, 3))
    assert torch.equal(seen[-1]["16:item"], long) and not torch.equal(short, long)


def test_a_parent_gives_the_tables_of_its_highest_rung_that_is_kept(prepared: EvaluationContext) -> None:
    for rung in (2, 10, 0):
        save_file({"stores.4.weight": torch.full((5, 4), float(rung))}, prepared.folder / f"weights-7-{rung}.safetensors")
        note_tables({"4:item": (1, 3)}, f"weights-7-{rung}.safetensors", rung, Rung(rung, 1.0), replace(prepared, trial=7))
    child = replace(prepared, trial=8, parent=7)
    for rung in (10, 2, 0):
        found = tables_of_parent(child)
        assert found is not None and found.epochs == rung
        assert torch.equal(found.tables["4:item"], torch.full((3, 4), float(rung)))
        (prepared.folder / f"weights-7-{rung}.safetensors").unlink()
    assert tables_of_parent(child) is None


@pytest.mark.parametrize("task", ["rate", "recommend"])
def test_every_task_has_a_stem(context: Context, point: Point, task: str) -> None:
    wanted = ("zoo/mf", "zoo/dssm") if task == "recommend" else ("zoo/deepfm", "zoo/dcn")
    given = context("supernet/inherited", task, wanted)
    given = replace(given, artefacts=inherited().prepare(given))
    assert given.space is not None
    found = inherited().evaluate(point(given.space, wanted[1]), FULL, given)
    assert (found.status, found.details["judged"]["by"]) == ("complete", "supernet/inherited")


def test_closed_forms_and_what_was_not_prepared_are_trained_in_full(context: Context, point: Point) -> None:
    given = context("supernet/inherited", "recommend", ("zoo/mf", "baselines/ease"))
    assert given.space is not None
    told = inherited().evaluate(point(given.space, "zoo/mf"), FULL, given).details["judged"]
    assert told == {"by": "training/full", "because": "nothing was prepared"}
    given = replace(given, artefacts=inherited().prepare(given))
    told = inherited().evaluate(point(given.space, "baselines/ease"), FULL, given).details["judged"]
    assert (told["by"], told["because"]) == ("training/full", "nothing of it learns by gradient")


@pytest.mark.parametrize("error", [NotFiniteError("the loss is nan"), MemoryError()])
def test_a_stem_that_diverges_leads_to_full_training(
    context: Context, point: Point, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fails(*args: Any) -> Any:
        raise error

    given = context("supernet/inherited")
    assert given.space is not None
    with monkeypatch.context() as patch:
        patch.setattr("autorec_supernet.inherited.learned_stem", fails)
        made = inherited().prepare(given)
    told = inherited().evaluate(point(given.space, "zoo/deepfm"), FULL, replace(given, artefacts=made)).details["judged"]
    assert told == {"by": "training/full", "because": "nothing was prepared"}


def test_the_options_that_are_genes_are_those_of_full_training() -> None:
    from autorec_kernel.space.config_genes import genes_of
    from autorec_training.full import FullTraining

    one, other = (genes_of(kind, "x", "ranker", ("a",)) for kind in (InheritedOptions, FullTraining.Config))
    assert [gene.to_json() for gene in one] == [gene.to_json() for gene in other]
