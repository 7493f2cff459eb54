"""`Meaning`: what a text means, by a sentence encoder that is given as a folder; programs read hashes and tables alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.errors import PluginError, UsageError
from autorec_kernel.records.features import Depends, Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.schema import Column
from autorec_kernel.records.table import Coded, ColumnData, Table
from autorec_kernel.space import Choice
from autorec_text.files import VARIABLE, files_of, planned_files, stated_folder

__all__ = ["Fitted", "Meaning"]

_BUCKETS = 2**62  # of the hash that texts are known by: two of 50,000 share one with a chance of 3e-10
_NEVER = 1e300  # divides the words' vector of a text that has one of its own to nought
_TOKENS = 24  # of a text, guessed where none is read yet
_SECONDS = 2.5e-12  # a byte of the graph and a token: measured with all-MiniLM-L6-v2 on one core
_DEPENDS: Mapping[str, Depends] = {"users": "user", "items": "item"}


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The fitted operation: its feature, the program that makes it, and the options with the encoder written down."""

    outputs: tuple[Feature, ...]
    made: Program
    config: ComponentConfig

    def program(self) -> Program:
        return self.made

    def training_values(self, events: Table) -> Mapping[str, np.ndarray] | None:
        return None


class Meaning:
    """Encodes each different text once, and keeps the leading principal components of the vectors, standardised.

    The program finds a text by its hash. One that training did not see is read by its words: their vectors are learnt so that their mean
    comes near what the encoder says of the training texts. Without a known word, and where the text is missing or blank, it is the mean.
    """

    class Config(ComponentConfig):
        """Options of `Meaning`."""

        column: str = Field("title", description="Text column.")
        source: Literal["events", "users", "items"] = Field("items", description="Table that holds it.")
        width: Annotated[int, Choice(16, 32, 64)] = Field(32, ge=1, le=1024, description="Dimensions kept.")
        max_tokens: int = Field(64, ge=8, le=8192, description="Tokens of a text that are read.")
        max_texts: int = Field(50_000, ge=2, le=2**31, description="Different texts above which the column is turned down.")
        model: str = Field(
            "", description=f"Folder of the encoder; empty = the one that {VARIABLE} names, which goes before where a digest is given."
        )
        digest: str = Field("", description="SHA-256 of the encoder's files, written down by fitting; empty = any.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        """Yield the text columns where the environment names a folder.

        Raises:
            UsageError: It names no encoder, and there is a text to encode.
        """
        found = [column for source in ("events", "users", "items") for column in profile.schema.features(source) if column.kind == "text"]
        folder = stated_folder()
        with _on_one_line():
            size = files_of(folder).bytes if folder and found else 0
        for column in found if folder else ():
            config = cls.Config(column=column.name, source=column.source, model=folder)
            rows = _rows(profile, column)
            texts = min(column.distinct or rows, rows)
            seconds = 1.0 + texts * _TOKENS * _SECONDS * size if texts <= config.max_texts else 0.01
            yield FeatureProposal(config, seconds, f"{column.name} is free text", (rows + texts) * config.width * 4)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Encode the texts and learn the directions.

        Raises:
            RejectColumn: No folder is named, or there are too many texts, or they tell nothing.
            PluginError: The package `tokenizers` is not installed.
            UsageError: The folder holds no encoder, or not the one that the features were planned with.
        """
        options = self.config
        name = options.column if options.source == "events" else f"{options.source}.{options.column}"
        table = events if options.source == "events" else tables[options.source]
        texts = _texts(table.get(options.column), name, options.max_texts)
        with _on_one_line():
            vectors, stated = _encoded(texts, options)
        known = np.isfinite(vectors).all(axis=1)
        texts = [text for text, good in zip(texts, known, strict=True) if good]
        values = _values(vectors[known], options.width, name)
        feature = Feature(f"{name}.meaning", "numeric", _DEPENDS.get(options.source, "row"), width=values.shape[1], family="meaning")
        return Fitted((feature,), _program(name, texts, values), stated)


@contextmanager
def _on_one_line() -> Iterator[None]:
    """Put place, message and fix of an error into its message: a plan keeps that alone, and a note is one line."""
    try:
        yield
    except (PluginError, UsageError) as error:
        place, fix = (f"{error.where}: " if error.where else "", f"; {error.hint}" if error.hint else "")
        raise type(error)(" ".join(f"{place}{error.message}{fix}".split())) from error


def _rows(profile: DataProfile, column: Column) -> int:
    return {"users": profile.users, "items": profile.items}.get(column.source, profile.rows)


def _texts(column: ColumnData | None, name: str, most: int) -> list[str]:
    """Return the different texts that are not blank, in order of the alphabet."""
    if not isinstance(column, Coded):
        raise RejectColumn(f"there is no column {name!r} of texts")
    found = sorted(str(text) for text in column.compact().values if str(text).strip())
    if len(found) < 2:
        raise RejectColumn(f"{name!r} holds {len(found)} different texts; 2 are needed")
    if len(found) > most:
        raise RejectColumn(f"{name!r} holds {len(found):,} different texts; at most {most:,} are encoded (option max_texts)")
    return found


def _encoded(texts: list[str], options: Meaning.Config) -> tuple[np.ndarray, Meaning.Config]:
    """Return float32 [n, hidden], and the options with the encoder that was used."""
    from autorec_text.encoder import encoder_of

    folder = options.model or stated_folder()
    if not folder:
        raise RejectColumn(f"no text encoder is given: set {VARIABLE} to the folder of one")
    folder, files = planned_files(folder, options.digest) if options.digest else (folder, files_of(folder))
    digest = options.digest or files.digest()
    encoder = encoder_of(files, options.max_tokens, digest)
    return encoder.encode(texts), options.model_copy(update={"model": folder, "digest": digest})


def _values(vectors: np.ndarray, width: int, name: str) -> np.ndarray:
    from autorec_text.space import dimensions

    values = dimensions(vectors, width) if len(vectors) > 1 else np.zeros((len(vectors), 0), np.float32)
    if not values.shape[1]:
        raise RejectColumn(f"all texts of {name!r} mean the same to the encoder")
    return values


def _program(name: str, texts: list[str], values: np.ndarray) -> Program:
    """Return the program: a text's own row by its hash, else the mean of its words; `.own` is 1 for no row, huge for a row."""
    from autorec_text.space import FAR, word_steps, word_vectors

    words, vectors = word_vectors(texts, values)
    hashed = Step("hash", (name,), ".hash", {"buckets": _BUCKETS, "salt": "meaning"})
    column = Coded(np.arange(len(texts), dtype=np.int32), np.array([*texts, None], dtype=object)[:-1])
    hashes, first = np.unique(Program((name,), (hashed,), ()).computed([".hash"], {name: column})[".hash"], return_index=True)
    steps = (
        hashed,
        Step("match", (".hash",), ".row", {"values": "hashes"}),
        Step("gather", (".row",), ".exact", {"table": "texts"}),
        Step("gather", (".row",), ".own", {"table": "own"}),
        *word_steps(name, values.shape[1]),
        Step("gather", (".rows",), ".each", {"table": "vectors"}),
        Step("pool", (".each", ".rows"), ".mean"),
        Step("fill", (".mean",), ".whole", {"value": 0.0}),
        Step("clip", (".whole",), ".near", {"low": -FAR, "high": FAR}),
        Step("ratio", (".near", ".own"), ".else", {"strength": 0.0}),
        Step("plus", (".exact", ".else"), ".out"),
    )
    own = np.full((len(hashes) + 1, 1), _NEVER)
    own[0] = 1.0
    exact = np.concatenate([np.zeros((1, values.shape[1]), np.float32), values[first]])
    arrays = {"hashes": hashes, "texts": exact, "own": own, "vectors": vectors}
    return Program((name,), steps, (".out",), arrays | {f"words.{part}": array for part, array in words.arrays().items()})
