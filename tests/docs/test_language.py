from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import autorec_kernel.data
from autorec_kernel.data import open_dataset
from autorec_kernel.features import build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import FitSettings, Network, train
from autorec_kernel.testing.model_cases import features_for
from tests.docs.blocks import read_blocks

ROOT = Path(__file__).parents[2]


def _two_towers(folder: Path, features: Any, kernel: Kernel, epochs: int) -> Network:
    """Train the two towers that the reference of the block language shows."""
    (block,) = [block for block in read_blocks(ROOT / "docs" / "reference" / "language.md") if "def two_towers" in block.text]
    (folder / "block.py").write_text(block.text, encoding="utf-8")
    graph = runpy.run_path(str(folder / "block.py"))["two_towers"](features.schema.items)
    network, _ = train(graph, features, features.schema, kernel, FitSettings(epochs=epochs, patience=0), seed=0, trial=0)
    return network.eval()


def test_the_tower_of_the_reference_gives_an_item_one_vector_in_training_and_serving(tmp_path: Path) -> None:
    kernel = Kernel.discover()
    features = features_for(kernel, "recommend")
    network = _two_towers(tmp_path, features, kernel, 1)
    items = torch.arange(1, 9)
    values = network({"user_id": items, "item_id": items, "@target": items})
    assert torch.allclose(values["own"], network.item_vectors()[items], atol=1e-6)
    others = torch.autograd.grad(values["loss"], values["own"])[0]
    assert others.any(1).all(), "what the loss holds against an item comes out of the tower"


@pytest.mark.slow
def test_the_towers_of_the_reference_do_not_collapse(tmp_path: Path) -> None:
    kernel = Kernel.discover()
    ratings = Path(autorec_kernel.data.__file__).parent / "movielens" / "ratings.csv.gz"
    features = build_features(open_dataset(str(ratings), task="recommend"), kernel, task="recommend")
    vectors = _two_towers(tmp_path, features, kernel, 2).item_vectors().numpy()[1:]
    cosines = vectors @ vectors.T
    assert np.mean(cosines[~np.eye(len(vectors), dtype=bool)]) < 0.9
