"""Law of searched options of model blocks: the search is charged for every option, so each must change something (torch)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from pydantic import ValidationError

from autorec_kernel.errors import AutoRecError
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.space import Domain, Int, genes_of
from autorec_kernel.testing.block_cases import build, cases, run, solved
from autorec_kernel.testing.block_inputs import ITEMS, values_for
from autorec_kernel.testing.configs import corner, variants
from autorec_kernel.testing.snapshots import digest
from autorec_kernel.testing.violation import Violation, demand

__all__ = ["check_options_matter"]

Facts = Mapping[tuple[TensorSpec, ...], str]


def check_options_matter(component: Any, config: Any, kernel: Any = None) -> None:
    """Of every searched option two values differ: in parameters, output spec, solved arrays, or what train or eval mode gives.

    Seeds and weights are the same for both. An option may depend on others: it is judged beside the config, the defaults and the corners.
    """
    try:
        genes = genes_of(type(config), "")
    except AutoRecError:
        return  # a default outside its domain is a finding of its own
    known: dict[str, Facts | None] = {}
    for gene in genes:
        verdicts = [_differ(component, pair, known) for pair in _pairs(config, gene.name, gene.domain)]
        dead = False in verdicts and True not in verdicts
        demand(not dead, f"option {gene.name!r} changes nothing: all values in {gene.domain!r} that were tried build the same block")


def _pairs(config: Any, name: str, domain: Domain) -> Iterator[tuple[Any, Any]]:
    """Yield pairs of configs that differ in one option only."""
    for base in (config, *variants(type(config))):
        made = [_made(type(config), {**base.model_dump(), name: value}) for value in _values(domain)]
        legal = [one for one in made if one is not None]
        yield from ((legal[0], other) for other in legal[1:])


def _values(domain: Domain) -> list[Any]:
    """Return the corners of a domain, every option of a choice; where counts start beyond the example data, a smaller one too."""
    small = [2] if isinstance(domain, Int) and domain.low >= ITEMS else []
    return [*getattr(domain, "options", (corner(domain, high=False), corner(domain, high=True))), *small]


def _made(kind: Any, values: Mapping[str, Any]) -> Any:
    try:
        return kind(**values)
    except (ValidationError, AutoRecError):
        return None


def _differ(component: Any, pair: tuple[Any, Any], known: dict[str, Facts | None]) -> bool | None:
    """Return whether two configs give different blocks; None when there is no input on which both work."""
    for config in pair:
        key = config.model_dump_json()
        if key not in known:
            known[key] = _facts(component, config)
    first, second = (known[config.model_dump_json()] for config in pair)
    shared = [specs for specs in first or {} if specs in (second or {})]
    if first is None or second is None or not shared:
        return None
    return any(first[specs] != second[specs] for specs in shared)


def _facts(component: Any, config: Any) -> Facts | None:
    try:
        return {specs: _fingerprint(block, specs) for block, specs in cases(component, config)}
    except (Violation, AutoRecError):
        return None  # a block that does not work is the finding of other laws


def _fingerprint(block: Any, specs: tuple[TensorSpec, ...]) -> str:
    arrays = solved(block, specs)
    module = build(block, specs, seed=1, arrays=arrays)
    shapes = [(name, tuple(p.shape)) for name, p in module.named_parameters()]
    answers = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(23)
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)  # layers that start at zero hide what stands before them
        for training in (True, False):
            torch.manual_seed(29)
            answers.append(run(module.train(training), values_for(specs, 12, 6, seed=41), "a batch of 12"))
    return digest([str(shapes), str(block.output(specs)), dict(arrays), answers])
