from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autorec_kernel.features import FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.architecture import Architecture


@pytest.fixture
def ranker(kernel: Kernel, features_of: Callable[..., FeatureSet]) -> Callable[..., Architecture]:
    return _graphs(kernel, "cells/free-ranker", features_of("click"))


@pytest.fixture
def retriever(kernel: Kernel, features_of: Callable[..., FeatureSet]) -> Callable[..., Architecture]:
    return _graphs(kernel, "cells/free-retriever", features_of("recommend"))


def _graphs(kernel: Kernel, name: str, features: FeatureSet) -> Callable[..., Architecture]:
    def build(cell: str = "", **options: Any) -> Architecture:
        return kernel.create("blueprint", name, cell=cell, **options).architecture(features.schema)  # type: ignore[no-any-return]

    return build


def zoo(kernel: Kernel, name: str, features: FeatureSet, **options: Any) -> Architecture:
    return kernel.create("blueprint", f"zoo/{name}", **options).architecture(features.schema)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[MLP-64(fields)] + [GRU-32(history)]", "[GRU-32(history)] + [MLP-64(fields)]"),
        ("[MLP-64(flat & candidate)]", "[MLP-64(candidate & flat)]"),
        ("[MLP-64(flat & flat)]", "[MLP-64(flat)]"),
        ("[MLP-64(flat)~dense]", "[MLP-64(flat)]"),
        ("[MLP-64(flat), MLP-16] + [GRU-32(history), MLP-16(3 & 2)]", "[GRU-32(history)] + [MLP-64(flat), MLP-16, MLP-16(3 & 1)]"),
        ("[Attention-32 order=none(fields)]", "[Attention-32 order=distances(fields)]"),
    ],
)
def test_equal_graphs_are_equal_whatever_the_numbers_of_their_nodes(one: str, other: str, ranker: Callable[..., Architecture]) -> None:
    assert ranker(one) == ranker(other)
    assert ranker(one).digest() == ranker(other).digest()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[MLP-64(flat)]", "[MLP-32(flat)]"),
        ("[MLP-64(flat)]", "[MLP-64(fields)]"),
        ("[Cross(flat & candidate)]", "[Cross(candidate & flat)]"),
        ("[MLP-64(flat), MLP-16]", "[MLP-64(flat)] + [MLP-16(flat)]"),
        ("[MLP-64(flat)]", "[MLP-64(flat)] + [MLP-64(flat)]"),
    ],
)
def test_other_graphs_have_other_digests(one: str, other: str, ranker: Callable[..., Architecture]) -> None:
    assert ranker(one).digest() != ranker(other).digest()


def test_deepfm_and_sasrec_are_the_cells_that_a_search_starts_from(
    kernel: Kernel, features_of: Callable[..., FeatureSet], ranker: Callable[..., Architecture], retriever: Callable[..., Architecture]
) -> None:
    assert ranker().digest() == zoo(kernel, "deepfm", features_of("click")).digest()
    assert retriever().digest() == zoo(kernel, "sasrec", features_of("recommend")).digest()


@pytest.mark.parametrize(
    ("name", "options", "text", "first_order"),
    [
        ("dcn", {"hidden_units": (128, 128), "dropout_rates": (0.2,)}, "[Crossx3 form=vector(flat)] + [MLP-128x2(flat)]", False),
        ("dcnv2", {"hidden_units": (128, 128), "dropout_rates": (0.2,)}, "[Crossx3(flat)] + [MLP-128x2(flat)]", False),
        ("fm", {}, "[FM(fields)]", True),
        ("afm", {"dropout_rate": 0.2}, "[Pairs reduce=no(fields), Attention-pool]", True),
        ("xdeepfm", {"hidden_units": (64, 64), "dropout_rates": (0.2,)}, "[CIN-64x2] + [MLP-64x2(fields)]", True),
        ("nfm", {"hidden_units": (64, 64), "dropout_rates": (0.2,)}, "[FM reduce=no(fields), MLP-64x2]", True),
        ("autoint", {"hidden_units": (64, 64), "dropout_rates": (0.2,)}, "[Attention-16x2 heads=2(fields)] + [MLP-64x2(fields)]", True),
    ],
)
def test_known_rankers_are_cells_of_the_same_blocks(
    name: str,
    options: dict[str, Any],
    text: str,
    first_order: bool,
    kernel: Kernel,
    features_of: Callable[..., FeatureSet],
    ranker: Callable[..., Architecture],
) -> None:
    known = zoo(kernel, name, features_of("click"), **options)
    assert blocks(ranker(text, first_order=first_order)) >= blocks(known)
    assert len(ranker(text, first_order=first_order).nodes) == len(known.nodes)


def test_gru4rec_like_and_mind_like_retrievers_are_cells(retriever: Callable[..., Architecture]) -> None:
    recurrent = retriever("[GRU-64]")
    assert recurrent.batching == "sequence"
    assert blocks(recurrent) == ["@history", "@table", "@target", "blocks/gru", "blocks/pool", "blocks/softmax-loss"]
    interests = retriever("[Capsules-64]", loss="sampled")
    assert interests.batching == "row"
    assert {"blocks/capsules", "blocks/project-fields", "blocks/label-attention"} <= set(blocks(interests))


def test_a_retriever_trains_on_every_step_only_where_all_its_nodes_look_back(retriever: Callable[..., Architecture]) -> None:
    assert retriever("[GRU-64, MLP-64~dense]").batching == "sequence"
    assert retriever("[GRU-64] + [Pooling(history)]").batching == "row"
    assert retriever("[GRU-64(history & user)]", user="own").batching == "row"
    assert retriever("[Pooling(history), Gate(history & 1)]").batching == "row"


def blocks(graph: Architecture) -> list[str]:
    return sorted(node.block for node in graph.nodes)
