"""A smaller genotype of the same blueprint: widths are cut, whatever costs no parameters stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autorec_kernel.errors import AutoRecError
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import DeviceProfile, estimate_cost
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.search.genes import PIPELINE, decode
from autorec_kernel.space import Choice, Domain, Genotype, Int, Ints
from autorec_kernel.space.config_genes import genes_of

__all__ = ["smaller"]

_WIDTH = 8  # whole numbers above it are widths; layers, heads and lengths of a cross are not cut


def smaller(genotype: Mapping[str, Any], size: float, schema: FeatureSchema, kernel: Kernel) -> Genotype | None:
    """Return the genotype with every width cut to `size` of it; None where no cut makes the model smaller.

    A gene is cut only if the model has fewer parameters then, so that lengths of histories keep their value.
    """
    role = str(genotype[PIPELINE])
    name = str(genotype[role])
    domains = {gene.name: gene.domain for gene in genes_of(kernel.load("blueprint", name).Config, name, role, (name,))}
    now = Genotype(genotype)
    count = first = _parameters(now, schema, kernel)
    for gene in [gene for gene in genotype if gene in domains]:
        value = _cut(domains[gene], genotype[gene], size)
        if value == genotype[gene]:
            continue
        changed = Genotype({**now, gene: value})
        cost = _parameters(changed, schema, kernel)
        if cost < count:
            now, count = changed, cost
    return now if count < first else None


def _parameters(genotype: Genotype, schema: FeatureSchema, kernel: Kernel) -> float:
    """Return how many parameters a genotype has; infinitely many where it is impossible."""
    try:
        candidate = decode(genotype, schema, kernel)
        return estimate_cost(candidate.architecture, candidate.features, kernel, DeviceProfile(), batch_size=1, epochs=1).parameters
    except AutoRecError:
        return float("inf")


def _cut(domain: Domain, value: Any, size: float) -> Any:
    """Return the member of a domain nearest below `size` of a width; the value itself where it is no width."""
    if isinstance(domain, Ints):
        return tuple(_cut(domain.item, one, size) for one in value)
    if isinstance(value, bool) or not isinstance(value, int) or value <= _WIDTH:
        return value
    wanted = max(1, round(value * size))
    if isinstance(domain, Int):
        return domain.low + max(0, wanted - domain.low) // domain.step * domain.step
    below = [one for one in domain.values() if isinstance(one, int) and one <= wanted] if isinstance(domain, Choice) else []
    return max(below, default=value)
