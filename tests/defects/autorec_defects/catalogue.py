"""Every planted defect: kind of component, name, module, class, and the twin that keeps the law."""

from __future__ import annotations

from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["DEFECTS", "SOUND", "specs"]

# (kind, name, module:Class of the defect, Class of the twin)
DEFECTS: tuple[tuple[str, str, str, str], ...] = (
    ("feature-op", "mutates-events", "ops:FillsInPlace", "Filled"),
    ("model-block", "mutates-steps", "blocks:MasksInPlace", "Masked"),
    ("search-strategy", "mutates-trials", "strategies:MarksTrials", "Counting"),
    ("feature-op", "leaks-item-mean", "leaks:WholeMean", "MeanBefore"),
    ("feature-op", "leaks-history", "leaks:HistoryAtEnd", "HistoryBefore"),
    ("feature-op", "leaks-vocabulary", "leaks:LabelOrdered", "TextOrdered"),
    ("model-block", "shape-of-one", "blocks:Squeezes", "Affine"),
    ("model-block", "shape-of-width", "blocks:WiderThanSaid", "Widened"),
    ("feature-op", "shape-of-feature", "ops:TwoForOne", "Filled"),
    ("model-block", "dead-unused", "blocks:Unused", "Affine"),
    ("model-block", "dead-detached", "blocks:Detached", "TwoLayers"),
    ("model-block", "dead-under-dropout", "blocks:DeadWhileTraining", "Dropped"),
    ("search-strategy", "invalid-leftovers", "strategies:KeepsLeftovers", "Mutating"),
    ("search-strategy", "invalid-after-failure", "strategies:RawAfterFailure", "Mutating"),
    ("search-strategy", "invalid-outside", "strategies:StepsOutside", "Stepping"),
    ("search-strategy", "random-global", "strategies:GlobalDice", "Counting"),
    ("search-strategy", "random-set-order", "strategies:SetOrder", "Sorted"),
    ("search-strategy", "random-memory", "strategies:RemembersAsking", "Counting"),
    ("compressor", "changes-weights", "compressors:ZeroesInput", "Narrower"),
    ("compressor", "changes-by-sharing", "compressors:SharesTables", "Narrower"),
    ("compressor", "changes-mode", "compressors:LeavesTraining", "Narrower"),
    ("feature-op", "unserialisable-program", "ops:ObjectArray", "Texts"),
    ("model-block", "unserialisable-tensor", "blocks:LooseTensor", "Scaled"),
    ("search-strategy", "unserialisable-reason", "strategies:ArrayReason", "Counting"),
)
SOUND: tuple[tuple[str, str, str, str], ...] = tuple(
    (kind, name, f"{target.partition(':')[0]}:{twin}", "") for kind, name, target, twin in DEFECTS
)


def specs(rows: tuple[tuple[str, str, str, str], ...], kind: str) -> tuple[ComponentSpec, ...]:
    """Return the declarations of one kind."""
    return tuple(ComponentSpec(name, f"autorec_defects.{target}", "A thing.") for found, name, target, _ in rows if found == kind)
