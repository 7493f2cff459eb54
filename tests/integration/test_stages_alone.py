"""Every stage works on its own, with a kernel that holds no other stage's plugin, and needs no help on odd tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import autorec_features.plugin
import autorec_quantize.plugin
import autorec_search.plugin
from autorec_kernel.contracts import CompressionContext, Target
from autorec_kernel.data import open_dataset
from autorec_kernel.deploy.export import export_onnx
from autorec_kernel.features import build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.model import CompressedModel, TrainedModel
from autorec_kernel.search.genes import assemble_space, decode, offers
from autorec_kernel.space import Choice, Gene, Int, SearchSpace
from autorec_kernel.testing.host import host
from autorec_kernel.testing.model_cases import features_for

ROWS = 120
USERS, ITEMS = [f"u{row % 11:02d}" for row in range(ROWS)], [f"i{row * 7 % 23:02d}" for row in range(ROWS)]
SECONDS = 1_600_000_000 + np.arange(ROWS) * 3_600
GAPS: Any = np.where(np.arange(ROWS) % 5 == 0, np.nan, np.arange(ROWS) / 7)
ODD: dict[str, dict[str, Any]] = {
    "ids only": {},
    "numbers with gaps": {"amount": GAPS, "all_gaps": np.full(ROWS, np.nan)},
    "lists": {"genres": [["Action", "Comedy"], [], ["Drama"]] * (ROWS // 3)},
    "dates": {"timestamp": SECONDS, "released": pd.to_datetime(SECONDS, unit="s")},
    "constants": {"shop": "here", "version": 1},
    "mixed types": {"size": [1, "two", 3.5, None] * (ROWS // 4), "flag": [True, False, True] * (ROWS // 3)},
    "everything": {"timestamp": SECONDS, "amount": GAPS, "genres": ["Action|Comedy", "", "Drama"] * (ROWS // 3), "shop": "here"},
}


class Strange(nn.Module):
    """A network of somebody else's: no block, no blueprint."""

    inputs, serving_outputs, lengths = ("user",), ("score",), {}

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.users, self.head = nn.Embedding(50, 64), nn.Linear(64, 800)
        self.eval()

    def serve(self, user: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.head(self.users(user)),)


@pytest.mark.parametrize("columns", ODD.values(), ids=ODD)
def test_features_are_made_alone_and_unattended_from_odd_tables(columns: dict[str, Any]) -> None:
    frame = pd.DataFrame({"user_id": USERS, "item_id": ITEMS, **columns})
    features = build_features(open_dataset(frame), Kernel({"features": autorec_features.plugin}))
    names = [feature.name for feature in features.schema.features]
    assert (features.schema.user, features.schema.item) == ("user_id", "item_id")
    values = features.row_inputs(names, features.rows("train")[:5])
    assert all(len(value) == 5 and np.isfinite(value).all() for value in values.values())


def test_a_strategy_searches_any_space_alone() -> None:
    space = SearchSpace([Gene("layers", Int(1, 4), 2), Gene("kind", Choice("a", "b"), "a")])
    session = Kernel({"search": autorec_search.plugin}).create("search-strategy", "search/random").start(space, ("value",))
    proposals = session.ask(6, np.random.default_rng(0))
    assert len({proposal.genotype.digest for proposal in proposals}) == 6
    assert all(space.canonical(proposal.genotype) == proposal.genotype for proposal in proposals)


def test_a_compressor_shrinks_any_network_alone() -> None:
    sample = {"user": np.arange(4)}
    trained = TrainedModel(Architecture((), {}), Strange(), FeatureSchema())
    model = CompressedModel(trained, export_onnx(trained.module, sample))
    context = CompressionContext(Target("cloud"), None, sample, lambda one, share: one, np.random.default_rng(0))  # type: ignore[arg-type]
    compressor = Kernel({"quantize": autorec_quantize.plugin}).create("compressor", "quantize/int8-dynamic")
    assert len(compressor.compress(model, context).graph) < 0.6 * len(model.graph or b"")


def test_architecture_and_training_options_are_chosen_in_one_search() -> None:
    kernel = host(None)
    features = features_for(kernel, "recommend").schema
    space = assemble_space(kernel, offers(kernel, "recommend", features), features, "training/full")
    rng = np.random.default_rng(1)
    found = [candidate for candidate in (decode(space.sample(rng), features, kernel) for _ in range(60)) if candidate.training]
    assert len({candidate.architecture.digest() for candidate in found}) > 10
    for option in ("learning_rate", "weight_decay"):
        assert len({candidate.training[option] for candidate in found}) > 10


def test_either_half_of_the_search_can_be_held_still() -> None:
    kernel = host(None)
    features = features_for(kernel, "recommend").schema
    space = assemble_space(kernel, offers(kernel, "recommend", features), features, "training/full")
    start = space.canonical({"pipeline": "retriever", "retriever": "zoo/sasrec"})
    still, other = [{name: value for name, value in start.items() if (".training." in name) is half} for half in (True, False)]
    for held in (still, other):
        narrow = space.fix(held)
        drawn = [narrow.sample(np.random.default_rng(seed)) for seed in range(30)]
        assert all(genotype[name] == value for genotype in drawn for name, value in held.items() if name in genotype)
        assert len({genotype.digest for genotype in drawn}) > 10
