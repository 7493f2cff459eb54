"""A smaller genotype of the same blueprint, whose widths and layers are cut while whatever costs no parameters stays; its first weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from autorec_kernel.errors import AutoRecError
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import DeviceProfile, estimate_cost
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.search.genes import PIPELINE, SHARE, decode
from autorec_kernel.space import Choice, Domain, Genotype, Int, Ints
from autorec_kernel.space.config_genes import genes_of

__all__ = ["begin", "smaller"]

_WIDTH = 8  # whole numbers above it are widths; where none of a domain is, they are numbers of layers, crosses or experts


def smaller(
    genotype: Mapping[str, Any], size: float, schema: FeatureSchema, kernel: Kernel, depth: float = 1.0, features: float = 1.0
) -> Genotype | None:
    """Return the genotype with every width cut to `size` of it, every number and list of layers to `depth`, ranked features to `features`.

    A gene is cut only if the model has fewer parameters then and reads as much of a history as before. None where none is cut, or no layer
    or feature is where some should be.
    """
    if features < 1:
        fewer = Genotype({**genotype, SHARE: features * float(genotype.get(SHARE, 1.0))})
        if not schema.ranked or _size(fewer, schema, kernel)[0] >= _size(Genotype(genotype), schema, kernel)[0]:
            return None
        return fewer if size == depth == 1 else smaller(fewer, size, schema, kernel, depth)
    role = str(genotype[PIPELINE])
    name = str(genotype[role])
    domains = {gene.name: gene.domain for gene in genes_of(kernel.load("blueprint", name).Config, name, role, (name,))}
    now = Genotype(genotype)
    count, read = _size(now, schema, kernel)
    first = count
    for gene in [gene for gene in genotype if gene in domains]:
        value = _cut(domains[gene], genotype[gene], size, depth)
        if value == genotype[gene]:
            continue
        changed = Genotype({**now, gene: value})
        cost, reads = _size(changed, schema, kernel)
        if cost < count and reads == read:
            now, count = changed, cost
    alike = depth < 1 and now == smaller(genotype, size, schema, kernel)
    return now if count < first and not alike else None


def _size(genotype: Genotype, schema: FeatureSchema, kernel: Kernel) -> tuple[float, list[Any]]:
    """Return (parameters of a genotype, lengths of the histories it reads); infinitely many and none where it is impossible."""
    try:
        candidate = decode(genotype, schema, kernel)
        cost = estimate_cost(candidate.architecture, candidate.features, kernel, DeviceProfile(), batch_size=1, epochs=1)
    except AutoRecError:
        return float("inf"), []
    return cost.parameters, [node.config.get("length") for node in candidate.architecture.nodes if node.block == "@history"]


def _cut(domain: Domain, value: Any, size: float, depth: float) -> Any:
    """Return the member of a domain nearest below the wanted share, a multiple of 8 where all choices are wider; else the value itself."""
    if isinstance(domain, Ints):
        return tuple(_cut(domain.item, one, size, 1.0) for one in value[: max(domain.length.low, round(len(value) * depth))])
    if isinstance(value, bool) or not isinstance(value, int) or not isinstance(domain, (Int, Choice)):
        return value
    choices = [one for one in domain.values() if isinstance(one, int)] if isinstance(domain, Choice) else [domain.high]
    share = size if value > _WIDTH else depth if max(choices, default=0) <= _WIDTH else 1.0
    if share == 1:
        return value
    wanted = max(1, round(value * share))
    if isinstance(domain, Int):
        return domain.low + max(0, wanted - domain.low) // domain.step * domain.step
    narrow = max(_WIDTH, wanted // _WIDTH * _WIDTH) if choices and min(choices) > _WIDTH else value
    return max((one for one in choices if one <= wanted), default=narrow)


def begin(network: nn.Module, given: nn.Module) -> bool:
    """Give a new network those values of a model that have the names and shapes of its own, where they are most of it; return whether."""
    known, own = given.state_dict(), network.state_dict()
    alike = {name: known[name] for name, value in own.items() if name in known and known[name].shape == value.shape}
    found = bool(2 * sum(value.numel() for value in alike.values()) > sum(value.numel() for value in own.values()))
    if found:
        network.load_state_dict(alike, strict=False)
    return found
