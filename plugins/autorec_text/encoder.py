"""`Encoder`: texts to vectors by a sentence encoder in ONNX, read from local files; nothing is fetched."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from autorec_kernel.errors import PluginError, UsageError
from autorec_text.files import EncoderFiles

__all__ = ["Encoder", "encoder_of"]

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_TYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_POOLED = "sentence_embedding"  # how exports call vectors that the graph has pooled itself
_SCORES = "logits"  # and scores of tokens or classes
_WIDEST = 4_096  # dimensions of a vector; what is wider is taken for scores of tokens
_BATCH = 4_096  # tokens that go through the graph at a time
_LETTERS = 32  # of a text that are looked at, a token
_KEPT = 20_000  # vectors that are kept for the next call
_TOLD = 10.0  # seconds between two lines about the progress
_log = logging.getLogger(__name__)


class Encoder:
    """A graph with its tokenizer.

    A text's vector is the mean of its tokens' last hidden states, padding left out, divided by its length (Reimers and Gurevych 2019,
    section 3, MEAN; the recipe of all-MiniLM-L6-v2), or the graph's own `sentence_embedding` where it has one. Only texts with equally
    many tokens share a batch, so that there is no padding to leave out. One thread.

    Args:
        files: Graph and tokenizer.
        most: Tokens of a text that are read.

    Raises:
        PluginError: The package `tokenizers` is not installed.
        UsageError: The files are not those of an encoder.
    """

    def __init__(self, files: EncoderFiles, most: int) -> None:
        self.files, self.most = files, most
        self._tokenizer = _tokenizer(files, most)
        self._session = _session(files)
        self._types = {entry.name: _TYPES.get(entry.type) for entry in self._session.get_inputs()}
        odd = sorted(name for name, kind in self._types.items() if name not in _INPUTS or kind is None)
        if odd or "input_ids" not in self._types:
            told = f"has the inputs {sorted(self._types)}; those of a sentence encoder are {list(_INPUTS)}, whole numbers"
            raise UsageError(f"the graph {told}", where=str(files.graph))
        self._names = [entry.name for entry in self._session.get_outputs()]
        self._known: dict[str, np.ndarray] = {}
        self._output, self.width = self._chosen()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 [n, hidden], rows of length 1; NaN for a text without a token.

        Raises:
            UsageError: The graph cannot read what the tokenizer writes.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        found = dict(zip(new, self._encoded(new), strict=True))
        known = {**self._known, **found}
        rows = np.array([known[text] for text in texts], dtype=np.float32)
        self._known.update(dict(list(found.items())[: max(_KEPT - len(self._known), 0)]))
        return rows

    def _encoded(self, texts: Sequence[str]) -> np.ndarray:
        tokens = [self._tokens(text) for text in texts]
        rows = np.full((len(texts), self.width), np.nan, dtype=np.float32)
        started = told = time.monotonic()
        done = 0
        for batch in _batches([len(ids) for ids in tokens]):
            rows[batch] = self._vectors(np.stack([tokens[place] for place in batch]))
            done += len(batch)
            if time.monotonic() - told > _TOLD:
                told = time.monotonic()
                _log.info("%s of %s texts are encoded, %.0f s", f"{done:,}", f"{len(texts):,}", told - started)
        return rows

    def _tokens(self, text: str) -> np.ndarray:
        readable = text.strip()[: _LETTERS * self.most].encode("utf-8", "replace").decode("utf-8")
        try:
            return np.array(self._tokenizer.encode(readable).ids, dtype=np.int64)
        except Exception as error:  # tokenizers raises plain Exceptions
            raise UsageError(f"the tokenizer cannot read a text: {str(error)[:300]}", where=str(self.files.tokenizer)) from error

    def _vectors(self, ids: np.ndarray) -> np.ndarray:
        """Return float32 [n, hidden] of texts int64 [n, tokens]."""
        hidden = self._run(ids)[self._output].astype(np.float64)
        pooled = hidden.mean(axis=1) if hidden.ndim == 3 else hidden  # every token counts: there is no padding
        length = np.linalg.norm(pooled, axis=1, keepdims=True)
        return np.asarray(pooled / np.maximum(length, 1e-12), dtype=np.float32)

    def _run(self, ids: np.ndarray) -> list[np.ndarray]:
        values = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        feeds = {name: values[name].astype(kind) for name, kind in self._types.items()}
        try:
            return list(self._session.run(None, feeds))
        except Exception as error:  # onnxruntime raises its own, undocumented classes
            told = f"the graph cannot read {ids.shape[0]} texts of {ids.shape[1]} tokens: {str(error)[:300]}"
            raise UsageError(told, where=str(self.files.graph), hint="tokenizer.json must be that of the model") from error

    def _chosen(self) -> tuple[int, int]:
        """Return the place of the output that vectors are made of, and their width."""
        ids = next((ids for ids in map(self._tokens, ("a", "1", ".")) if len(ids)), np.zeros(1, np.int64))
        shapes = dict(zip(self._names, (output.shape for output in self._run(ids[None])), strict=True))
        fit = {name: shape for name, shape in shapes.items() if name != _SCORES and shape and 0 < shape[-1] <= _WIDEST}
        pooled = [name for name, shape in fit.items() if name == _POOLED and len(shape) == 2]
        hidden = [name for name, shape in fit.items() if len(shape) == 3 and shape[:2] == (1, len(ids))]
        flat = [name for name, shape in fit.items() if len(shape) == 2 and shape[0] == 1]
        if not (pooled or hidden or flat):
            told = f"outputs {shapes}; none is [texts, tokens, hidden] or [texts, hidden] of at most {_WIDEST:,} dimensions"
            hint = f"export the model without a head ({_SCORES} are scores of tokens or classes, and no vectors)"
            raise UsageError(f"the graph has the {told}", where=str(self.files.graph), hint=hint)
        name = (pooled or hidden or flat)[0]
        return self._names.index(name), int(shapes[name][-1])


@lru_cache(maxsize=1)
def encoder_of(files: EncoderFiles, most: int, digest: str) -> Encoder:
    """Return the encoder of these files; the last one stays loaded with what it read, since a run's audit reads the same texts again."""
    return Encoder(files, most)


def _batches(lengths: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield places of texts with equally many tokens, short texts first; none of those without a token."""
    counts = np.array(lengths, dtype=np.int64)
    for length in np.unique(counts[counts > 0]):
        places = np.flatnonzero(counts == length)
        size = max(1, _BATCH // int(length))
        yield from (places[start : start + size] for start in range(0, len(places), size))


def _tokenizer(files: EncoderFiles, most: int) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise PluginError("texts are encoded with the package 'tokenizers'", hint='pip install "autorec-kernel[text]"') from error
    try:
        found = Tokenizer.from_file(str(files.tokenizer))
        found.no_padding()
        found.enable_truncation(most)
    except Exception as error:  # tokenizers raises plain Exceptions
        raise UsageError(f"the tokenizer cannot be read: {str(error)[:300]}", where=str(files.tokenizer)) from error
    return found


def _session(files: EncoderFiles) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(files.graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own, undocumented classes
        raise UsageError(f"onnxruntime cannot load the graph: {str(error)[:300]}", where=str(files.graph)) from error
