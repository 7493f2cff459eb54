"""`Words`: latent semantic analysis of a text column, as a program of words, rows and stored vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from scipy.sparse import csr_matrix

from autorec_features.base import Fitted, column_of, depends_of, entity_rows, feature_columns, input_name, seconds
from autorec_features.spectrum import leading
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Coded, Table
from autorec_kernel.records.vocabulary import Vocabulary
from autorec_kernel.space import Choice

__all__ = ["Words"]

_FAR = 10.0
_FLAT = 1e-3  # share of the largest deviation below which a direction tells nothing
_COMMON = 0.5  # share of the texts above which a word tells nothing
_WORDS = 20_000  # the most frequent ones are kept


class Words:
    """Weighs words by the logarithm of their rarity and projects their mean onto the leading singular vectors (Deerwester et al. 1990).

    A word is a run of letters and digits, in lower case; words in fewer than `min_count` texts, or in more than half of them, are left
    out. An unseen text is read by its known words; without one it reads as zeros, the mean.
    """

    class Config(ComponentConfig):
        """Options of `Words`."""

        column: str = Field("title", description="Text column.")
        source: Literal["events", "users", "items"] = Field("items", description="Table that holds it.")
        width: Annotated[int, Choice(8, 16, 32)] = Field(16, ge=1, le=256, description="Dimensions kept.")
        min_count: int = Field(2, ge=1, le=2**31, description="Texts below which a word is left out.")
        max_words: int = Field(32, ge=1, le=512, description="Words read of a text.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        for column in feature_columns(profile, "text"):
            rows = entity_rows(profile, column.source)
            config = cls.Config(column=column.name, source=column.source)
            yield FeatureProposal(config, seconds(rows, 200), f"{column.name} is free text", rows * 64)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Learn words and directions; texts without two words in common are rejected."""
        options = self.config
        name = input_name(options.column, options.source)
        column = column_of(options.column, options.source, events, tables)
        if not isinstance(column, Coded):
            raise RejectColumn(f"{name!r} holds no texts")
        used = column.compact()
        counts = _word_counts(used, name, options.max_words)
        vocabulary, places = _vocabulary(counts, len(used.values), options.min_count)
        width = min(options.width, vocabulary.size - 2, len(used.values) - 1)
        if width < 1:
            raise RejectColumn(f"{name!r} has {vocabulary.size - 1} words that several texts share")
        vectors = _vectors(counts, places, vocabulary.size, len(used.values), width)
        raw = np.asarray(_program(name, vocabulary, vectors, options.max_words).computed([".mean"], {name: used})[".mean"])
        known = raw[np.isfinite(raw).all(axis=1)]
        told = known.std(axis=0) > _FLAT * known.std(axis=0).max(initial=0.0)
        if not told.any():
            raise RejectColumn(f"all texts of {name!r} are alike")
        scale = {"shift": known.mean(axis=0)[told], "scale": 1.0 / known.std(axis=0)[told]}
        program = _program(name, vocabulary, vectors[:, told], options.max_words, scale)
        return Fitted((Feature(name, "numeric", depends_of(options.source), width=int(told.sum()), family="text"),), program)


def _word_counts(column: Coded, name: str, most: int) -> dict[str, dict[int, int]]:
    """Return word → number of the text → how often it holds the word."""
    step = Step("words", (name,), ".words", {"most": most})
    texts = Coded(np.arange(len(column.values), dtype=np.int32), column.values)
    words = Program((name,), (step,), ()).computed([".words"], {name: texts})[".words"]
    found: dict[str, dict[int, int]] = {}
    for text, (start, end) in enumerate(zip(words.offsets[:-1], words.offsets[1:], strict=True)):
        for code in words.values.codes[start:end]:
            places = found.setdefault(str(words.values.values[code]), {})
            places[text] = places.get(text, 0) + 1
    return found


def _vocabulary(counts: Mapping[str, Mapping[int, int]], texts: int, least: int) -> tuple[Vocabulary, list[str]]:
    kept = [word for word, places in counts.items() if least <= len(places) <= max(_COMMON * texts, least)]
    kept = sorted(sorted(kept, key=lambda word: (-len(counts[word]), word))[:_WORDS])
    return Vocabulary.of(kept), kept


def _vectors(counts: Mapping[str, Mapping[int, int]], words: list[str], size: int, texts: int, width: int) -> np.ndarray:
    """Return float64 [size, width]: what each word adds; row 0 is zeros."""
    rarity = np.array([np.log(texts / len(counts[word])) + 1.0 for word in words])
    entries = [(text, column, times) for column, word in enumerate(words) for text, times in counts[word].items()]
    rows, columns, times = (np.array(part) for part in zip(*entries, strict=True))
    lengths = np.bincount(rows, weights=times, minlength=texts)
    matrix = csr_matrix((times / lengths[rows] * rarity[columns], (rows, columns)), shape=(texts, len(words)))
    directions = leading(matrix, width)[2].T
    signs = np.sign(directions[np.arange(width), np.abs(directions).argmax(axis=1)])
    vectors = np.zeros((size, width))
    vectors[1:] = (directions * signs[:, None]).T * rarity[:, None]
    return vectors


def _program(name: str, vocabulary: Vocabulary, vectors: np.ndarray, most: int, scale: Mapping[str, np.ndarray] | None = None) -> Program:
    steps = (
        Step("words", (name,), ".words", {"most": most}),
        Step("bag", (".words",), ".rows", {"vocabulary": "ids", "width": most}),
        Step("gather", (".rows",), ".each", {"table": "vectors"}),
        Step("pool", (".each", ".rows"), ".mean"),
        Step("affine", (".mean",), ".scaled", {"shift": "shift", "scale": "scale"}),
        Step("fill", (".scaled",), ".whole", {"value": 0.0}),
        Step("clip", (".whole",), ".out", {"low": -_FAR, "high": _FAR}),
    )
    arrays = {f"ids.{part}": array for part, array in vocabulary.arrays().items()} | {"vectors": vectors, **(scale or {})}
    return Program((name,), steps, (".out",), arrays)
