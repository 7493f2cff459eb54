"""Options that a recipe fixes: the same in every candidate, whether the search would choose them or not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from autorec_kernel.config import ComponentConfig, parse_config
from autorec_kernel.errors import UnknownNameError, UsageError
from autorec_kernel.space import Choice, Gene

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel

__all__ = ["fixed_genes", "fixed_options"]

TRAINING = "training"


def fixed_options(kernel: Kernel, fixed: Mapping[str, Any], evaluator: str, roles: Sequence[str]) -> dict[str, Any]:
    """Return option → value as its component reads it; the ids of components are whole, lists are tuples.

    Args:
        fixed: `"zoo/sasrec.loss": "gbce"` (the option of a blueprint) or `"ranker.training.epochs": 5` (of the evaluator, for one role).

    Raises:
        UnknownNameError: No blueprint or option has such a name.
        UsageError: The option does not take this value.
    """
    found: dict[str, Any] = {}
    for name, value in fixed.items():
        owner, _, field = name.rpartition(".")
        training = owner in {f"{role}.{TRAINING}" for role in roles}
        row = kernel.find("evaluator", evaluator) if training else kernel.find("blueprint", owner)
        config: type[ComponentConfig] = kernel.load(row.kind, row.id).Config
        if field not in config.model_fields:
            raise UnknownNameError(f"option of {row.id}", field, config.model_fields, hint=f"autorec plugins show {row.id} lists them")
        value = getattr(parse_config(config, {field: value}, where=f"fixed {name!r}"), field)
        found[f"{owner if training else row.id}.{field}"] = tuple(value) if isinstance(value, list) else value
    return found


def fixed_genes(genes: Iterable[Gene], fixed: Mapping[str, Any], owners: Mapping[str, tuple[str, tuple[str, ...]]]) -> list[Gene]:
    """Return the genes with one value left where it is fixed, and a gene of one value for each further option.

    Args:
        fixed: What `fixed_options` returned.
        owners: Owner of options → (the role, the blueprints of the role under which they count).

    Raises:
        UsageError: An option is fixed of what does not compete.
    """
    kept = [replace(g, domain=Choice((fixed[g.name],)), default=fixed[g.name]) if g.name in fixed else g for g in genes]
    names = {gene.name for gene in kept}
    for name, value in fixed.items():
        owner = name.rpartition(".")[0]
        if owner not in owners:
            raise UsageError(f"fixed {name!r} is an option of {owner}, which does not compete here", hint="leave it out, or let it compete")
        role, when = owners[owner]
        if name not in names:
            kept.append(Gene(name, Choice((value,)), value, role, when))
    return _possible(kept)


def _possible(genes: Sequence[Gene]) -> list[Gene]:
    """Return the genes without those that no value of their parent wakes any more."""
    kept, gone = dict[str, Gene](), set[str]()
    for gene in genes:
        above = kept.get(gene.parent or "")
        when = gene.when if above is None else tuple(value for value in gene.when if above.domain.contains(value))
        if gene.parent in gone or (gene.parent is not None and not when):
            gone.add(gene.name)
        else:
            kept[gene.name] = replace(gene, when=when)
    return list(kept.values())
