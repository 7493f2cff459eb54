"""What the papers name as searchable is searched: layers of graph networks, heads of transformers, learning rate, dropout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autorec_kernel.contracts.evaluator import EvaluationContext, Rung
from autorec_kernel.kernel import Kernel
from autorec_kernel.search.genes import assemble_space, chosen_among, decode, offers
from autorec_kernel.testing.model_cases import features_for

EXAMPLES = [
    ("recommend", "zoo/lightgcn", {"num_layers": 4}, {"num_layers": 1}),
    ("recommend", "zoo/ngcf", {"hidden_units": (32, 32, 32)}, {"hidden_units": (32,)}),
    ("recommend", "zoo/sasrec", {"num_heads": 4, "dropout_rate": 0.5}, {"num_heads": 1}),
    ("click", "zoo/bst", {"num_heads": 4, "dropout_rate": 0.5}, {"num_heads": 1}),
    ("click", "zoo/autoint", {"num_layers": 3, "num_heads": 4}, {"num_layers": 1}),
]


@pytest.mark.parametrize(("task", "name", "options", "others"), EXAMPLES, ids=[row[1] for row in EXAMPLES])
def test_a_trial_of_each_named_choice_builds_trains_and_is_another_architecture(
    kernel: Kernel, tmp_path: Path, task: str, name: str, options: dict[str, Any], others: dict[str, Any]
) -> None:
    features = features_for(kernel, task)
    fitting = chosen_among(kernel, offers(kernel, task, features.schema, wanted=(name,)), (name,))
    space = assemble_space(kernel, fitting, features.schema, "training/full")
    role = next(offer.role for offer in fitting if offer.id == name)
    base = {"pipeline": role, role: name, f"{role}.training.learning_rate": 0.01}
    chosen, other = (space.canonical({**base, **{f"{name}.{key}": value for key, value in row.items()}}) for row in (options, others))
    assert space.admits(chosen) and all(chosen[f"{name}.{key}"] == value for key, value in options.items())
    first, second = (decode(one, features.schema, kernel).architecture.digest() for one in (chosen, other))
    assert first != second
    evaluator = kernel.create("evaluator", "training/full", epochs=1)
    found = evaluator.evaluate(chosen, Rung(0, 1.0), EvaluationContext(kernel, features, task, _METRIC[task], 0, 0, _folder(tmp_path)))
    assert found.status == "complete", found.error
    assert found.details["architecture_digest"] == first and found.details["epochs"] == 1


_METRIC = {"recommend": "ndcg@10", "click": "auc"}


def _folder(path: Path) -> Path:
    (path / "curves").mkdir()
    return path
