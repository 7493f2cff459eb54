"""Which files of a folder make a sentence encoder, and a digest that tells one from another; nothing heavy is imported here."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autorec_kernel.errors import UsageError

__all__ = ["VARIABLE", "EncoderFiles", "files_of", "planned_files", "stated_folder"]

VARIABLE = "AUTOREC_TEXT_MODEL"
_HOLDS = (
    "to a folder that holds model.onnx (or onnx/model.onnx) and tokenizer.json, as the published exports of "
    "sentence-transformers/all-MiniLM-L6-v2 do"
)
_BESIDE = "put the files of weights beside the graph, under the names that they were exported with"


@dataclass(frozen=True, slots=True)
class EncoderFiles:
    """The files of one encoder: the graph, its tokenizer, and the files beside the graph that it keeps weights in, by name."""

    graph: Path
    tokenizer: Path
    weights: tuple[Path, ...] = ()

    @property
    def bytes(self) -> int:
        """Return the size of graph and weights."""
        return sum(path.stat().st_size for path in (self.graph, *self.weights))

    def digest(self) -> str:
        """Return the SHA-256 of all files, in hexadecimal.

        Raises:
            UsageError: One of them cannot be read.
        """
        whole = hashlib.sha256()
        for path in (self.graph, *self.weights, self.tokenizer):
            try:
                with path.open("rb") as file:
                    whole.update(hashlib.file_digest(file, "sha256").digest())
            except OSError as error:
                raise UsageError(f"a file of the text encoder cannot be read: {error.strerror}", where=str(path)) from error
        return whole.hexdigest()


def stated_folder() -> str:
    """Return the folder that the environment names, "" where it names none."""
    return os.environ.get(VARIABLE, "").strip()


def planned_files(model: str, digest: str) -> tuple[str, EncoderFiles]:
    """Find the encoder that features were planned with: in the folder that the environment names now, else where it lay then.

    Args:
        model: Folder that the plan names, "" for none.
        digest: SHA-256 of its files.

    Raises:
        UsageError: Neither holds it; the message says what each is.
    """
    told = []
    for folder in dict.fromkeys(folder for folder in (stated_folder(), model) if folder):
        try:
            files = files_of(folder)
            if files.digest() == digest:
                return folder, files
            told.append(f"{_named(folder)}: {folder[:200]!r} holds another one")
        except UsageError as error:
            told.append(f"{error.where}: {error.message}")
    tried = "; ".join(told) or f"{VARIABLE} names no folder"
    hint = f"set {VARIABLE} to the folder that holds its files now, or build the features anew"
    raise UsageError(f"the text encoder that the features were planned with (SHA-256 {digest[:12]}) is not found: {tried}", hint=hint)


def files_of(folder: str) -> EncoderFiles:
    """Find the files of an encoder.

    Raises:
        UsageError: The folder is not there, or holds no encoder; or the graph keeps weights in files that are not there, or elsewhere.
    """
    named = _named(folder)
    hint = f"set {named} {_HOLDS}"
    place = Path(os.path.expanduser(folder)).absolute()  # unlike pathlib's, these functions raise nothing
    if not os.path.isdir(place):
        raise UsageError(f"{folder[:200]!r} is no folder, or none that can be read, and so holds no encoder", where=named, hint=hint)
    graph = next((path for path in (place / "model.onnx", place / "onnx" / "model.onnx") if os.path.isfile(path)), None)
    tokenizer = next((path for path in _tokenizers(place, graph) if os.path.isfile(path)), None)
    if graph is None or tokenizer is None:
        lost = "model.onnx" if graph is None else "tokenizer.json"
        raise UsageError(f"the folder {folder[:200]!r} of the text encoder holds no {lost}", where=named, hint=hint)
    return EncoderFiles(graph, tokenizer, _weights(graph))


def _named(folder: str) -> str:
    """Return what names a folder: the environment or else the option."""
    return VARIABLE if folder == stated_folder() else "option model"


def _tokenizers(place: Path, graph: Path | None) -> tuple[Path, ...]:
    """Return where a tokenizer may lie: in the folder, beside the graph, or above a folder `onnx`; above any other lies another model."""
    folders = [place, *([graph.parent] if graph else [])]
    folders += [folder.parent for folder in folders if folder.name == "onnx"]
    return tuple(folder / "tokenizer.json" for folder in folders)


def _weights(graph: Path) -> tuple[Path, ...]:
    """Return the files that a graph reads besides itself (ONNX IR, external data); none of them is opened."""
    import onnx

    try:
        model = onnx.load(graph, load_external_data=False)
    except Exception as error:  # protobuf's classes depend on how it was built
        raise UsageError(f"the graph cannot be read: {str(error)[:300]}", where=str(graph), hint="copy it anew") from error
    names = sorted({entry.value for tensor in _tensors(model) for entry in tensor.external_data if entry.key == "location"})
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UsageError(f"the graph reads weights from {name[:200]!r}, outside its folder", where=str(graph), hint=_BESIDE)
        if not os.path.isfile(graph.parent / name):
            raise UsageError(f"the graph reads weights from {name[:200]!r}, which is not there", where=str(graph), hint=_BESIDE)
    return tuple(graph.parent / name for name in names)


def _tensors(message: Any) -> Iterator[Any]:
    """Yield the tensors of a protobuf message, wherever they stand: initialisers, attributes, branches, functions."""
    for field, value in message.ListFields():
        for one in () if field.message_type is None else (value,) if hasattr(value, "ListFields") else value:
            if field.message_type.name == "TensorProto":
                yield one
            else:
                yield from _tensors(one)
