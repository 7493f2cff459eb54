"""What a plugin implements: one protocol a kind of component, with the records that go in and out. No torch, no pandas."""

from __future__ import annotations

from autorec_kernel.contracts.deploy import (
    Candidate,
    Checked,
    CompressionContext,
    Compressor,
    Evidence,
    NotApplicable,
    Plan,
    Planner,
    PlanRequest,
    Target,
)
from autorec_kernel.contracts.evaluator import EvaluationContext, Evaluator, Executor, Metric, Rung, Task
from autorec_kernel.contracts.features import DataProfile, FeatureOp, FeatureProposal, FittedFeatureOp, RejectColumn
from autorec_kernel.contracts.models import Blueprint, ModelBlock, SolvingBlock
from autorec_kernel.contracts.reader import Reader
from autorec_kernel.contracts.search import SearchSession, SearchStrategy
from autorec_kernel.contracts.selector import FeatureSelector, Ranking

__all__ = [
    "Blueprint",
    "Candidate",
    "Checked",
    "CompressionContext",
    "Compressor",
    "DataProfile",
    "EvaluationContext",
    "Evaluator",
    "Evidence",
    "Executor",
    "FeatureOp",
    "FeatureProposal",
    "FeatureSelector",
    "FittedFeatureOp",
    "Metric",
    "ModelBlock",
    "NotApplicable",
    "Plan",
    "PlanRequest",
    "Planner",
    "Ranking",
    "Reader",
    "RejectColumn",
    "Rung",
    "SearchSession",
    "SearchStrategy",
    "SolvingBlock",
    "Target",
    "Task",
]
