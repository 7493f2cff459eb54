from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from autorec_kernel.cli.main import main
from autorec_kernel.testing.bundle_cases import write_ranker, write_retriever

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "serving")]


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles without any training: factors and events' columns by hand, a history and a price from small networks, packed ids."""
    from serving_toys import write_toy

    base = tmp_path_factory.mktemp("cases")
    for kind in ("factors", "scores", "ranker"):
        write_toy(base / kind, kind)
    write_toy(base / "packed", "ranker", model=packed_ranker())
    return {
        "retriever": write_retriever(base / "retriever"),
        "events": write_ranker(base / "events"),
        **{kind: base / kind for kind in ("factors", "scores", "ranker", "packed")},
    }


def packed_ranker() -> Any:
    """Return what is served of a ranker that reads both ids from one table, as one input of its graph."""
    import numpy as np
    from serving_toys import USERS, Ranker, sample, schema

    from autorec_kernel.contracts.deploy import CompressionContext, Target
    from autorec_kernel.deploy.bundle import served_model
    from autorec_kernel.deploy.export import export_onnx
    from autorec_kernel.records.architecture import Architecture
    from autorec_kernel.records.model import CompressedModel, TrainedModel
    from autorec_rewrite.pack import PackedInputs

    class Stacked(Ranker):
        def serve(self, user: torch.Tensor, item: torch.Tensor, price: torch.Tensor) -> tuple[torch.Tensor, ...]:
            table = torch.cat([self.users.weight, self.items.weight])
            rows = table[torch.stack([user, item + USERS], 1)]
            return (self.head(torch.cat([rows.flatten(1), price], 1))[:, 0] * 3 + 3,)

    network, rows = Stacked(), sample(Stacked.inputs)
    trained = TrainedModel(Architecture((), {}), network, schema())
    context = CompressionContext(Target("edge"), None, rows, lambda model, share: model, np.random.default_rng(0))  # type: ignore[arg-type]
    packed = PackedInputs(PackedInputs.Config()).compress(CompressedModel(trained, export_onnx(network, rows)), context)
    assert b"\x1f" in (packed.graph or b"")
    return served_model(network, packed.graph or b"")


@pytest.fixture
def autorec(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: object) -> tuple[int, str, str]:
        code = main(["--plugins", "export,sign,studies", *map(str, words)])
        return (code, *capsys.readouterr())

    return run
