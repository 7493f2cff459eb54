from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from autorec_fusion.blend import BlendScores
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import TensorSpec

CATALOGUE = TensorSpec("scores", axis="user", rows=7, width=7, link="value")


def blended(*scores: np.ndarray, weights: tuple[float, ...] = (), standardise: tuple[bool, ...] = ()) -> np.ndarray:
    block = BlendScores(BlendScores.Config(weights=weights, standardise=standardise))
    module = block.build([CATALOGUE] * len(scores), {})
    return module(*(torch.tensor(values, dtype=torch.float32) for values in scores)).numpy()


def standardised(scores: np.ndarray) -> np.ndarray:
    found = np.empty_like(scores)
    for place, row in enumerate(scores):
        found[place] = (row - np.mean(row[1:])) / np.sqrt(np.mean((row[1:] - np.mean(row[1:])) ** 2))
    return found


def test_scores_are_standardised_over_the_items_of_a_row_and_added() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(3.0, 0.01, (4, 7)), rng.normal(-20.0, 50.0, (4, 7))
    found = blended(first, second, weights=(0.3, 2.0))
    assert np.allclose(found, 0.3 * standardised(first) + 2.0 * standardised(second), atol=1e-3)


def test_the_unknown_item_moves_no_other_score() -> None:
    scores = np.random.default_rng(1).normal(size=(2, 7))
    moved = scores.copy()
    moved[:, 0] = 1e4
    assert np.allclose(blended(scores)[:, 1:], blended(moved)[:, 1:], atol=1e-6)


def test_scale_and_offset_of_an_input_change_nothing() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(3, 7)), rng.normal(size=(3, 7))
    assert np.allclose(blended(first, second), blended(40.0 * first + 8.0, 0.01 * second - 3.0), atol=1e-4)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_small_and_large_numbers_are_standardised_alike(scale: float) -> None:
    scores = np.random.default_rng(3).normal(size=(3, 7))
    assert np.allclose(blended(scores * scale), standardised(scores), atol=1e-4)


def test_an_input_that_knows_nothing_leaves_the_other_one_alone() -> None:
    scores = np.random.default_rng(3).normal(size=(2, 7))
    assert np.allclose(blended(np.zeros((2, 7)), scores, weights=(5.0, 1.0)), standardised(scores), atol=1e-5)


def test_some_scores_can_be_added_as_they_are() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.normal(2.0, 9.0, size=(3, 7)), rng.normal(2.0, 9.0, size=(3, 7))
    found = blended(first, second, weights=(0.5, 3.0), standardise=(True, False))
    assert np.allclose(found, 0.5 * standardised(first) + 3.0 * second, atol=1e-4)


def test_two_halves_of_an_answer_make_a_whole() -> None:
    """One input narrows seven items down to two, the other one to two others; only one item is among both."""
    first, second = np.zeros((1, 7)), np.zeros((1, 7))
    first[0, [2, 5]] = 0.001
    second[0, [3, 5]] = 90.0
    assert blended(first, second)[0].argmax() == 5


@pytest.mark.parametrize(
    ("specs", "config"),
    [
        ([CATALOGUE, TensorSpec("scores", axis="user", rows=8, width=8, link="value")], {}),
        ([TensorSpec("scores", tasks=("click",), link="logit")], {}),
        ([CATALOGUE, CATALOGUE], {"weights": (1.0,)}),
        ([CATALOGUE, CATALOGUE], {"standardise": (True, True, False)}),
    ],
)
def test_scores_of_different_things_are_refused(specs: list[TensorSpec], config: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match="blend-scores"):
        BlendScores(BlendScores.Config(**config)).output(specs)


def test_the_exported_graph_standardises_a_large_catalogue_as_exactly_as_the_network() -> None:
    import onnxruntime

    rows = 17_001
    scores = np.random.default_rng(2).exponential(size=(3, rows)).astype(np.float32) ** 4
    spec = TensorSpec("scores", axis="user", rows=rows, width=rows, link="value")
    module = BlendScores(BlendScores.Config()).build([spec], {}).eval()
    with warnings.catch_warnings(action="ignore"):
        program = torch.onnx.export(module, (torch.from_numpy(scores),), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())  # type: ignore[union-attr]
    found = session.run(None, {session.get_inputs()[0].name: scores})[0]
    expected = standardised(scores.astype(np.float64))
    assert np.abs(expected).max() > 20
    assert (np.abs(found - expected) / np.abs(expected).max(1, keepdims=True)).max() < 1e-6
    assert (np.abs(module(torch.from_numpy(scores)).numpy() - expected) / np.abs(expected).max(1, keepdims=True)).max() < 1e-6
