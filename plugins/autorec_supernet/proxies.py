"""Zero-cost proxies: candidates are ordered by a score of the untrained network, and the best of them are trained in full."""

from __future__ import annotations

import math
import time
from typing import Any, ClassVar

import numpy as np
import torch

from autorec_kernel.contracts.evaluator import EvaluationContext, Rung
from autorec_kernel.evaluation import parse_metric
from autorec_kernel.models import DeviceProfile, estimate_cost, seed_of
from autorec_kernel.models.batching import batches_for
from autorec_kernel.models.train import INIT
from autorec_kernel.records.trial import Cost, Evaluation
from autorec_kernel.search.genes import Candidate, decode
from autorec_kernel.space import Genotype, SearchSpace
from autorec_supernet.agreement import Agreement
from autorec_supernet.delegate import fresh, write_json
from autorec_supernet.options import CheapOptions, ProxyOptions
from autorec_supernet.scored import Scored
from autorec_supernet.scores import PROXIES

__all__ = ["Proxies", "stand_in"]

_BATCH = 301


class Proxies(Scored):
    """Scores candidates below the last rung, and trains those in full that climb to it.

    What a scored trial reports as its metric is a stand-in (`stand_in`): it orders candidates by their score, and is worse than a trained
    candidate's, so that no score ever passes for a metric. The score is among its details, which say too that the result is provisional.
    """

    name: ClassVar[str] = "supernet/proxies"
    Config: ClassVar[type[CheapOptions]] = ProxyOptions

    def make(self, space: SearchSpace, context: EvaluationContext) -> dict[str, str]:
        """Write down which proxy it is: there is nothing to learn."""
        return {"proxy": write_json(context, "proxy", {"proxy": self.config.proxy, "rows": self.config.rows})}

    def figure(self, genotype: Genotype, context: EvaluationContext) -> float | None:
        """Return the score."""
        score = self._score(decode(genotype, context.features.schema, context.kernel), context)
        return score if math.isfinite(score) else None

    def judge(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> Evaluation:
        """Score the untrained network."""
        began = time.monotonic()
        candidate = decode(genotype, context.features.schema, context.kernel)
        sizes = {"batch_size": 1024, "epochs": 10}
        cost = estimate_cost(candidate.architecture, candidate.features, context.kernel, DeviceProfile(), **sizes)
        facts: dict[str, Any] = {
            "blueprint": candidate.blueprint,
            **({"tasks": list(candidate.architecture.outputs)} if len(candidate.features.tasks) > 1 else {}),
            "architecture": candidate.architecture.readable(),
            "architecture_digest": candidate.architecture.digest(),
        }
        excess = _excess(cost, context)
        if excess:
            return Evaluation("infeasible", cost=cost, error=excess, details=facts)
        score = self._score(candidate, context)
        if not math.isfinite(score):
            return Evaluation("nan", cost=cost, error=f"the score {self.config.proxy} is {score}", details=facts)
        value = stand_in(score, self.agreement(context), context.metric)
        measured = {"seconds": time.monotonic() - began}
        details = {**facts, "score": {"proxy": self.config.proxy, "value": score}}
        return Evaluation("complete", {context.metric: value}, cost, measured, "", self.marked({}, context), details)

    def _score(self, candidate: Candidate, context: EvaluationContext) -> float:
        """Return the score; weights are those that training would begin with, and all candidates see the same rows."""
        seed = int(seed_of(context.seed, context.trial, INIT).generate_state(1)[0])
        network = fresh(candidate, context, seed).eval()
        rng = np.random.default_rng(np.random.SeedSequence(context.seed, spawn_key=(_BATCH,)))
        batch = next(iter(batches_for(network, context.features, self.config.rows).epoch(rng)))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return PROXIES[self.config.proxy](network, batch)


def stand_in(score: float, agreement: Agreement, metric: str) -> float:
    """Return what a score reports as a metric: better the higher the score is, and worse than any trained candidate.

    It is −(1 − σ) where larger is better, for no such metric lies below 0. An error has no upper end: there it is 10 w + 1 + (1 − σ), w
    the largest that full training gave a candidate. σ is the logistic function of (score − middle) / width; middle and width are the
    median and the standard deviation of the scores of the candidates that were trained.
    """
    scores = np.array(agreement.cheap)
    place = (score - float(np.median(scores))) / (float(scores.std()) or 1.0)
    rest = 1.0 - 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, place))))
    if parse_metric(metric)[0].higher_is_better:
        return -rest
    return 10.0 * max(0.0, -min(agreement.full)) + 1.0 + rest


def _excess(cost: Cost, context: EvaluationContext) -> str:
    """Return which hard limit the candidate breaks, or nothing."""
    stated = {"max_params": cost.parameters, "max_bytes": cost.bytes, "max_latency_ms": cost.latency_ms}
    broken = [f"{name} {value:g} > {context.limits[name]:g}" for name, value in stated.items() if 0 < context.limits.get(name, 0) < value]
    return "; ".join(broken)
