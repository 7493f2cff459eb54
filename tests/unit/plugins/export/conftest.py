from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autorec_kernel.cli.main import main
from autorec_kernel.testing.bundle_cases import write_ranker, write_retriever

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "serving")]


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles without any training: factors and events' columns by hand, a history and a price from small networks."""
    from serving_toys import write_toy

    base = tmp_path_factory.mktemp("cases")
    for kind in ("factors", "scores", "ranker"):
        write_toy(base / kind, kind)
    return {
        "retriever": write_retriever(base / "retriever"),
        "events": write_ranker(base / "events"),
        **{kind: base / kind for kind in ("factors", "scores", "ranker")},
    }


@pytest.fixture
def autorec(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: object) -> tuple[int, str, str]:
        code = main(["--plugins", "export,sign,studies", *map(str, words)])
        return (code, *capsys.readouterr())

    return run
