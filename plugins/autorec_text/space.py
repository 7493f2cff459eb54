"""From an encoder's vectors to a few standardised dimensions, and to vectors of words that stand in for texts nobody has encoded."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import lsmr

from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Coded
from autorec_kernel.records.vocabulary import Vocabulary

__all__ = ["FAR", "dimensions", "word_steps", "word_vectors"]

FAR = 10.0  # deviations beyond which a value is cut
_FLAT = 1e-3  # share of the largest deviation below which a direction tells nothing
_WORDS = 20_000  # the most frequent ones are kept
_READ = 512  # words of a text that are read, times dimensions: what a row takes while it is computed
_RIDGE = 0.1  # penalty of the squared vectors of words (on 9,123 titles of films, better than 0.3 and 1)
_ROUNDS = 50


def dimensions(vectors: np.ndarray, width: int) -> np.ndarray:
    """Return float32 [n, at most width]: principal components (Hotelling 1933), each of mean 0 and deviation 1, cut at `FAR`.

    Args:
        vectors: float [n, hidden], finite.
        width: Wanted dimensions; directions in which nothing varies are left out, so that there may be none.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    directions = _directions(centred, min(width, len(vectors) - 1))
    signs = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])  # a solver's own are arbitrary
    found = centred @ (directions * signs)
    return np.asarray(np.clip(found / found.std(axis=0), -FAR, FAR), dtype=np.float32)


def _directions(centred: np.ndarray, most: int) -> np.ndarray:
    """Return the leading directions, columns of any length, of those in which anything varies; the smaller side is decomposed."""
    wide = len(centred) < centred.shape[1]
    turned = centred.T if wide else centred
    variances, found = np.linalg.eigh(turned.T @ turned / len(centred))
    told = np.sqrt(np.maximum(variances, 0.0)) > max(_FLAT * np.sqrt(max(variances[-1], 0.0)), 1e-6)  # vectors have length 1
    leading = found[:, told][:, ::-1][:, :most]
    return turned @ leading if wide else leading


def word_steps(name: str, width: int) -> tuple[Step, ...]:
    """Return the steps from a text column to `.rows`, int64 [n, w]: rows of its first words in the vocabulary `words`.

    Args:
        width: Dimensions of the words' vectors; with more of them fewer words are read, 16 at 32 dimensions.
    """
    most = max(4, _READ // width)
    return (
        Step("words", (name,), ".words", {"most": most}),
        Step("bag", (".words",), ".rows", {"vocabulary": "words", "width": most}),
    )


def word_vectors(texts: list[str], values: np.ndarray) -> tuple[Vocabulary, np.ndarray]:
    """Learn vectors of words whose mean over a text comes near the text's own values.

    Ridge regression (Hoerl and Kennard 1970) of each dimension on the shares that words have of a text, by LSMR (Fong and Saunders 2011).

    Args:
        texts: n texts.
        values: float [n, d].

    Returns:
        The words, at most 20,000, and float32 [words + 1, d], row 0 zeros.
    """
    column = Coded(np.arange(len(texts), dtype=np.int32), np.array([*texts, None], dtype=object)[:-1])
    steps = word_steps("text", values.shape[1])
    vocabulary = _vocabulary(column, steps[:1])
    arrays = {f"words.{part}": array for part, array in vocabulary.arrays().items()}
    rows = np.asarray(Program(("text",), steps, (), arrays).computed([".rows"], {"text": column})[".rows"])
    place, step = np.nonzero(rows)
    shares = csr_matrix((1.0 / (rows != 0).sum(axis=1)[place], (place, rows[place, step])), shape=(len(texts), vocabulary.size))
    damp = float(np.sqrt(_RIDGE))
    found = [lsmr(shares, values[:, one].astype(np.float64), damp=damp, maxiter=_ROUNDS)[0] for one in range(values.shape[1])]
    return vocabulary, np.stack(found, axis=1).astype(np.float32)


def _vocabulary(column: Coded, steps: tuple[Step, ...]) -> Vocabulary:
    """Return the words of the texts, those of the most texts first to be kept, in order of the alphabet."""
    words = Program(("text",), steps, ()).computed([".words"], {"text": column})[".words"]
    texts = np.repeat(np.arange(len(column)), np.diff(words.offsets))
    each = np.unique(np.stack([words.values.codes, texts]), axis=1)[0]
    counts = np.bincount(each, minlength=len(words.values.values))
    order = np.argsort(-counts, kind="stable")[:_WORDS]  # the words are in order already
    return Vocabulary.of([str(words.values.values[code]) for code in np.sort(order)])
