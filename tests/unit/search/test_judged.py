"""An evaluator that judges a part of the space narrows what the run searches, and the run says what it left out."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import autorec_baselines.plugin
import autorec_blocks.plugin
import autorec_features.plugin
import autorec_search.plugin
import autorec_zoo.plugin
from autorec_kernel.errors import InterruptedRun, PluginError
from autorec_kernel.kernel import Kernel
from autorec_kernel.markers import hookimpl
from autorec_kernel.pipeline import run
from autorec_kernel.recipe import Recipe
from autorec_kernel.registry.spec import ComponentSpec
from autorec_kernel.search.genes import Offer
from autorec_kernel.search.journal import read_journal
from autorec_kernel.search.judged import judged
from autorec_kernel.space import Choice, Gene, Int, SearchSpace
from autorec_kernel.stages.workplace import Silent
from autorec_training.full import FullTraining

OFFERS = tuple(Offer(name, "ranker", False, True) for name in ("kit/a", "kit/b"))
SPACE = SearchSpace(
    [
        Gene("pipeline", Choice("ranker"), "ranker"),
        Gene("ranker", Choice("kit/a", "kit/b"), "kit/a", "pipeline", ("ranker",)),
        Gene("kit/a.layers", Int(1, 3), 1, "ranker", ("kit/a",)),
        Gene("kit/b.layers", Int(1, 3), 1, "ranker", ("kit/b",)),
    ]
)


class Judge:
    def __init__(self, answer: Callable[[SearchSpace], Any]) -> None:
        self.answer = answer

    def subspace(self, space: SearchSpace) -> Any:
        return self.answer(space)


def asked(answer: Callable[[SearchSpace], Any]) -> tuple[tuple[Offer, ...], SearchSpace]:
    return judged(Judge(answer), "kit/judge", OFFERS, SPACE)  # type: ignore[arg-type]


def test_the_whole_space_stays_as_it_is() -> None:
    assert asked(lambda space: space) == (OFFERS, SPACE)


def test_a_blueprint_that_is_left_out_has_the_evaluator_as_its_reason() -> None:
    offers, space = asked(lambda space: space.fix({"ranker": "kit/b"}))
    assert [offer.reason for offer in offers] == ["the evaluator kit/judge does not judge it", ""]
    assert "kit/a.layers" not in space


def broken(space: SearchSpace) -> SearchSpace:
    raise ValueError("no part of it")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (broken, "no part of it"),
        (lambda space: None, "returned NoneType"),
        (lambda space: SearchSpace([Gene("pipeline", Choice("other"), "other")]), "its default is no point of the whole space"),
    ],
)
def test_what_is_no_part_of_the_space_is_told_with_the_evaluator(answer: Callable[[SearchSpace], Any], told: str) -> None:
    with pytest.raises(PluginError, match=f"'kit/judge' cannot say what it judges.*{told}"):
        asked(answer)


class Narrow(FullTraining):
    """Judges retrievers without matrix factorisation alone."""

    def subspace(self, space: SearchSpace) -> SearchSpace:
        genes = [gene for gene in space.genes if not gene.name.startswith("zoo/mf.")]
        genes = [replace(gene, when=tuple(name for name in gene.when if name != "zoo/mf")) for gene in genes]
        kept = Choice(*(name for name in space["retriever"].domain.values() if name != "zoo/mf"))
        return SearchSpace(replace(gene, domain=kept, default="zoo/dssm") if gene.name == "retriever" else gene for gene in genes)


@hookimpl
def autorec_evaluators() -> tuple[ComponentSpec, ...]:
    return (ComponentSpec("narrow", f"{__name__}:Narrow", "Judges a part of the space."),)


class UntilTheEnd(Silent):
    def stage(self, name: str, text: str) -> None:
        if name == "evaluate":
            raise KeyboardInterrupt


def test_strategy_and_journal_see_the_part_that_the_evaluator_judges(tmp_path: Path) -> None:
    first_party = (autorec_baselines, autorec_blocks, autorec_features, autorec_search, autorec_zoo)
    plugins = {one.__name__.removeprefix("autorec_"): one.plugin for one in first_party}
    kernel = Kernel({**plugins, "kit": types.SimpleNamespace(autorec_evaluators=autorec_evaluators)})
    rows = [f"u{n % 40},i{(n * 7) % 30},{1 + n % 5},{1_600_000_000 + 60 * n}" for n in range(600)]
    (tmp_path / "events.csv").write_text("\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n")
    told = {"trials": 3, "strategy": "search/random", "blueprints": ("zoo/dssm", "zoo/mf"), "evaluator_options": {"epochs": 1}}
    recipe = Recipe(evaluator="kit/narrow", features="raw", device="cpu", **told)  # type: ignore[arg-type]
    with pytest.raises(InterruptedRun):
        run(tmp_path / "events.csv", recipe, kernel, tmp_path / "run", reporter=UntilTheEnd())
    records = read_journal(tmp_path / "run" / "journal.jsonl")
    (space,) = [record for record in records if record["kind"] == "space"]
    assert {row["id"]: row["reason"] for row in space["offers"]}["zoo/mf"] == "the evaluator kit/narrow does not judge it"
    tried = {row["genotype"]["retriever"] for record in records if record["kind"] == "batch" for row in record["proposals"]}
    assert "zoo/dssm" in tried and "zoo/mf" not in tried
