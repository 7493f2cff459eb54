"""Defects of feature ops that hide well, each caught by the law it breaks; the sound op beside them passes everything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal
from autorec_kernel.records.as_of import AsOfTable
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Coded, Table
from autorec_kernel.records.vocabulary import Vocabulary
from autorec_kernel.testing import FeatureOpContract, Violation
from autorec_kernel.testing.checks import feature_leaks, feature_ops


@dataclass(frozen=True, slots=True)
class Fitted:
    outputs: tuple[Feature, ...]
    made: Program
    training: Mapping[str, np.ndarray] | None = None

    def program(self) -> Program:
        return self.made

    def training_values(self, events: Table) -> Mapping[str, np.ndarray] | None:
        return self.training


class SoundCount:
    """Events of the item before the row."""

    class Config(ComponentConfig):
        """No options."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        if profile.clock == "time":
            yield FeatureProposal(cls.Config(), 0.01, "there is a clock")

    def times(self, events: Table) -> Table:
        return events

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        size = 1 + int(np.max(np.asarray(events["@item"])))
        measures = AsOfTable.sums(self.times(events), size, key="@item", measures=(_COUNT,))
        step = Step("as_of", ("@item", "@clock"), "count", {"table": "t"})
        program = Program(("@item", "@clock"), (step, Step("log1p", ("count",), "out")), ("out",), tables={"t": measures})
        return Fitted((Feature("n", "numeric", "item", True, family="aggregate"),), program)


def _count() -> Any:
    from autorec_kernel.records.as_of import Measure

    return Measure()


_COUNT = _count()


class TestSoundCount(FeatureOpContract):
    component = SoundCount


class SeesEqualTimes(SoundCount):
    def times(self, events: Table) -> Table:
        return events.with_columns({"@clock": np.asarray(events["@clock"]) - 1})


class CountsTheWhole(SoundCount):
    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        counts = np.bincount(np.asarray(events["@item"])).astype(np.float64)
        program = Program(("@item",), (Step("gather", ("@item",), "out", {"table": "c"}),), ("out",), {"c": counts})
        return Fitted((Feature("n", "numeric", "item", family="aggregate"),), program)


class TrainsOnItsOwnLabel(SoundCount):
    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        fitted = super().fit(events, tables, rng)
        later = np.append(np.asarray(events["rating"])[1:], 0.0)
        return Fitted(fitted.outputs, fitted.made, {"n": later[:, None].astype(np.float32)})


class ForgetsTheClock(SoundCount):
    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        fitted = super().fit(events, tables, rng)
        steps = (Step("as_of", ("@item",), "count", {"table": "t"}), Step("log1p", ("count",), "out"))
        return Fitted(fitted.outputs, Program(("@item",), steps, ("out",), tables=fitted.made.tables))


@pytest.mark.parametrize("defect", [SeesEqualTimes, CountsTheWhole, TrainsOnItsOwnLabel, ForgetsTheClock])
def test_a_leak_is_caught(defect: type[SoundCount]) -> None:
    with pytest.raises(Violation, match="leaks the future"):
        feature_leaks.check_future_changes_no_past(defect, defect.Config())


class SoundWords:
    """`device` by a vocabulary."""

    class Config(ComponentConfig):
        """No options."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        if any(column.name == "device" for column in profile.schema.columns):
            yield FeatureProposal(cls.Config(), 0.01, "words")

    def words(self, column: Coded, rng: np.random.Generator) -> list[str]:
        return sorted(column.values[np.unique(column.codes[column.codes >= 0])])

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        column = events["device"]
        assert isinstance(column, Coded)
        words = Vocabulary.of(self.words(column, rng))
        arrays = {f"w.{name}": array for name, array in words.arrays().items()}
        return self.fitted(words, Program(("device",), (Step("lookup", ("device",), "out", {"vocabulary": "w"}),), ("out",), arrays))

    def fitted(self, words: Vocabulary, program: Program) -> Fitted:
        return Fitted((Feature("word", "id", "row", vocabulary="word", size=words.size, family="id"),), program)


class TestSoundWords(FeatureOpContract):
    component = SoundWords


class ReadsUnusedValues(SoundWords):
    def words(self, column: Coded, rng: np.random.Generator) -> list[str]:
        return sorted(column.values)


class RemembersWords(SoundWords):
    known: ClassVar[set[str]] = set()

    def words(self, column: Coded, rng: np.random.Generator) -> list[str]:
        self.known.update(super().words(column, rng))
        return sorted(self.known)


class ShufflesGlobally(SoundWords):
    def words(self, column: Coded, rng: np.random.Generator) -> list[str]:
        found = super().words(column, rng)
        return [found[i] for i in np.random.permutation(len(found))]


class UnknownIsOne(SoundWords):
    def fitted(self, words: Vocabulary, program: Program) -> Fitted:
        steps = (
            *program.steps[:-1],
            Step("lookup", ("device",), "row", {"vocabulary": "w"}),
            Step("bucketize", ("row",), "out", {"edges": "e"}),
        )
        edges = np.arange(1.0, words.size)
        shifted = Program(program.inputs, steps, ("out",), {**program.arrays, "e": edges})
        return Fitted((Feature("word", "id", "row", vocabulary="word", size=words.size + 1, family="id"),), shifted)


class SaysTooSmall(SoundWords):
    def fitted(self, words: Vocabulary, program: Program) -> Fitted:
        return Fitted((Feature("word", "id", "row", vocabulary="word", size=words.size - 1, family="id"),), program)


class NumpyInParams(SoundWords):
    def fitted(self, words: Vocabulary, program: Program) -> Fitted:
        step = Step("lookup", ("device",), "out", {"vocabulary": "w", "count": np.int64(3)})
        return super().fitted(words, Program(program.inputs, (step,), ("out",), program.arrays))


_CASES = (
    (ReadsUnusedValues, feature_leaks.check_unused_values_teach_nothing),
    (RemembersWords, feature_ops.check_fits_share_nothing),
    (ShufflesGlobally, feature_ops.check_fit_is_deterministic),
    (UnknownIsOne, feature_ops.check_unknown_reads_as_row_zero),
    (SaysTooSmall, feature_ops.check_features_are_as_declared),
    (NumpyInParams, feature_ops.check_program_is_data),
)


@pytest.mark.parametrize(("defect", "check"), _CASES, ids=[defect.__name__ for defect, _ in _CASES])
def test_a_hidden_defect_of_an_op_is_caught(defect: Any, check: Any) -> None:
    with pytest.raises(Violation):
        check(defect, defect.Config())
