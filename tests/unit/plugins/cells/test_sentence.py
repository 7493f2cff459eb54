from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from autorec_cells.ranker import FreeRanker
from autorec_cells.retriever import FreeRetriever
from autorec_cells.sentence import format_cell, parse_cell
from autorec_kernel.errors import UsageError
from autorec_kernel.features import FeatureSet
from autorec_kernel.kernel import Kernel


def test_every_sampled_cell_parses_back_to_the_same_options_and_graph(
    cell: str, kernel: Kernel, tiny: FeatureSet, sampled: Callable[..., Iterator[Any]]
) -> None:
    kind = kernel.load("blueprint", cell)
    for config in sampled(300):
        text = format_cell(config)
        parsed = parse_cell(text, config)
        assert parsed == config and format_cell(parsed) == text
        assert kind(parsed).architecture(tiny.schema) == kind(config).architecture(tiny.schema)


@pytest.mark.parametrize(
    "text",
    [
        "[LSTM-64, Attention-32, MLP-128]",
        "[FM] + [MLP-256x3 taper=yes(fields)]",
        "[LSTM-64(history), Attention-32 heads=4 order=none~residual] + [Gate(1 & flat)~dense]",
    ],
)
def test_a_readable_form_is_what_it_parses_to(text: str) -> None:
    assert format_cell(parse_cell(text, FreeRanker.Config())) == text


def test_a_chain_reads_the_node_before_and_the_first_one_the_usual_source() -> None:
    config = parse_cell("[LSTM-64, Attention-32, MLP-128]", FreeRetriever.Config())
    assert [config.operation_1, config.operation_2, config.operation_3] == ["lstm", "attention", "mlp"]
    assert [config.left_1, config.left_2, config.left_3] == ["history", "1", "2"]
    assert [config.states_1, config.states_2, config.size_3] == [64, 32, 128]


def test_the_option_cell_takes_the_place_of_the_options_of_nodes(tiny: FeatureSet, cell: str, kernel: Kernel) -> None:
    kind = kernel.load("blueprint", cell)
    text = "[LSTM-64, Attention-32, MLP-128]"
    stated, parsed = kind.Config(cell=text), parse_cell(text, kind.Config())
    assert kind(stated).architecture(tiny.schema) == kind(parsed).architecture(tiny.schema)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[Perceptron-64]", "no node of a cell"),
        ("[MLP-64 heads=2]", "has no option 'heads'"),
        ("[MLP-0]", "size_1"),
        ("[MLP-64(3)]", "left_1"),
        ("[MLP-64~sideways]", "connection_1"),
        ("[MLP-16, MLP-16, MLP-16, MLP-16, MLP-16, MLP-16, MLP-16]", "at most 6"),
        ("", "no node of a cell"),
    ],
)
def test_what_is_no_cell_is_refused_with_its_reason(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_cell(text, FreeRanker.Config())
