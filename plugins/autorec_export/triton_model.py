"""The python backend of Triton for a bundle: ids in, answers out, as `autorec recommend` and `autorec predict` give them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from autorec_kernel.errors import AutoRecError
from autorec_kernel.records.dataset import CLOCK
from autorec_kernel.records.table import Coded
from autorec_kernel.serving import Recommender

triton: Any = import_module("triton_python_backend_utils")  # Triton's own module, there in its server alone


class TritonPythonModel:
    """One instance: the bundle in the version folder, verified when it is loaded."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the bundle."""
        folder = Path(args["model_repository"]) / args["model_version"]
        self.recommender = Recommender.load(folder / "bundle")
        self.columns: dict[str, list[str]] = json.loads((folder / "columns.json").read_text(encoding="utf-8"))

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request: rows are users (of a retriever) or pairs of user and item (of a ranker)."""
        answer = self._lists if self.recommender.role == "retriever" else self._predictions
        return [self._guarded(answer, request) for request in requests]

    def _guarded(self, answer: Any, request: Any) -> Any:
        try:
            found = [triton.Tensor(name, value) for name, value in answer(request).items()]
            return triton.InferenceResponse(output_tensors=found)
        except AutoRecError as error:
            return triton.InferenceResponse(output_tensors=[], error=triton.TritonError(error.message))

    def _lists(self, request: Any) -> dict[str, np.ndarray]:
        users, given, count = _texts(request, "USER"), _array(request, "HISTORY"), _array(request, "K")
        histories = None if given is None else [[one.decode() for one in row if one] for row in given]
        if users is None and histories is None:
            raise AutoRecError("a request needs USER or HISTORY")
        k = 10 if count is None else int(count.reshape(-1)[0])
        answers = self.recommender.recommend(users, histories, k)
        width = max((len(answer.items) for answer in answers), default=0)
        items = [[*(item.encode() for item in answer.items), *[b""] * (width - len(answer.items))] for answer in answers]
        scores = [[*answer.scores, *[-np.inf] * (width - len(answer.items))] for answer in answers]
        return {
            "ITEMS": np.array(items, dtype=object).reshape(len(answers), width),
            "SCORES": np.array(scores, dtype=np.float32).reshape(len(answers), width),
            "ANSWERED_BY": np.array([[answer.answered_by.encode()] for answer in answers], dtype=object),
        }

    def _predictions(self, request: Any) -> dict[str, np.ndarray]:
        columns: dict[str, Any] = {}
        for name, (kind, role) in self.columns.items():
            value = _array(request, name)
            if value is not None:
                flat = value.reshape(-1)
                columns[name] = flat if kind in ("numeric", "time") else _coded([one.decode() for one in flat])
                columns |= {CLOCK: columns[name]} if role == "time" else {}
        found = self.recommender.predict(_texts(request, "USER"), _texts(request, "ITEM"), columns)
        return {name: values.astype(np.float32).reshape(-1, 1) for name, values in found.tasks.items()}


def _array(request: Any, name: str) -> np.ndarray | None:
    tensor = triton.get_input_tensor_by_name(request, name)
    return None if tensor is None else np.asarray(tensor.as_numpy())


def _texts(request: Any, name: str) -> list[str | None] | None:
    """Return the ids of a request; an empty text is nobody."""
    found = _array(request, name)
    return None if found is None else [one.decode() or None for one in found.reshape(-1)]


def _coded(texts: list[str]) -> Coded:
    place = {text: code for code, text in enumerate(dict.fromkeys(text for text in texts if text))}
    return Coded(np.array([place.get(text, -1) for text in texts], dtype=np.int32), np.array([*place, None], dtype=object)[:-1])
