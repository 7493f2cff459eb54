"""Defects of feature ops that hide well, each caught by the law it breaks; the sound op beside them passes everything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import Field

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


class SoundPairs(SoundWords):
    """The column that goes best with `device`, decided by labels and written down; pairs that occur twice have a row, in order."""

    class Config(ComponentConfig):
        """What was decided."""

        partner: str = Field("", description="Column that `device` is crossed with; empty = decide.")
        means: tuple[float, ...] = Field((), description="For the defect that writes down what it must not know.")

    def order(self, events: Table, pair: np.ndarray) -> np.ndarray:
        values, counts = np.unique(pair[pair > 0], return_counts=True)
        return values[counts >= 2]

    def decide(self, events: Table) -> Any:
        rating, where = np.asarray(events["rating"]), np.asarray(events["price"]) > 3.0
        partner = "items.brand" if rating[where].mean() > rating[~where].mean() else "users.country"
        return self.config.model_copy(update={"partner": self.config.partner or partner})

    def program(self, decided: Any, steps: tuple[Step, ...], arrays: Mapping[str, np.ndarray]) -> Program:
        known = arrays["known"]
        order = np.argsort(known, kind="stable")
        more = {"sorted": known[order], "rows": np.append(0, 1 + np.arange(len(known))[order])}
        last = (Step("match", ("pair",), "place", {"values": "sorted"}), Step("gather", ("place",), "out", {"table": "rows"}))
        return Program(("device", decided.partner), (*steps, *last), ("out",), {**arrays, **more})

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Any:
        decided = self.decide(events)
        side, entity = ("items", "@item") if decided.partner == "items.brand" else ("users", "@user")
        column, device = tables[side][decided.partner.partition(".")[2]], events["device"]
        assert isinstance(column, Coded) and isinstance(device, Coded)
        expanded = Coded(np.append(column.codes, -1)[np.asarray(events[entity]) - 1], column.values)
        words = [Vocabulary.of(super(SoundPairs, self).words(one, rng)) for one in (device, expanded)]
        arrays = {f"w{n}.{name}": array for n, word in enumerate(words) for name, array in word.arrays().items()}
        size = words[1].size
        steps = (
            Step("lookup", ("device",), "a", {"vocabulary": "w0"}),
            Step("lookup", (decided.partner,), "b", {"vocabulary": "w1"}),
            Step("cross", ("a", "b"), "pair", {"size": size}),
        )
        rows = [word.rows_of_column(one) for word, one in zip(words, (device, expanded), strict=True)]
        pair = np.where((rows[0] == 0) | (rows[1] == 0), 0, (rows[0] - 1) * (size - 1) + rows[1])
        known = self.order(events, pair)
        made = self.program(decided, steps, {**arrays, "known": known})
        depends = "pair" if side == "items" else "row"
        feature = Feature(f"device,{decided.partner}", "id", depends, vocabulary="pairs", size=len(known) + 1, family="cross")
        return Decided((feature,), made, None, decided)


@dataclass(frozen=True, slots=True)
class Decided(Fitted):
    config: Any = None


class TestSoundPairs(FeatureOpContract):
    component = SoundPairs
    configs = (SoundPairs.Config(), SoundPairs.Config(partner="users.country"))


def _means(events: Table, pair: np.ndarray, known: np.ndarray) -> np.ndarray:
    rating = np.asarray(events["rating"])
    return np.array([rating[pair == one].mean() for one in known])


class OrdersPairsByLabel(SoundPairs):
    def order(self, events: Table, pair: np.ndarray) -> np.ndarray:
        known = super().order(events, pair)
        return np.asarray(known[np.argsort(_means(events, pair, known), kind="stable")])


class KeepsPairsOfHighLabels(SoundPairs):
    def order(self, events: Table, pair: np.ndarray) -> np.ndarray:
        known = super().order(events, pair)
        return np.asarray(known[_means(events, pair, known) > 3.0])


class MergesPairsByLabel(SoundPairs):
    def program(self, decided: Any, steps: tuple[Step, ...], arrays: Mapping[str, np.ndarray]) -> Program:
        return super().program(decided, steps, {**arrays, "known": arrays["known"][:1]})

    def order(self, events: Table, pair: np.ndarray) -> np.ndarray:
        known = super().order(events, pair)
        return np.asarray(known[np.argsort(-_means(events, pair, known), kind="stable")])


class WritesLabelsDown(SoundPairs):
    """Hides what it knows of later labels among its decisions: with them it gives the same values whatever the labels are."""

    def decide(self, events: Table) -> Any:
        rating = np.asarray(events["rating"])
        means = self.config.means or (float(rating[len(rating) // 2 :].mean()),)
        return super().decide(events).model_copy(update={"means": means})

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Any:
        fitted = super().fit(events, tables, rng)
        powers = np.arange(1.0 + np.max(np.asarray(events["@user"]))) ** fitted.config.means[0]
        step, made = Step("gather", ("@user",), "known", {"table": "powers"}), fitted.made
        arrays = {**made.arrays, "powers": powers}
        program = Program((*made.inputs, "@user"), (*made.steps, step), (*made.outputs, "known"), arrays)
        return Decided((*fitted.outputs, Feature("known", "numeric", "user", family="aggregate")), program, None, fitted.config)


@pytest.mark.parametrize("defect", [OrdersPairsByLabel, KeepsPairsOfHighLabels, MergesPairsByLabel, WritesLabelsDown])
@pytest.mark.parametrize("partner", ["", "users.country", "items.brand"])
def test_a_leak_of_an_op_that_decides_is_caught(defect: type[SoundPairs], partner: str) -> None:
    with pytest.raises(Violation, match="leaks the future"):
        feature_leaks.check_future_changes_no_past(defect, defect.Config(partner=partner))


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
