"""Feature ops: one that mends the caller's column, one that gives more than it says, one whose program cannot be stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Coded, Table
from autorec_kernel.records.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Fitted:
    """Outputs and their program."""

    outputs: tuple[Feature, ...]
    made: Program

    def program(self) -> Program:
        return self.made

    def training_values(self, events: Table) -> Mapping[str, np.ndarray] | None:
        return None


class Filled:
    """`price` with the training mean where it is missing."""

    class Config(ComponentConfig):
        """No options."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        if any(column.name == "price" and column.source == "events" for column in profile.schema.columns):
            yield FeatureProposal(cls.Config(), 0.01, "a numeric column")

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        price = np.asarray(events["price"])
        mean = float(price[~np.isnan(price)].mean())
        return self.finished(mean)

    def finished(self, mean: float) -> Fitted:
        steps = (Step("fill", ("price",), "filled", {"value": mean}), Step("log1p", ("filled",), "out"))
        return Fitted((Feature("price.filled", "numeric", "row", family="scale"),), Program(("price",), steps, ("out",)))


class FillsInPlace(Filled):
    """DEFECT (mutated inputs): writes the mean into the caller's column."""

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        price = np.asarray(events["price"])
        mean = float(price[~np.isnan(price)].mean())
        price[np.isnan(price)] = mean
        return self.finished(mean)


class TwoForOne(Filled):
    """DEFECT (wrong shapes): says one column, gives value and indicator."""

    def finished(self, mean: float) -> Fitted:
        steps = (Step("fill", ("price",), "out", {"value": mean, "indicator": True}),)
        return Fitted((Feature("price.filled", "numeric", "row", family="scale"),), Program(("price",), steps, ("out",)))


class Texts:
    """`device` as rows of a vocabulary sorted by text."""

    class Config(ComponentConfig):
        """No options."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        if any(column.name == "device" and column.source == "events" for column in profile.schema.columns):
            yield FeatureProposal(cls.Config(), 0.01, "a text column")

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        column = events["device"]
        assert isinstance(column, Coded)
        return self.finished(Vocabulary.of(sorted(column.values[np.unique(column.codes[column.codes >= 0])])))

    def finished(self, words: Vocabulary) -> Fitted:
        step = Step("lookup", ("device",), "out", {"vocabulary": "words"})
        arrays = {f"words.{name}": array for name, array in words.arrays().items()}
        feature = Feature("device.word", "id", "row", vocabulary="device.word", size=words.size, family="id")
        return Fitted((feature,), Program(("device",), (step,), ("out",), arrays))


class ObjectArray(Texts):
    """DEFECT (unserialisable state): keeps the words as Python objects beside the program's arrays."""

    def finished(self, words: Vocabulary) -> Fitted:
        fitted = super().finished(words)
        loose = np.array([object(), None], dtype=object)
        return replace(fitted, made=replace(fitted.made, arrays={**fitted.made.arrays, "loose": loose}))
