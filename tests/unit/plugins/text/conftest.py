"""A tiny sentence encoder made on the spot: a table of token vectors behind one tanh, and a tokenizer of whole words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

WORDS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "rocket", "moon", "star", "bread", "baker", "oven", "the", "a", "title", "of", "and", "now"),
    *map(str, range(1960, 2005, 5)),  # the years in the titles of the kit's data
]


@dataclass(frozen=True)
class Fake:
    """The folder of an encoder and the vectors of its tokens, float32 [tokens, hidden], before the tanh."""

    folder: Path
    table: np.ndarray

    def oracle(self, tokens: Sequence[str]) -> np.ndarray:
        """Return the mean of the tokens' hidden states at length 1, as the recipe says."""
        known = [WORDS.index(token) if token in WORDS else 1 for token in ["[CLS]", *tokens, "[SEP]"]]
        total = np.zeros(self.table.shape[1])
        for token in known:
            total += np.tanh(self.table[token].astype(np.float64))
        mean = total / len(known)
        return np.asarray(mean / np.sqrt((mean**2).sum()))


def write_graph(
    path: Path,
    table: np.ndarray,
    *,
    inputs: Sequence[str] = ("input_ids", "attention_mask", "token_type_ids"),
    kind: int = TensorProto.INT64,
    pooled: bool = False,
    rank: int = 3,
    named: str = "last_hidden_state",
    beside: str = "",
) -> None:
    """Write hidden = tanh(table[ids]); `pooled` adds an output `sentence_embedding`, `beside` names a file for the weights."""
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["found"]), helper.make_node("Tanh", ["found"], [named])]
    outputs = [helper.make_tensor_value_info(named, TensorProto.FLOAT, ["n", "t", table.shape[1]])]
    tensors = [numpy_helper.from_array(table, "table")]
    if pooled or rank == 2:
        tensors.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
        nodes.append(helper.make_node("ReduceMax", [named, "axis"], ["sentence_embedding"], keepdims=0))
        outputs.append(helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["n", table.shape[1]]))
    if rank == 1:
        nodes.append(helper.make_node("ReduceMax", [named], ["all"], keepdims=0))
        outputs = [helper.make_tensor_value_info("all", TensorProto.FLOAT, [])]
    given = [helper.make_tensor_value_info(name, kind, ["n", "t"]) for name in inputs]
    graph = helper.make_graph(nodes, "fake", given, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save_model(model, path, save_as_external_data=bool(beside), location=beside or None, size_threshold=0)


def write_tokenizer(path: Path) -> None:
    """Write lower-case whole words between [CLS] and [SEP], with the fixed padding and truncation that published files carry."""
    tokenizers = pytest.importorskip("tokenizers", reason="texts are encoded with the package 'tokenizers' (extra 'text')")
    from tokenizers import models, normalizers, pre_tokenizers, processors

    found = tokenizers.Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    found.normalizer = normalizers.Lowercase()
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    found.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    found.enable_padding(length=20)
    found.enable_truncation(20)
    found.save(str(path))


@pytest.fixture
def make_encoder(tmp_path: Path) -> Callable[..., Fake]:
    """Return what makes an encoder; `hidden` and the options of `write_graph`, and `inside`, the folder of the graph."""

    def make(name: str = "model", hidden: int = 12, inside: str = "", seed: int = 0, **options: object) -> Fake:
        folder = tmp_path / name
        (folder / inside).mkdir(parents=True)
        table = np.random.default_rng(seed).normal(size=(len(WORDS), hidden)).astype(np.float32)
        write_tokenizer(folder / "tokenizer.json")
        write_graph(folder / inside / "model.onnx", table, **options)  # type: ignore[arg-type]
        return Fake(folder, table)

    return make


@pytest.fixture
def fake(make_encoder: Callable[..., Fake]) -> Fake:
    return make_encoder()
