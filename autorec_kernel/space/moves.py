"""Moves inside a space: mutation, crossover, listing and drawing without repeats; each a function of its arguments and the `rng`."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import TYPE_CHECKING

from autorec_kernel.space.domain import Value, same_value
from autorec_kernel.space.genotype import Genotype

if TYPE_CHECKING:
    import numpy as np

    from autorec_kernel.space.gene import Gene
    from autorec_kernel.space.space import SearchSpace

__all__ = ["crossover", "mutate", "points", "sample_new"]

_DRAWS = 64
_LISTED = 4096


def mutate(space: SearchSpace, genotype: Genotype, rng: np.random.Generator, genes: int) -> Genotype:
    """Change `genes` of the active genes that have another value to go to; see `SearchSpace.mutate`."""
    movable = [name for name in genotype if space[name].domain.size > 1]
    chosen = {movable[int(i)] for i in rng.permutation(len(movable))[:genes]}
    values: dict[str, Value] = {}
    for gene in space.genes:
        if not space.awake(gene, values):
            continue
        if gene.name not in genotype:
            values[gene.name] = gene.domain.sample(rng)
        elif gene.name in chosen:
            values[gene.name] = gene.domain.mutate(genotype[gene.name], rng)
        else:
            values[gene.name] = genotype[gene.name]
    return Genotype(values)


def crossover(space: SearchSpace, a: Genotype, b: Genotype, rng: np.random.Generator) -> Genotype:
    """Take every gene from `a` or `b`; see `SearchSpace.crossover`."""
    source: dict[str, Genotype] = {}
    values: dict[str, Value] = {}
    for gene in space.genes:
        if not space.awake(gene, values):
            continue
        source[gene.name] = (a if rng.random() < 0.5 else b) if _shared(gene, a, b) else source[str(gene.parent)]
        values[gene.name] = source[gene.name][gene.name]
    return Genotype(values)


def _shared(gene: Gene, a: Mapping[str, Value], b: Mapping[str, Value]) -> bool:
    """Return whether both parents have the gene under the same condition, so that either value fits."""
    if gene.parent is None:
        return True
    return gene.parent in a and gene.parent in b and same_value(a[gene.parent], b[gene.parent])


def points(space: SearchSpace) -> Iterator[Genotype]:
    """Yield every canonical genotype, the last gene moving fastest."""
    return map(Genotype, _grown(space, space.genes, {}))


def _grown(space: SearchSpace, rest: tuple[Gene, ...], values: dict[str, Value]) -> Iterator[dict[str, Value]]:
    if not rest:
        yield values
    elif not space.awake(rest[0], values):
        yield from _grown(space, rest[1:], values)
    else:
        for value in rest[0].domain.values():
            yield from _grown(space, rest[1:], {**values, rest[0].name: value})


def sample_new(space: SearchSpace, rng: np.random.Generator, known: Container[Genotype]) -> Genotype:
    """Draw a genotype outside `known`; see `SearchSpace.sample_new`."""
    for _ in range(_DRAWS):
        drawn = space.sample(rng)
        if drawn not in known:
            return drawn
    if space.size > _LISTED:
        return drawn
    unseen = [point for point in points(space) if point not in known]
    return unseen[int(rng.integers(len(unseen)))] if unseen else drawn
