from __future__ import annotations

from autorec_kernel.search.fixed import fixed_genes
from autorec_kernel.space import Choice, Gene, Int, SearchSpace

GENES = (
    Gene("role", Choice("m", "n"), "m"),
    Gene("m.operation", Choice("network", "attention"), "network", "role", ("m",)),
    Gene("m.width", Choice(8, 16), 8, "m.operation", ("network", "attention")),
    Gene("m.heads", Choice(1, 2), 1, "m.operation", ("attention",)),
    Gene("m.placed", Int(0, 1), 0, "m.heads", (2,)),
)
OWNERS = {"m": ("role", ("m",))}


def test_fixing_a_parent_drops_the_genes_that_it_can_no_longer_wake() -> None:
    space = SearchSpace(fixed_genes(GENES, {"m.operation": "network"}, OWNERS))
    assert list(space) == ["role", "m.operation", "m.width"]
    assert space["m.width"].when == ("network",)
    assert space.size == 2 + 1


def test_fixing_a_child_keeps_its_condition() -> None:
    space = SearchSpace(fixed_genes(GENES, {"m.heads": 2}, OWNERS))
    assert list(space) == [gene.name for gene in GENES]
    assert space.canonical({"m.operation": "attention"})["m.heads"] == 2
    assert "m.heads" not in space.default()
