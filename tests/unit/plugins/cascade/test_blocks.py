from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from autorec_cascade.list_loss import ListLoss
from autorec_cascade.merge import Merge
from autorec_cascade.rerank import Rerank
from autorec_cascade.shortlist import Shortlist
from autorec_cascade.steps import StepRows
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import TensorSpec

N = 9
CATALOGUE = TensorSpec("scores", rows=N, width=N, link="value")
HISTORY = TensorSpec("sequence", index=True, rows=N)
ROWS = TensorSpec("fields", fields=3, index=True, rows=N)


def shortlisted(scores: Any, history: Any, count: int, seen: bool = False) -> list[list[int]]:
    block = Shortlist(Shortlist.Config(count=count, seen=seen))
    ids = torch.tensor(history)
    return block.build([CATALOGUE, HISTORY], {})(torch.tensor(scores, dtype=torch.float32), (ids, ids != 0)).tolist()


def oracle(scores: np.ndarray, history: list[int], count: int, seen: bool) -> list[int]:
    """Return the best items by brute force: unseen ones first, by score, of equal ones the lower row."""
    order = sorted(range(1, N), key=lambda item: (not seen and item in history, -scores[item], item))
    return order[:count]


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("count", [2, 5, 8])
def test_a_shortlist_is_what_sorting_by_hand_gives_also_among_ties(count, seen):
    rng = np.random.default_rng(count)
    scores = rng.integers(-2, 3, (200, N)) / 2.0  # few values: most rows have ties
    history = [[*rng.choice(np.arange(1, N), 3, replace=False), 0] for _ in range(200)]
    found = shortlisted(scores, history, count, seen)
    assert found == [oracle(row, steps, count, seen) for row, steps in zip(scores, history, strict=True)]


def test_scores_that_two_runtimes_round_otherwise_give_one_shortlist():
    scores = np.linspace(-1.0, 1.0, N)[None].repeat(50, 0)
    scores[:, [3, 5, 7]] = 0.4
    noise = np.random.default_rng(0).normal(0.0, 3e-7, scores.shape)
    history = [[0]] * 50
    assert shortlisted(scores + noise, history, 3) == shortlisted(scores, history, 3)


def test_row_zero_and_padding_are_no_items():
    scores = np.zeros((1, N))
    scores[0, 0] = 100.0
    assert shortlisted(scores, [[4, 0, 0]], 8) == [[1, 2, 3, 5, 6, 7, 8, 4]]


def test_a_list_is_as_long_as_the_catalogue_at_most():
    assert Shortlist(Shortlist.Config(count=100)).output([CATALOGUE, HISTORY]).fields == N - 1


def test_a_small_scale_of_scores_changes_no_list():
    scores = np.random.default_rng(1).normal(size=(4, N))
    assert shortlisted(scores * 1e-9, [[0]] * 4, 4) == shortlisted(scores, [[0]] * 4, 4)


def test_the_merged_order_is_the_shortlist_by_its_scores_and_then_the_others_by_theirs():
    rng = np.random.default_rng(0)
    module = Merge(Merge.Config()).build([CATALOGUE, ROWS, TensorSpec("vector", width=3)], {})
    for scale in (1e-4, 1.0, 1e4):
        first, given = rng.normal(size=(100, N)) * scale, rng.normal(size=(100, 3)) * 10
        chosen = np.array([rng.choice(np.arange(1, N), 3, replace=False) for _ in range(100)])
        merged = module(
            *(torch.tensor(one, dtype=torch.float32) for one in (first,)), torch.tensor(chosen), torch.tensor(given, dtype=torch.float32)
        )
        for row in range(100):
            listed = [int(chosen[row][place]) for place in np.argsort(-given[row])]
            others = sorted(set(range(1, N)) - set(listed), key=lambda item: -first[row, item])
            items = sorted(range(1, N), key=lambda item: -float(merged[row, item]))
            assert items == [*listed, *others]


def test_first_scores_that_are_all_alike_leave_the_others_below():
    module = Merge(Merge.Config()).build([CATALOGUE, ROWS, TensorSpec("vector", width=3)], {})
    merged = module(torch.zeros(1, N), torch.tensor([[2, 5, 7]]), torch.tensor([[0.5, -3.0, 1.0]]))[0]
    assert merged[[2, 5, 7]].tolist() == [0.5, -3.0, 1.0]
    assert merged[[1, 3, 4, 6, 8]].tolist() == [-4.0] * 5


def test_the_loss_is_the_cross_entropy_of_those_rows_whose_list_has_the_target():
    scores = torch.tensor([[1.0, 2.0, 0.5], [0.0, 3.0, 1.0], [2.0, 2.0, 2.0], [4.0, 1.0, 0.0]])
    chosen = torch.tensor([[4, 2, 7], [1, 2, 3], [5, 6, 7], [8, 1, 2]])
    loss = ListLoss(ListLoss.Config()).build([TensorSpec("vector", width=3), ROWS, TensorSpec("vector", index=True, rows=N)], {})
    total = 0.0
    for row, place in ((0, 1), (2, 0)):
        weights = [math.exp(value) for value in scores[row].tolist()]
        total -= math.log(weights[place] / sum(weights))
    assert float(loss(scores, chosen, torch.tensor([2, 8, 5, 0]))) == pytest.approx(total / 2, rel=1e-6)  # the second and last row miss


def test_a_batch_without_a_hit_weighs_nothing_and_moves_nothing():
    loss = ListLoss(ListLoss.Config()).build([TensorSpec("vector", width=3), ROWS, TensorSpec("vector", index=True, rows=N)], {})
    scores = torch.randn(2, 3, requires_grad=True)
    found = loss(scores, torch.tensor([[1, 2, 3], [0, 4, 5]]), torch.tensor([7, 0]))
    found.backward()
    assert found.item() == 0.0
    assert scores.grad is not None
    assert not scores.grad.any()


def rerank(forms: int = 2, **config: Any) -> torch.nn.Module:
    specs = [TensorSpec("fields", fields=3, width=4), TensorSpec("sequence", width=4), TensorSpec("vector", width=4), ROWS]
    torch.manual_seed(0)
    return Rerank(Rerank.Config(**config)).build([*specs, *[CATALOGUE] * forms], {}).eval()


def test_a_candidates_score_is_the_formula():
    module, rng = rerank(hidden_dims=(5,)), np.random.default_rng(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    c, steps, u = rng.normal(size=(3, 4)), rng.normal(size=(2, 4)), rng.normal(size=4)
    rows, scores = [6, 1, 8], rng.normal(size=(2, N))
    values = [
        torch.tensor(one, dtype=torch.float32)[None] for one in (c, np.concatenate([steps, np.full((1, 4), 9.0)]), u, scores[0], scores[1])
    ]
    mask = torch.tensor([[True, True, False]])
    found = module(values[0], (values[1], mask), values[2], torch.tensor([rows]), values[3], values[4])[0].detach().numpy()
    state = {name: value.detach().numpy().astype(np.float64) for name, value in module.named_parameters()}
    z = [(one[rows] - one[rows].mean()) / one[rows].std() for one in scores]
    for place in range(3):
        fits = np.array([steps[age] @ (state["attention.weight"] @ c[place]) / 2.0 for age in (0, 1)])
        fits -= state["fade"][0] * np.log1p([1, 0])
        weights = np.exp(fits) / np.exp(fits).sum()
        interest = weights @ steps
        seen = np.concatenate([c[place], interest, c[place] * interest, c[place] * u, [z[0][place], z[1][place]]])
        hidden = np.maximum(state["network.0.weight"] @ seen + state["network.0.bias"], 0.0)
        wanted = state["weights"] @ [z[0][place], z[1][place]] + state["network.3.weight"][0] @ hidden
        assert found[place] == pytest.approx(wanted, abs=1e-4)


def test_training_begins_near_the_order_of_the_first_stage():
    module, rng = rerank(), np.random.default_rng(1)
    first = torch.tensor(rng.normal(size=(50, N)), dtype=torch.float32)
    rows = torch.tensor(np.array([rng.choice(np.arange(1, N), 3, replace=False) for _ in range(50)]))
    values = (torch.randn(50, 3, 4), (torch.randn(50, 2, 4), torch.ones(50, 2, dtype=torch.bool)), torch.randn(50, 4), rows)
    found = module(*values, first, torch.randn(50, N)).detach()
    assert (found.argmax(1) == first.gather(1, rows).argmax(1)).float().mean() > 0.9


def test_without_an_order_no_step_fades():
    assert "fade" in dict(rerank().named_parameters())
    assert "fade" not in dict(rerank(ordered=False).named_parameters())


def test_step_rows_are_the_rows_of_the_table_and_zeros_on_padding():
    table = torch.arange(18.0).view(9, 2)
    rows, mask = StepRows(StepRows.Config()).build([], {})((torch.tensor([[3, 1, 0]]), torch.tensor([[True, True, False]])), table)
    assert rows.tolist() == [[[6.0, 7.0], [2.0, 3.0], [0.0, 0.0]]]
    assert mask.tolist() == [[True, True, False]]


@pytest.mark.parametrize(
    ("block", "specs"),
    [
        (Shortlist, [TensorSpec("scores", tasks=("click",), link="logit"), HISTORY]),
        (Shortlist, [CATALOGUE, TensorSpec("sequence", width=4)]),
        (Merge, [CATALOGUE, ROWS, TensorSpec("vector", width=4)]),
        (Merge, [CATALOGUE, TensorSpec("fields", fields=3, width=4), TensorSpec("vector", width=3)]),
        (ListLoss, [TensorSpec("vector", width=4), ROWS, TensorSpec("vector", index=True, rows=N)]),
        (ListLoss, [TensorSpec("vector", width=3), ROWS, TensorSpec("vector", width=3)]),
        (StepRows, [TensorSpec("sequence", width=4), TensorSpec("table", rows=9, width=4)]),
        (
            Rerank,
            [TensorSpec("fields", fields=3, width=4), TensorSpec("sequence", width=6), TensorSpec("vector", width=4), ROWS, CATALOGUE],
        ),
        (
            Rerank,
            [TensorSpec("fields", fields=2, width=4), TensorSpec("sequence", width=4), TensorSpec("vector", width=4), ROWS, CATALOGUE],
        ),
    ],
)
def test_inputs_that_do_not_belong_together_are_refused(block, specs):
    with pytest.raises(ContractError):
        block(block.Config()).output(specs)
