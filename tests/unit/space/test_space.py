from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorec_kernel.errors import UnknownNameError, UsageError
from autorec_kernel.space import Bool, Choice, Float, Gene, Genotype, Int, Ints, SearchSpace

DOMAINS = (Bool(), Choice("x", "y", "z"), Int(0, 3), Int(1, 4, log=True), Choice("only"), Ints(Int(0, 1), length=Int(0, 2)))


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """Draw small finite forests."""
    genes: list[Gene] = []
    for i in range(draw(st.integers(0, 5))):
        domain = draw(st.sampled_from(DOMAINS))
        default = draw(st.sampled_from(list(domain.values())))
        parents = [gene for gene in genes if not isinstance(gene.domain, Ints)]
        parent = draw(st.sampled_from([None, *parents]))
        if parent is None:
            genes.append(Gene(f"g{i}", domain, default))
        else:
            when = draw(st.lists(st.sampled_from(list(parent.domain.values())), min_size=1, unique=True))
            genes.append(Gene(f"g{i}", domain, default, parent.name, tuple(when)))
    return SearchSpace(genes)


def brute_force(space: SearchSpace) -> set[Genotype]:
    """Return the canonical form of every combination of values, active or not."""
    combinations = itertools.product(*(list(gene.domain.values()) for gene in space.genes))
    return {space.canonical(dict(zip(space, row, strict=True))) for row in combinations}


@settings(max_examples=100, deadline=None)
@given(spaces())
def test_size_and_points_agree_with_brute_force(space: SearchSpace) -> None:
    points = list(space.points())
    assert len(points) == len(set(points)) == space.size
    assert set(points) == brute_force(space)


@settings(max_examples=150, deadline=None)
@given(spaces(), st.integers(0, 2**32))
def test_every_move_stays_inside_the_space(space: SearchSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = space.sample(rng), space.sample(rng)
    for found in (a, b, space.default(), space.mutate(a, rng), space.mutate(a, rng, 3), space.crossover(a, b, rng)):
        space.check(found)
        assert list(found) == [name for name in space if name in found]


@settings(max_examples=150, deadline=None)
@given(spaces(), st.integers(0, 2**32))
def test_a_mutation_changes_something_whenever_it_can(space: SearchSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    genotype = space.sample(rng)
    movable = any(space[name].domain.size > 1 for name in genotype)
    assert (space.mutate(genotype, rng) != genotype) == movable


@settings(max_examples=150, deadline=None)
@given(spaces(), st.integers(0, 2**32))
def test_a_child_takes_every_value_from_a_parent(space: SearchSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = space.sample(rng), space.sample(rng)
    child = space.crossover(a, b, rng)
    assert all(value in (a.get(name), b.get(name)) for name, value in child.items())
    assert space.crossover(a, a, rng) == a


@settings(max_examples=150, deadline=None)
@given(spaces(), st.integers(0, 2**32))
def test_canonical_is_idempotent_and_json_reads_back(space: SearchSpace, seed: int) -> None:
    genotype = space.sample(np.random.default_rng(seed))
    assert space.canonical(genotype) == genotype
    assert space.canonical(json.loads(json.dumps(genotype.to_json()))) == genotype
    again = SearchSpace.from_json(json.loads(json.dumps(space.to_json())))
    assert (again, again.digest) == (space, space.digest)


@settings(max_examples=100, deadline=None)
@given(spaces(), st.integers(0, 2**32))
def test_fixing_genes_leaves_exactly_the_points_with_their_values(space: SearchSpace, seed: int) -> None:
    chosen = space.sample(np.random.default_rng(seed))
    some = dict(list(chosen.items())[::2])
    fixed = space.fix(some)
    expected = {point for point in space.points() if all(name not in point or point[name] == value for name, value in some.items())}
    assert set(fixed.points()) == expected


def test_the_same_generator_gives_the_same_moves(mixed: SearchSpace) -> None:
    def moves(seed: int) -> list[Genotype]:
        rng = np.random.default_rng(seed)
        a, b = mixed.sample(rng), mixed.sample(rng)
        return [a, b, mixed.mutate(a, rng, 2), mixed.crossover(a, b, rng)]

    assert moves(3) == moves(3)
    assert moves(3) != moves(4)


def test_draws_cover_the_space_evenly_gene_by_gene(tree: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    drawn = [tree.sample(rng) for _ in range(3000)]
    counts = [sum(g["model"] == model for g in drawn) for model in ("mf", "gru", "none")]
    assert sum((count - 1000) ** 2 / 1000 for count in counts) < 14  # 99.9 % quantile of χ²(2)
    assert set(drawn) == set(tree.points())


def test_the_size_of_the_example_is_known(tree: SearchSpace, mixed: SearchSpace) -> None:
    assert tree.size == 2 * (4 + (1 + 7 + 7 * 2) + 1)
    assert mixed.size == math.inf


def test_size_is_exact_where_floats_would_round() -> None:
    space = SearchSpace(Gene(f"g{i}", Int(0, 9), 0) for i in range(400))
    assert space.size == 10**400
    assert SearchSpace([*space.genes, Gene("x", Float(0, 1), 0.5)]).size == math.inf


def test_a_space_without_genes_has_one_point() -> None:
    empty = SearchSpace()
    assert (empty.size, list(empty.points()), empty.default()) == (1, [Genotype()], Genotype())
    assert empty.mutate(Genotype(), np.random.default_rng(0)) == Genotype()


def test_canonical_drops_what_is_inactive_and_fills_what_is_missing(tree: SearchSpace) -> None:
    found = tree.canonical({"batch": 256, "gru.layers": 2, "gru.tied": False, "mf.rank": 4, "model": "gru"})
    assert dict(found) == {"model": "gru", "gru.layers": 2, "gru.dims": (1, 2), "batch": 256}
    assert list(found) == ["model", "gru.layers", "gru.dims", "batch"]
    assert tree.active({"model": "none"}) == ("model", "batch")


def test_a_changed_parent_wakes_its_subtree(tree: SearchSpace) -> None:
    start = tree.canonical({"model": "mf"})
    moved = [tree.mutate(start, np.random.default_rng(seed), genes=3) for seed in range(50)]
    woken = {tuple(g) for g in moved if g["model"] == "gru"}
    assert any("gru.dims" in names for names in woken)
    assert all("mf.rank" not in names for names in woken)


def test_genes_that_stay_active_keep_their_values(tree: SearchSpace) -> None:
    start = tree.canonical({"model": "gru", "gru.layers": 2, "gru.dims": (2, 2)})
    moved = [tree.mutate(start, np.random.default_rng(seed)) for seed in range(60)]
    deeper = [g for g in moved if g.get("gru.layers") == 3]
    assert deeper
    assert all(g["gru.dims"] == (2, 2) for g in deeper)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modle": "mf"}, "did you mean 'model'"),
        ({"model": "gr"}, "not in Choice"),
        ({"mf.rank": 5}, "not in Int"),
        ({"gru.layers": 1}, "inactive under 'model'"),
        ({"batch": 128.0}, "not in Choice"),
    ],
)
def test_check_says_what_is_wrong(tree: SearchSpace, change: dict[str, object], message: str) -> None:
    bad = Genotype({**tree.default(), **change})
    with pytest.raises(UsageError, match=message):
        tree.check(bad)
    assert not tree.admits(bad)


def test_check_misses_an_active_gene_without_value(tree: SearchSpace) -> None:
    with pytest.raises(UsageError, match="active but has no value"):
        tree.check(Genotype({"model": "mf", "batch": 128}))


def test_an_int_where_a_float_belongs_is_not_canonical(mixed: SearchSpace) -> None:
    space = SearchSpace([Gene("x", Float(0, 2), 1)])
    with pytest.raises(UsageError, match="wrong type"):
        space.check(Genotype({"x": 1}))
    assert space.canonical({"x": 1})["x"] == 1.0
    assert mixed.admits(mixed.default())


def test_sampling_new_points_visits_a_small_space_completely(tree: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    known: set[Genotype] = set()
    for _ in range(int(tree.size)):
        known.add(tree.sample_new(rng, known))
    assert known == set(tree.points())
    assert tree.sample_new(rng, known) in known


def test_fix_drops_genes_that_nothing_can_wake(tree: SearchSpace) -> None:
    fixed = tree.fix({"model": "gru", "gru.layers": 2, "gru.dims": [1]})
    assert list(fixed) == ["model", "gru.layers", "gru.dims", "batch"]
    assert dict(fixed.default()) == {"model": "gru", "gru.layers": 2, "gru.dims": (1,), "batch": 128}
    assert fixed.size == 2


def test_with_defaults_changes_only_the_defaults(tree: SearchSpace) -> None:
    changed = tree.with_defaults({"model": "gru", "gru.layers": 3})
    assert dict(changed.default()) == {"model": "gru", "gru.layers": 3, "gru.dims": (1, 2), "gru.tied": True, "batch": 128}
    assert (changed.size, list(changed)) == (tree.size, list(tree))
    with pytest.raises(UsageError, match=r"mf\.rank"):
        tree.with_defaults({"mf.rank": 9})
    with pytest.raises(UnknownNameError):
        tree.fix({"rank": 1})


@pytest.mark.parametrize(
    ("genes", "message"),
    [
        ([Gene("a", Bool(), True), Gene("a", Bool(), True)], "already has a gene"),
        ([Gene("b", Bool(), True, "a", (True,)), Gene("a", Bool(), True)], "not declared before"),
        ([Gene("a", Bool(), True), Gene("b", Bool(), True, "a", (1,))], "cannot be"),
        ([Gene("a", Float(0, 1), 0.5), Gene("b", Bool(), True, "a", (0.5,))], "not an Int, Bool or Choice"),
    ],
)
def test_an_illegal_forest_cannot_be_made(genes: list[Gene], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SearchSpace(genes)


def test_a_gene_is_checked_when_it_is_made() -> None:
    with pytest.raises(UsageError, match="gene 'a': the default 9 is not in Int"):
        Gene("a", Int(0, 3), 9)
    with pytest.raises(UsageError, match="go together"):
        Gene("a", Bool(), True, "b")
    with pytest.raises(UsageError, match="go together"):
        Gene("a", Bool(), True, when=(True,))


def test_the_digest_follows_names_domains_defaults_and_order(tree: SearchSpace) -> None:
    others = [
        tree.with_defaults({"batch": 256}),
        SearchSpace(reversed([gene for gene in tree.genes if gene.parent is None])),
        SearchSpace(gene for gene in tree.genes if gene.parent is None),
        tree.fix({"batch": 128}),
    ]
    assert len({tree.digest, *(other.digest for other in others)}) == 5
