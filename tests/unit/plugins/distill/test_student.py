"""Students: what they are taught, how much smaller they are, and that soft labels teach more than hard ones."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from autorec_distill.labels import taught
from autorec_distill.smaller import _cut, smaller
from autorec_distill.student import Student
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target, Trainer
from autorec_kernel.contracts.evaluator import EvaluationContext, Rung
from autorec_kernel.data import open_dataset
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import row_metrics
from autorec_kernel.models.scoring import predict_tasks
from autorec_kernel.records.model import CompressedModel, TrainedModel
from autorec_kernel.search.genes import assemble_space, chosen_among, decode, offers
from autorec_kernel.space import Bool, Choice, Genotype, Int, Ints

pytestmark = pytest.mark.plugins
USERS, ITEMS = 120, 60


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return Kernel.discover()


def clicks(rows: int = 8_000) -> tuple[pd.DataFrame, np.ndarray]:
    """Return noisy clicks and the chance of each, which a number of the user and one of the item decide."""
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, USERS, rows), rng.integers(0, ITEMS, rows)
    chance = 1 / (1 + np.exp(-1.2 * (rng.normal(size=USERS)[user] + rng.normal(size=ITEMS)[item])))
    clicked = (rng.random(rows) < chance).astype(int)
    return pd.DataFrame({"user_id": user, "item_id": item, "click": clicked, "timestamp": np.arange(rows)}), chance


@pytest.fixture(scope="module")
def features(kernel: Kernel) -> FeatureSet:
    dataset = open_dataset(clicks()[0], task="click", protocol="temporal")
    return build_features(dataset, kernel, task="click", seed=0)


def genotype_of(kernel: Kernel, features: FeatureSet, blueprint: str, **genes: Any) -> Genotype:
    found = chosen_among(kernel, offers(kernel, "click", features.schema, wanted=(blueprint,)), (blueprint,))
    space = assemble_space(kernel, found, features.schema, "training/full")
    return space.canonical({"pipeline": "ranker", "ranker": blueprint, **genes})


@pytest.fixture(scope="module")
def run(kernel: Kernel, features: FeatureSet, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return (trained model, trainer) of a DeepFM that has been searched."""
    torch.set_num_threads(1)
    folder: Path = tmp_path_factory.mktemp("run")
    evaluator = kernel.create("evaluator", "training/full", epochs=4)
    genotype = genotype_of(kernel, features, "zoo/deepfm")

    def context(view: FeatureSet) -> EvaluationContext:
        return EvaluationContext(kernel, view, "click", "auc", 0, 0, folder)

    found = evaluator.evaluate(genotype, Rung(0, 1.0), context(features))
    model = evaluator.restore(genotype, found.artefacts, context(features))

    def train(genotype: Any, view: FeatureSet, epochs: int, begin: Any) -> Any:
        return evaluator.refit(Genotype(genotype), {"best_epoch": epochs}, context(view))

    trainer = Trainer(kernel, train, lambda: [(model, 1.0)])
    return SimpleNamespace(model=model, trainer=trainer, genotype=genotype)


def context_of(features: Any, trainer: Trainer | None) -> CompressionContext:
    return CompressionContext(Target("cloud"), features, {}, lambda model, share: model, np.random.default_rng(0), trainer=trainer)


def test_a_label_is_mixed_with_the_weighted_mean_of_the_teachers(features: FeatureSet, run: Any) -> None:
    label, rows = next(iter(features.schema.tasks)), features.rows("train")
    said, hard = predict_tasks(run.model.module, features, rows)[label], features.labels()[rows]
    view = taught(features, [(run.model, 0.25), (run.model, 0.75)], 0.8)
    assert np.allclose(view.labels()[rows], 0.2 * hard + 0.8 * said, atol=1e-6)
    judged = features.rows("valid")
    assert np.array_equal(view.labels()[judged], features.labels()[judged])
    assert np.array_equal(features.labels()[rows], hard) and set(hard) == {0.0, 1.0}  # those it was made of are as they were


def test_unknown_labels_stay_unknown(features: FeatureSet, run: Any) -> None:
    label, part = next(iter(features.schema.tasks)), features.parts["train"]
    holes = np.array(part.labels[label], dtype=np.float32)
    holes[:7] = np.nan
    gappy = replace(features, parts={**features.parts, "train": replace(part, labels={label: holes})}, _cache={})
    found = taught(gappy, [(run.model, 1.0)], 1.0).labels()[gappy.rows("train")]
    assert np.isnan(found[:7]).all() and np.isfinite(found[7:]).all()


def test_widths_are_cut_and_what_costs_no_parameters_stays(kernel: Kernel, features: FeatureSet) -> None:
    genotype = genotype_of(kernel, features, "zoo/din", **{"zoo/din.max_length": 20, "zoo/din.hidden_units": (128, 64)})
    found = smaller(genotype, 0.5, features.schema, kernel)
    assert found is not None
    assert found["zoo/din.hidden_units"] == (64, 32) and found["zoo/din.max_length"] == 20
    assert {name: value for name, value in found.items() if ".training." in name} == {
        n: v for n, v in genotype.items() if ".training." in n
    }
    assert decode(found, features.schema, kernel).architecture.digest() != decode(genotype, features.schema, kernel).architecture.digest()


@pytest.mark.parametrize(
    ("blueprint", "genes", "left"),
    [
        ("zoo/dcnv2", {"cross_num": 3, "hidden_units": (128, 64, 32)}, {"cross_num": 1, "hidden_units": (128,)}),
        ("zoo/deepfm", {"hidden_units": (64, 32)}, {"hidden_units": (64,)}),
    ],
)
def test_layers_are_left_out(kernel: Kernel, features: FeatureSet, blueprint: str, genes: dict[str, Any], left: dict[str, Any]) -> None:
    genotype = genotype_of(kernel, features, blueprint, **{f"{blueprint}.{name}": value for name, value in genes.items()})
    found = smaller(genotype, 1.0, features.schema, kernel, 1 / 3)
    assert found is not None and dict(found) == {**genotype, **{f"{blueprint}.{name}": value for name, value in left.items()}}


@pytest.mark.parametrize(
    ("domain", "value", "left"),
    [
        (Int(1, 4), 3, 1),
        (Int(1, 8), 8, 3),
        (Int(4, 128), 8, 8),  # a rank
        (Choice(4, 8, 16, 32), 8, 8),  # a width
        (Choice(1, 2, 4), 4, 1),
        (Choice("a", "b"), "a", "a"),
        (Bool(), True, True),
        (Ints(Int(8, 64), length=Int(2, 4)), (64, 32, 16, 8), (64, 32)),
    ],
)
def test_what_counts_as_layers(domain: Any, value: Any, left: Any) -> None:
    assert _cut(domain, value, 1.0, 1 / 3) == left


def test_a_model_without_layers_has_no_student_of_fewer(kernel: Kernel, features: FeatureSet) -> None:
    genotype = genotype_of(kernel, features, "zoo/fm")
    assert smaller(genotype, 0.5, features.schema, kernel) is not None
    assert smaller(genotype, 0.5, features.schema, kernel, 0.5) is None


def test_a_student_reads_the_best_of_the_ranked_features(kernel: Kernel, features: FeatureSet) -> None:
    """Half of four is two; a genotype that reads half already is left a quarter; nothing else is cut, and ids of users and items stay."""
    names = [one.name for one in features.schema.features if one.kind == "numeric"][:4]
    assert len(names) == 4
    schema = replace(features.schema, ranked=tuple(names[::-1]))
    genotype = genotype_of(kernel, features, "zoo/dcnv2")
    read = []
    for share in (1.0, 0.5):
        found = smaller({**genotype, "features.share": share}, 1.0, schema, kernel, 1.0, 0.5)
        assert found is not None and dict(found) == {**genotype, "features.share": share / 2}
        read.append({one.name for one in decode(found, schema, kernel).features.features})
    assert {one.name for one in schema.features} - read[0] == {*names[:2]} and read[0] - read[1] == {names[2]}
    both = smaller(genotype, 0.5, schema, kernel, 1.0, 0.5)
    assert both is not None and both["features.share"] == 0.5 and both != {**genotype, "features.share": 0.5}


def test_a_student_of_fewer_features_is_as_narrow_and_shallow_as_one_of_all(kernel: Kernel, features: FeatureSet) -> None:
    """A model without layers has no student of fewer layers, whatever it reads; widths are cut beside features."""
    schema = replace(features.schema, ranked=tuple(one.name for one in features.schema.features if one.kind == "numeric"))
    genotype = genotype_of(kernel, features, "zoo/fm")
    assert smaller(genotype, 0.25, schema, kernel, 1 / 3, 0.5) is None
    narrow, both = smaller(genotype, 0.5, schema, kernel), smaller(genotype, 0.5, schema, kernel, 1.0, 0.5)
    assert narrow is not None and both is not None and dict(both) == {**narrow, "features.share": 0.5}


def test_features_that_nobody_ranked_are_not_cut(kernel: Kernel, features: FeatureSet) -> None:
    genotype = genotype_of(kernel, features, "zoo/dcnv2")
    assert smaller(genotype, 0.5, replace(features.schema, ranked=None), kernel, 1.0, 0.5) is None


def test_a_student_begins_with_the_values_that_it_has_in_common_with_the_model(features: FeatureSet, run: Any) -> None:
    begun: list[Any] = []

    def train(genotype: Any, view: Any, count: int, begin: Any) -> Any:
        begun.append(begin)
        raise NotApplicable("enough")

    with pytest.raises(NotApplicable, match="enough"):
        Student(Student.Config()).compress(CompressedModel(run.model), context_of(features, replace(run.trainer, train=train)))
    other = copy.deepcopy(run.model.module)
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    begun[0](other)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in run.model.module.state_dict().items())


def test_a_model_without_widths_has_no_student(kernel: Kernel, features: FeatureSet) -> None:
    assert smaller(genotype_of(kernel, features, "baselines/logistic-regression"), 0.5, features.schema, kernel) is None


def test_a_student_is_smaller_and_as_good_as_its_teacher(features: FeatureSet, run: Any) -> None:
    before = {name: value.clone() for name, value in run.model.module.state_dict().items()}
    compressor = Student(Student.Config(size=0.5, epochs=3))
    student = compressor.compress(CompressedModel(run.model), context_of(features, run.trainer)).model.module
    sizes = [sum(p.numel() for p in network.parameters()) for network in (student, run.model.module)]
    assert sizes[0] < 0.75 * sizes[1] and student.inputs == run.model.module.inputs
    aucs = [row_metrics(network, features, "valid", student.tasks[0], ("auc",))[0].values["auc"] for network in (student, run.model.module)]
    assert aucs[0] > aucs[1] - 0.01 > 0.6  # type: ignore[operator]
    assert all(torch.equal(value, before[name]) for name, value in run.model.module.state_dict().items())


@pytest.mark.parametrize(
    ("known", "stated", "epochs"), [({}, None, 3), ({"epochs": 1}, None, 3), ({"epochs": 9}, None, 9), ({"epochs": 9}, 2, 2)]
)
def test_a_student_is_trained_as_long_as_its_teacher(features: FeatureSet, run: Any, known: Any, stated: Any, epochs: int) -> None:
    seen: list[int] = []

    def train(genotype: Any, view: Any, count: int, begin: Any) -> Any:
        seen.append(count)
        raise NotApplicable("enough")

    model = replace(run.model, provenance={"genotype": run.genotype, **known})
    with pytest.raises(NotApplicable, match="enough"):
        Student(Student.Config(epochs=stated)).compress(CompressedModel(model), context_of(features, replace(run.trainer, train=train)))
    assert seen == [epochs]


def test_soft_labels_teach_more_of_the_chances_than_hard_ones(features: FeatureSet, run: Any) -> None:
    """Labels that are the true chances teach the same network more than one toss of each coin."""
    small = smaller(run.genotype, 0.5, features.schema, run.trainer.kernel)
    assert small is not None
    rows, label, part = features.rows("train"), next(iter(features.schema.tasks)), features.parts["train"]
    soft = np.array(part.labels[label], dtype=np.float32)
    soft[rows] = clicks()[1][: len(rows)]
    assert abs(np.corrcoef(soft[rows], features.labels()[rows])[0, 1]) > 0.3  # rows and chances belong together
    view = replace(features, parts={**features.parts, "train": replace(part, labels={label: soft})}, _cache={})
    losses = [
        row_metrics(run.trainer.train(small, one, 4, None).module, features, "valid", label, ("log_loss",))[0].values["log_loss"]
        for one in (view, features)
    ]
    assert losses[0] < losses[1] - 0.005  # type: ignore[operator]


@pytest.mark.parametrize("case", ["no trainer", "no genotype", "few rows", "labels that imply each other"])
def test_what_cannot_have_a_student_is_told_why(features: FeatureSet, run: Any, case: str) -> None:
    trainer, model, given = run.trainer, run.model, features
    if case == "no trainer":
        trainer = None
    elif case == "no genotype":
        model = replace(model, provenance={})
    elif case == "labels that imply each other":
        given = SimpleNamespace(schema=replace(features.schema, implies={"bought": ("click",), "click": ()}))  # type: ignore[assignment]
    else:
        given = SimpleNamespace(rows=lambda split: np.arange(4_999), schema=features.schema)  # type: ignore[assignment]
    told = {"few rows": "4,999 training rows", "labels that imply each other": "imply"}.get(case, "ranker of a run")
    with pytest.raises(NotApplicable, match=told):
        Student(Student.Config()).compress(CompressedModel(model), context_of(given, trainer))


def test_halves_and_quarters_are_proposed_to_rankers_alone(run: Any) -> None:
    def proposed(model: TrainedModel) -> list[tuple[float, float, float]]:
        found = [config.model_dump() for config in Student(Student.Config()).propose(CompressedModel(model), Target("edge"))]
        return [(one["size"], round(one["depth"], 2), one["features"]) for one in found]

    ranked, unranked = (replace(run.model, features=replace(run.model.features, ranked=names)) for names in (("item.count",), None))
    assert proposed(unranked) == [(0.5, 1.0, 1.0), (0.25, 1.0, 1.0), (0.25, 0.33, 1.0)]
    assert proposed(ranked) == [(0.5, 1.0, 1.0), (0.25, 0.33, 0.5), (0.25, 1.0, 1.0), (0.25, 0.33, 1.0)]
    assert proposed(TrainedModel(run.model.architecture, SimpleNamespace(tasks=()), run.model.features, {}, {"genotype": {}})) == []
