from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import numpy as np
import pytest
from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.space import Bool, Choice, Float, Gene, Int, Ints, SearchSpace, Under, config_values, genes_of


class Config(ComponentConfig):
    rank: Annotated[int, Int(4, 128, log=True)] = Field(16, description="Factor dimension.")
    rate: Annotated[float, Float(0, 1)] = Field(0, description="An int default becomes a float.")
    hidden_dims: Annotated[tuple[int, ...], Ints(Int(8, 64), length=Int(1, 3))] = Field((64, 32))
    activation: Annotated[str, Choice("relu", "gelu")] = "gelu"
    bias: bool = Field(True, description="Not searched.")


def test_annotated_fields_become_genes_in_field_order() -> None:
    genes = genes_of(Config, "deepfm", "model", ("deepfm",))
    assert [gene.name for gene in genes] == ["deepfm.rank", "deepfm.rate", "deepfm.hidden_dims", "deepfm.activation"]
    assert [gene.default for gene in genes] == [16, 0.0, (64, 32), "gelu"]
    assert {(gene.parent, gene.when) for gene in genes} == {("model", ("deepfm",))}


def test_a_genotype_gives_back_the_config() -> None:
    space = SearchSpace([Gene("model", Choice("m", "n"), "m"), *genes_of(Config, "m", "model", ("m",)), Gene("m.deep.rank", Int(1, 2), 1)])
    assert Config(**config_values(space.default(), "m")) == Config()
    genotype = space.fix({"model": "m"}).sample(np.random.default_rng(0))
    config = Config(**config_values(genotype, "m"))
    assert (config.rank, config.hidden_dims) == (genotype["m.rank"], genotype["m.hidden_dims"])


def test_without_a_prefix_names_are_field_names() -> None:
    space = SearchSpace(genes_of(Config, ""))
    assert list(space) == ["rank", "rate", "hidden_dims", "activation"]
    assert Config(**config_values(space.default(), "")) == Config()


def test_a_default_outside_its_domain_names_the_field() -> None:
    class Wrong(ComponentConfig):
        rank: Annotated[int, Int(4, 8)] = 16

    with pytest.raises(ContractError, match=r"Wrong\.rank: the default 16 is not in Int"):
        genes_of(Wrong, "m")


def test_a_searched_field_without_default_is_refused() -> None:
    class Required(ComponentConfig):
        deep: Annotated[bool, Bool()]

    with pytest.raises(ContractError, match="needs a default"):
        genes_of(Required, "m")


class Conditional(ComponentConfig):
    operation: Annotated[str, Choice("network", "attention", "mean")] = "network"
    width: Annotated[int, Choice(8, 16), Under("operation", "network", "attention")] = 16
    heads: Annotated[int, Choice(1, 2, 4), Under("operation", "attention")] = 1
    placed: Annotated[bool, Bool(), Under("heads", 2, 4)] = True


def test_a_field_under_another_is_a_gene_only_while_that_has_one_of_the_values() -> None:
    space = SearchSpace([Gene("model", Choice("m", "n"), "m"), *genes_of(Conditional, "m", "model", ("m",))])
    assert [(gene.name, gene.parent, gene.when) for gene in space.genes[1:]] == [
        ("m.operation", "model", ("m",)),
        ("m.width", "m.operation", ("network", "attention")),
        ("m.heads", "m.operation", ("attention",)),
        ("m.placed", "m.heads", (2, 4)),
    ]
    assert list(space.canonical({"m.operation": "mean"})) == ["model", "m.operation"]
    assert list(space.canonical({"m.operation": "attention", "m.heads": 2})) == [gene.name for gene in space.genes]
    assert space.size == len(list(space.points())) == 1 + (2 + 2 * (1 + 2 + 2) + 1)
    assert all(Conditional(**config_values(point, "m")) for point in space.points())


def test_without_a_prefix_a_condition_names_the_field() -> None:
    assert [gene.parent for gene in genes_of(Conditional, "")] == [None, "operation", "operation", "heads"]


@pytest.mark.parametrize("mark", [Under("operations", "a"), Under("operation", "c"), Under("operation"), Under("later", 1)])
def test_a_condition_that_no_earlier_searched_field_can_meet_names_the_field(mark: Under) -> None:
    class Wrong(ComponentConfig):
        operation: Annotated[str, Choice("a", "b")] = "a"
        heads: Annotated[int, Choice(1, 2), mark] = 1
        later: Annotated[int, Choice(1, 2)] = 1

    with pytest.raises(ContractError, match=r"Wrong\.heads: it is under"):
        genes_of(Wrong, "m")


def test_the_room_imports_neither_pydantic_nor_numpy() -> None:
    code = "import sys, autorec_kernel.space; print(sorted({'numpy', 'pydantic', 'torch', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
