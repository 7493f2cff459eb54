"""Training on files longer than memory: batches of stretches equal those of the whole, and the process does not grow with the file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from autorec_kernel.features import FeatureSet
from autorec_kernel.models import batches as module
from autorec_kernel.models import build_network, order
from autorec_kernel.models.batches import Batches
from autorec_kernel.models.prefetch import delivered

pytestmark = pytest.mark.plugins
ROOT = Path(__file__).parents[3]
MODELS = {
    "a ranker on row, entity and history values": ("click", "zoo/din", {}),
    "a retriever with negatives of each row": ("recommend", "zoo/mf", {"loss": "bpr", "negatives": 3}),
    "a retriever that learns labels beside recall": ("click", "zoo/facebook-dssm", {}),
    "a retriever with a history": ("recommend", "zoo/youtube-dnn", {}),
}


@pytest.fixture
def in_stretches(monkeypatch):
    monkeypatch.setattr(order, "_WHOLE", 10)
    monkeypatch.setattr(order, "_BLOCK", 8)
    monkeypatch.setattr(order, "_POOL", 6)


@pytest.mark.parametrize("case", MODELS)
@pytest.mark.parametrize("size", [48, 20, 1000])
def test_batches_read_a_stretch_at_a_time_are_those_read_anywhere(kernel, features_of, in_stretches, monkeypatch, tmp_path, case, size):
    task, name, config = MODELS[case]
    features = features_of(task)
    features.save(tmp_path)
    stored = FeatureSet.load(tmp_path)
    network = build_network(kernel.create("blueprint", name, **config).architecture(features.schema), features.schema, kernel)
    assert ("labels" in case) == (Batches(network, features, size).chosen is not None)
    found = list(Batches(network, stored, size).epoch(np.random.default_rng(3)))
    ahead = list(delivered(Batches(network, stored, size), np.random.default_rng(3), "cpu", workers=2))
    monkeypatch.setattr(module, "at_once", lambda *_: True)  # the same order, each batch gathered from the whole
    expected = list(Batches(network, features, size).epoch(np.random.default_rng(3)))
    assert len(found) == len(expected) == -(-Batches(network, features, size).count // size)
    for other in (found, ahead):
        for one, two in zip(expected, other, strict=True):
            assert one.keys() == two.keys()
            assert all(torch.equal(one[key], two[key]) for key in one)


def test_one_stretch_is_in_memory_at_a_time(kernel, features_of, in_stretches, monkeypatch):
    features = features_of("click")
    network = build_network(kernel.create("blueprint", "zoo/deepfm").architecture(features.schema), features.schema, kernel)
    held, made = [], module.Held

    def watched(*arguments):
        held.append(made(*arguments))
        return held[-1]

    monkeypatch.setattr(module, "Held", watched)
    for _ in Batches(network, features, 16).epoch(np.random.default_rng(0)):
        assert sum(one._read is not None for one in held) <= 1
    assert len(held) > 4
    assert all(one._read is None for one in held)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which pages are resident")
def test_an_epoch_over_500_mb_grows_the_process_by_less_than_a_fifth_of_it(tmp_path):
    script = [sys.executable, str(ROOT / "benchmarks/large_file.py"), str(tmp_path / "long"), "--gigabytes", "0.5", "--read"]
    told = json.loads(subprocess.run(script, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    assert told["file_gb"] >= 0.5
    assert told["batches"] * told["batch"] >= told["rows"]
    assert told["resident_growth_mb"] < 100
