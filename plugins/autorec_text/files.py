"""Which files of a folder make a sentence encoder, and a digest that tells one from another; nothing heavy is imported here."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from autorec_kernel.errors import UsageError

__all__ = ["VARIABLE", "EncoderFiles", "files_of", "stated_folder"]

VARIABLE = "AUTOREC_TEXT_MODEL"
_HINT = (
    f"{VARIABLE} names a folder that holds model.onnx (or onnx/model.onnx) and tokenizer.json, as the published exports of "
    "sentence-transformers/all-MiniLM-L6-v2 do"
)


@dataclass(frozen=True, slots=True)
class EncoderFiles:
    """The files of one encoder: the graph, what its weights are kept in, and its tokenizer."""

    graph: Path
    tokenizer: Path

    @property
    def weights(self) -> list[Path]:
        """Return the graph and the files of weights beside it (`model.onnx_data`), in order of their names."""
        return sorted(path for path in self.graph.parent.glob(f"{self.graph.name}*") if path.is_file())

    @property
    def bytes(self) -> int:
        """Return the size of graph and weights."""
        return sum(path.stat().st_size for path in self.weights)

    def digest(self) -> str:
        """Return the SHA-256 of all files, in hexadecimal."""
        whole = hashlib.sha256()
        for path in (*self.weights, self.tokenizer):
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
        return whole.hexdigest()


def stated_folder() -> str:
    """Return the folder that the environment names, "" where it names none."""
    return os.environ.get(VARIABLE, "").strip()


def files_of(folder: str) -> EncoderFiles:
    """Find the files of an encoder.

    Raises:
        UsageError: The folder is not there, or holds no encoder.
    """
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise UsageError(f"{str(place)!r} is no folder, and so holds no text encoder", where=VARIABLE, hint=_HINT)
    graph = next((path for path in (place / "model.onnx", place / "onnx" / "model.onnx") if path.is_file()), None)
    tokenizer = next((path for path in (place / "tokenizer.json", place.parent / "tokenizer.json") if path.is_file()), None)
    if graph is None or tokenizer is None:
        lost = "model.onnx" if graph is None else "tokenizer.json"
        raise UsageError(f"the folder {str(place)!r} of the text encoder holds no {lost}", where=VARIABLE, hint=_HINT)
    return EncoderFiles(graph, tokenizer)
