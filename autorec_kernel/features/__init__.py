"""Dataset → FeatureSet: the plan of feature ops, their values, and the state at the cut. Holds no op: those are plugins."""

from __future__ import annotations

from autorec_kernel.features.audit import audit
from autorec_kernel.features.audit_report import AuditReport, Finding
from autorec_kernel.features.build import build_features, feature_ops
from autorec_kernel.features.evaluation import EvaluationSet
from autorec_kernel.features.feature_set import FeatureSet

__all__ = ["AuditReport", "EvaluationSet", "FeatureSet", "Finding", "audit", "build_features", "feature_ops"]
