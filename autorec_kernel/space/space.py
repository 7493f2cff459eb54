"""`SearchSpace`: an ordered forest of genes with legal moves inside it and an exact size."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from autorec_kernel.errors import UnknownNameError, UsageError
from autorec_kernel.space.domain import Size, Value, same_value
from autorec_kernel.space.domains import Bool, Choice, Int
from autorec_kernel.space.gene import Gene
from autorec_kernel.space.genotype import Genotype, digest_of
from autorec_kernel.space.moves import crossover, mutate, points, sample_new

if TYPE_CHECKING:
    import numpy as np

__all__ = ["SearchSpace"]


class SearchSpace(Mapping[str, Gene]):
    """Genes by name, every parent before its children.

    A gene is active when it is a root, or when its parent is active with one of the values in `when`. A *canonical* genotype holds
    exactly the active genes, in the order of the space; every method returns canonical genotypes. Immutable.

    Args:
        genes: In order; a gene's parent is an Int, Bool or Choice declared before it.

    Raises:
        UsageError: A name occurs twice, a parent is missing or undiscrete, or `when` names what the parent cannot be.
    """

    __slots__ = ("_children", "_digest", "_genes")

    def __init__(self, genes: Iterable[Gene] = ()) -> None:
        self._genes: dict[str, Gene] = {}
        self._children: dict[str, tuple[Gene, ...]] = {}
        for gene in genes:
            self._add(gene)
        self._digest = digest_of(self.to_json())

    def _add(self, gene: Gene) -> None:
        where = f"gene {gene.name!r}"
        if gene.name in self._genes:
            raise UsageError("a search space already has a gene of this name", where=where)
        if gene.parent is not None:
            parent = self._genes.get(gene.parent)
            if parent is None:
                raise UsageError(f"its parent {gene.parent!r} is not declared before it", where=where)
            if not isinstance(parent.domain, (Int, Bool, Choice)):
                raise UsageError(f"its parent {gene.parent!r} is not an Int, Bool or Choice", where=where)
            for value in gene.when:
                if not parent.domain.contains(value):
                    raise UsageError(f"`when` holds {value!r}, which its parent {gene.parent!r} cannot be", where=where)
            self._children[gene.parent] += (gene,)
        self._genes[gene.name] = gene
        self._children[gene.name] = ()

    def __getitem__(self, name: str) -> Gene:
        return self._genes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._genes)

    def __len__(self) -> int:
        return len(self._genes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SearchSpace) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        return f"SearchSpace({len(self)} genes, size {self.size}, digest {self._digest})"

    @property
    def genes(self) -> tuple[Gene, ...]:
        """Return all genes in order."""
        return tuple(self._genes.values())

    @property
    def digest(self) -> str:
        """Return 16 hex digits, equal in every process for equal spaces (the order of the genes counts)."""
        return self._digest

    @property
    def size(self) -> Size:
        """Return the exact number of canonical genotypes, `math.inf` when a float interval can be active."""
        return _product(self._count(gene) for gene in self._genes.values() if gene.parent is None)

    def _count(self, gene: Gene) -> Size:
        children = self._children[gene.name]
        woken: list[Value] = []
        for value in (value for child in children for value in child.when):
            if not any(same_value(value, known) for known in woken):
                woken.append(value)
        below = [_product(self._count(child) for child in children if child.wakes(value)) for value in woken]
        return gene.domain.size - len(woken) + sum(below)

    def children(self, name: str) -> tuple[Gene, ...]:
        """Return the genes whose parent is `name`."""
        return self._children[name]

    def awake(self, gene: Gene, values: Mapping[str, Any]) -> bool:
        """Return whether `gene` is active, given the values of the active genes before it."""
        return gene.parent is None or (gene.parent in values and gene.wakes(values[gene.parent]))

    def active(self, genotype: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the genes that are active under `genotype`, in order; a missing one counts as its default."""
        return tuple(self.canonical(genotype))

    def default(self) -> Genotype:
        """Return the genotype in which every active gene has its default."""
        return self.canonical({})

    def sample(self, rng: np.random.Generator) -> Genotype:
        """Draw every active gene from its domain, parents first."""
        values: dict[str, Value] = {}
        for gene in self._genes.values():
            if self.awake(gene, values):
                values[gene.name] = gene.domain.sample(rng)
        return Genotype(values)

    def points(self) -> Iterator[Genotype]:
        """Yield every canonical genotype once; raises `UsageError` when an active gene is an interval of floats."""
        return points(self)

    def sample_new(self, rng: np.random.Generator, known: Container[Genotype]) -> Genotype:
        """Draw a genotype that is not in `known` while there is one.

        A space of more than 4,096 points is not searched to its end: after 64 known draws, a known one is returned.
        """
        return sample_new(self, rng, known)

    def admits(self, genotype: Mapping[str, Any]) -> bool:
        """Return whether `genotype` is canonical here; trials of other spaces are not."""
        try:
            self.check(genotype)
        except UsageError:
            return False
        return True

    def canonical(self, mapping: Mapping[str, Any]) -> Genotype:
        """Return the canonical genotype of `mapping`: inactive genes dropped, missing active ones set to their defaults.

        Raises:
            UnknownNameError: A name is no gene of the space; the nearest one is offered.
            UsageError: The value of an active gene lies outside its domain.
        """
        self._refuse_strangers(mapping)
        values: dict[str, Value] = {}
        for gene in self._genes.values():
            if self.awake(gene, values):
                values[gene.name] = _cast(gene, mapping[gene.name]) if gene.name in mapping else gene.default
        return Genotype(values)

    def check(self, genotype: Mapping[str, Any]) -> None:
        """Refuse a genotype that is not canonical.

        Raises:
            UnknownNameError: A name is no gene of the space; the nearest one is offered.
            UsageError: A value lies outside its domain, an active gene is missing or an inactive one is set.
        """
        meant = self.canonical(genotype)
        for name in (*meant, *genotype):
            fault = self._fault(name, meant, genotype)
            if fault:
                raise UsageError(fault, hint="pass the genotype through canonical()", where=f"gene {name!r}")

    def _fault(self, name: str, meant: Genotype, given: Mapping[str, Any]) -> str:
        if name not in given:
            return "this gene is active but has no value"
        if name not in meant:
            return f"this gene is inactive under {self._genes[name].parent!r} but has a value"
        return "" if self._genes[name].domain.contains(given[name]) else f"{given[name]!r} has the wrong type"

    def mutate(self, genotype: Genotype, rng: np.random.Generator, genes: int = 1) -> Genotype:
        """Return a genotype in which `genes` active genes changed (fewer if there are fewer that can).

        Genes that a changed parent wakes are sampled; genes that stay active keep their values. The result differs from `genotype`
        unless the space leaves no other choice.
        """
        return mutate(self, self.canonical(genotype), rng, genes)

    def crossover(self, a: Genotype, b: Genotype, rng: np.random.Generator) -> Genotype:
        """Return a genotype whose every gene comes from `a` or `b`, whole subtrees together where their parents differ."""
        return crossover(self, self.canonical(a), self.canonical(b), rng)

    def fix(self, values: Mapping[str, Any]) -> SearchSpace:
        """Return the space in which the genes of `values` have that one value; genes that can no longer be active are dropped.

        Raises:
            UnknownNameError: A name is no gene of the space.
            UsageError: A value lies outside its domain.
        """
        self._refuse_strangers(values)
        kept: dict[str, Gene] = {}
        for gene in self._genes.values():
            parent = kept.get(gene.parent) if gene.parent is not None else None
            when = tuple(value for value in gene.when if parent is not None and parent.domain.contains(value))
            if gene.parent is not None and not when:
                continue
            value = _cast(gene, values[gene.name]) if gene.name in values else gene.default
            domain = Choice((value,)) if gene.name in values else gene.domain
            kept[gene.name] = Gene(gene.name, domain, value, gene.parent, when)
        return SearchSpace(kept.values())

    def with_defaults(self, values: Mapping[str, Any]) -> SearchSpace:
        """Return the space with other defaults.

        Raises:
            UnknownNameError: A name is no gene of the space.
            UsageError: A value lies outside its domain.
        """
        self._refuse_strangers(values)
        return SearchSpace(Gene(g.name, g.domain, values.get(g.name, g.default), g.parent, g.when) for g in self.genes)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"genes": [gene.to_json() for gene in self._genes.values()]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SearchSpace:
        """Read what `to_json` wrote."""
        return cls(Gene.from_json(item) for item in value["genes"])

    def _refuse_strangers(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._genes:
                raise UnknownNameError("gene", name, self._genes)


def _cast(gene: Gene, value: object) -> Value:
    try:
        return gene.domain.cast(value)
    except UsageError as error:
        raise UsageError(error.message, hint=error.hint, where=f"gene {gene.name!r}") from None


def _product(factors: Iterable[Size]) -> Size:
    known = tuple(factors)
    return math.inf if math.inf in known else math.prod(known)
