"""A weight-sharing supernet: trained once, then every candidate is scored with its slice of the shared weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from autorec_kernel.contracts.evaluator import EvaluationContext, Rung
from autorec_kernel.errors import UsageError
from autorec_kernel.models import Network
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.search.genes import FAMILY
from autorec_kernel.space import Genotype, SearchSpace
from autorec_supernet.bank import Bank
from autorec_supernet.calibration import limited
from autorec_supernet.delegate import trainer, write_tensors
from autorec_supernet.options import CheapOptions, OneShotOptions
from autorec_supernet.paths import PathSettings, trained_bank
from autorec_supernet.scored import Scored

__all__ = ["OneShot"]

_MADE_FOR = "made_for"


class OneShot(Scored):
    """Single-path one-shot search (Guo et al. 2020): no candidate is trained, unless it wins (or climbs, with `train_last`).

    Further searches of the same space on the same data can go on from the same weights: `weights` names their file.
    """

    name: ClassVar[str] = "supernet/one-shot"
    Config: ClassVar[type[CheapOptions]] = OneShotOptions

    def subspace(self, space: SearchSpace) -> SearchSpace:
        """Return the space with all features in use: columns that come and go leave no leading slices to share."""
        return space.fix({name: gene.default for name, gene in space.items() if name.startswith(FAMILY)})

    def make(self, space: SearchSpace, context: EvaluationContext) -> dict[str, str]:
        """Train the shared weights, or take them from the file of an earlier search."""
        origin = {_MADE_FOR: f"features {context.features.digest}, space {space.digest}"}
        if self.config.weights:
            return {"supernet": write_tensors(context, "supernet", _taken(self.config.weights, origin[_MADE_FOR]), origin)}
        names = ("learning_rate", "weight_decay", "batch_size", "id_dropout")
        steps = limited(space, context, self.config.steps, self.config.batch_size)
        settings = PathSettings(steps, *(getattr(self.config, name) for name in names))
        bank, taken = trained_bank(space, context, settings)
        return {"supernet": write_tensors(context, "supernet", bank.tensors(), origin)} if taken else {}

    def judge(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> Evaluation:
        """Measure the candidate with the shared weights."""
        bank = _read((context.folder / context.artefacts["supernet"]).resolve())
        shared: list[float] = []

        def begin(network: Network) -> None:
            shared.append(round(bank.lend(network), 6))

        full = trainer(context.kernel, self.config.full)
        full.begin, full.epochs = begin, 0
        found = full.evaluate(genotype, rung, context)
        facts = {**found.details, "shared": shared[0] if shared else 0.0}
        return replace(found, artefacts=self.marked(found.artefacts, context), details=facts)


def _taken(path: str, origin: str) -> dict[str, torch.Tensor]:
    """Return the shared weights of an earlier search.

    Raises:
        UsageError: There is no such file, or it was made on other data or for another space.
    """
    if not Path(path).is_file():
        raise UsageError(f"there is no file of shared weights {path!r}", hint="weights names a supernet-….safetensors of an earlier run")
    with safe_open(path, framework="pt") as file:
        found = (file.metadata() or {}).get(_MADE_FOR, "nothing that it says")
    if found != origin:
        raise UsageError(
            f"the shared weights {path!r} were made for {found}; this search has {origin}",
            hint='weights go with the data and the space that they were trained on; weights = "" trains new ones',
        )
    return load_file(path)


@lru_cache(maxsize=2)
def _read(path: Path) -> Bank:
    """Read shared weights; their file has its digest in its name, and is never written twice."""
    weights: Mapping[str, object] = load_file(path)
    return Bank.of(weights)  # type: ignore[arg-type]
