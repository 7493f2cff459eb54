"""Students of retrievers: what they are taught, that keys tell histories apart, and that a teacher's lists reach them."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from autorec_distill.agreement import Agreement, agreement, alike
from autorec_distill.contexts import Contexts, Keys, contexts_of
from autorec_distill.lists import Lists, _tried, _vectors
from autorec_distill.ranked import ranked
from autorec_distill.smaller import begin, smaller
from autorec_distill.taught import Taught, counts_back, every_step
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target, Trainer
from autorec_kernel.data import open_dataset
from autorec_kernel.deploy.export import export_onnx, parity
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import FitSettings, Network, build_network, fit
from autorec_kernel.models.batching import batches_for
from autorec_kernel.models.entities import Entities
from autorec_kernel.models.scoring import rank_block
from autorec_kernel.records.model import CompressedModel, TrainedModel
from autorec_kernel.search.genes import assemble_space, chosen_among, decode, offers
from autorec_kernel.space import Genotype

pytestmark = pytest.mark.plugins
ITEMS, LENGTH = 60, 12


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    torch.set_num_threads(1)
    return Kernel.discover()


def walks(users: int, seed: int) -> pd.DataFrame:
    """Return histories that stay in one of six groups of ten items, nine times of ten; which items are a group cannot be seen."""
    group, rng = np.random.default_rng(0).permutation(ITEMS) % 6, np.random.default_rng(seed)
    rows = []
    for user in range(users):
        item = int(rng.integers(ITEMS))
        for step in range(LENGTH):
            rows.append((user, item, step))
            near = np.flatnonzero(group == group[item]) if rng.random() < 0.9 else np.arange(ITEMS)
            item = int(rng.choice(near))
    everything = [(users, item, step) for step, item in enumerate(range(ITEMS))]  # so that every item has the same row in all data
    return pd.DataFrame([*rows, *everything], columns=["user_id", "item_id", "timestamp"])


def features_of(kernel: Kernel, users: int, seed: int) -> FeatureSet:
    dataset = open_dataset(walks(users, seed), task="recommend", protocol="leave-one-out", deduplicate="none")
    return build_features(dataset, kernel, task="recommend", seed=0, history_length=20)


@pytest.fixture(scope="module")
def few(kernel: Kernel) -> FeatureSet:
    return features_of(kernel, 30, 1)


@pytest.fixture(scope="module")
def many(kernel: Kernel) -> FeatureSet:
    return features_of(kernel, 350, 2)


def genotype_of(kernel: Kernel, features: FeatureSet, blueprint: str, **genes: Any) -> Genotype:
    found = chosen_among(kernel, offers(kernel, "recommend", features.schema, wanted=(blueprint,)), (blueprint,))
    space = assemble_space(kernel, found, features.schema, "training/full")
    return space.canonical({"pipeline": "retriever", "retriever": blueprint, **{f"{blueprint}.{n}": value for n, value in genes.items()}})


def model_of(kernel: Kernel, genotype: Genotype, features: FeatureSet, epochs: int) -> TrainedModel:
    candidate = decode(genotype, features.schema, kernel)
    network = build_network(candidate.architecture, features.schema, kernel).attach(Entities(features))
    if epochs:
        settings = FitSettings(epochs=epochs, patience=0, batch_size=128)
        fit(network, features, settings, seed=np.random.SeedSequence(0), validate=None)
    return TrainedModel(candidate.architecture, network.eval(), features.schema, {}, {"genotype": dict(genotype)})


def context_of(features: Any, kernel: Kernel | None, *teachers: TrainedModel) -> CompressionContext:
    shares = [(teacher, 1 / len(teachers)) for teacher in teachers]
    trainer = None if kernel is None else Trainer(kernel, lambda *_: teachers[0], lambda: shares)
    return CompressionContext(Target("edge"), features, {}, lambda model, share: model, np.random.default_rng(0), trainer=trainer)


@pytest.fixture(scope="module")
def teacher(kernel: Kernel, many: FeatureSet) -> TrainedModel:
    return model_of(kernel, genotype_of(kernel, many, "zoo/sasrec", num_layers=1), many, 20)


@pytest.fixture(scope="module")
def recurrent(kernel: Kernel, many: FeatureSet) -> TrainedModel:
    return model_of(kernel, genotype_of(kernel, many, "zoo/gru4rec"), many, 20)


def top(model: TrainedModel, features: FeatureSet) -> np.ndarray:
    """Return the ten best items of two hundred histories that nobody was trained on."""
    rng = np.random.default_rng(7)
    items = walks(200, 9)["item_id"].to_numpy()[: 200 * LENGTH].reshape(200, LENGTH)
    lengths = rng.integers(1, 8, 200)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    histories = 1 + np.concatenate([row[:length] for row, length in zip(items, lengths, strict=True)])
    vectors = model.module.item_vectors().numpy()
    scores = rank_block(model.module, features.state(), np.zeros(200, np.int64), (offsets, histories), vectors)
    scores[:, 0] = -np.inf
    return np.argsort(-scores, axis=1)[:, :10]


def shared(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.mean([len(set(one) & set(other)) / 10 for one, other in zip(first, second, strict=True)]))


@pytest.mark.parametrize("kind", ["listwise", "pointwise", "pairwise"])
def test_a_student_of_few_data_comes_nearer_to_its_teacher_than_one_of_these_data_alone(
    kernel: Kernel, few: FeatureSet, recurrent: TrainedModel, kind: Agreement
) -> None:
    """Every step of a recurrent network is taught: 31 users are some four hundred contexts."""
    near, teacher = {}, recurrent
    for weight in (0.0, 3.0):
        config = Lists.Config(size=0.5, epochs=60, loss=kind, weight=weight)
        student = Lists(config).compress(CompressedModel(teacher), context_of(few, kernel, teacher)).model
        assert parameters(student) < 0.6 * parameters(teacher)
        near[weight] = shared(top(student, few), top(teacher, few))
    assert near[3.0] > near[0.0] + 0.1, near


def angles(model: TrainedModel) -> np.ndarray:
    """Return the cosines of all pairs of items."""
    vectors = model.module.item_vectors().numpy()[1:]
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(unit @ unit.T)


def test_a_student_that_is_taught_angles_sees_items_as_its_teacher_does(kernel: Kernel, few: FeatureSet, teacher: TrainedModel) -> None:
    apart = {}
    for likeness in (0.0, 10.0):
        config = Lists.Config(size=0.5, epochs=20, likeness=likeness)
        student = Lists(config).compress(CompressedModel(teacher), context_of(few, kernel, teacher)).model
        apart[likeness] = float(np.square(angles(student) - angles(teacher)).mean())
    assert apart[10.0] < 0.7 * apart[0.0], apart


def test_a_model_without_item_vectors_has_no_angles(teacher: TrainedModel) -> None:
    scores = SimpleNamespace(module=SimpleNamespace(serving_outputs=("score",)))
    with pytest.raises(NotApplicable, match="no angles"):
        _vectors(scores)  # type: ignore[arg-type]
    assert _vectors(teacher).shape == teacher.module.item_vectors().shape


def parameters(model: TrainedModel) -> int:
    return sum(parameter.numel() for parameter in model.module.parameters())


STUDENTS: dict[str, dict[str, Any]] = {
    "zoo/gru4rec": {"hidden_size": 32},
    "zoo/narm": {"hidden_size": 32},
    "zoo/mf": {"embedding_dim": 32},
    "zoo/multvae": {"hidden_dim": 64, "latent_dim": 32},
    "zoo/mind": {},
    "zoo/dssm": {"hidden_units": (64,)},
    "zoo/bert4rec": {},
}


@pytest.mark.parametrize("blueprint", STUDENTS)
def test_retrievers_of_every_batching_have_students_that_learn_their_lists(
    kernel: Kernel, many: FeatureSet, blueprint: str, teacher: TrainedModel
) -> None:
    given = model_of(kernel, genotype_of(kernel, many, blueprint, **STUDENTS[blueprint]), many, 0)
    before = {name: value.clone() for name, value in given.module.state_dict().items()}
    found = []
    for weight in (0.0, 30.0):  # the same draws: what differs is what was taught
        config = Lists.Config(size=0.5, epochs=1, weight=weight, most=1500)
        found.append(Lists(config).compress(CompressedModel(given), context_of(many, kernel, teacher)).model)
    student = found[1]
    assert parameters(student) < parameters(given) and type(student.module) is Network
    assert decode(Genotype(student.provenance["genotype"]), many.schema, kernel).architecture == student.architecture
    assert all(torch.equal(value, before[name]) for name, value in given.module.state_dict().items())
    moved = [torch.linalg.vector_norm(one.item_vectors() - student.module.item_vectors()) for one in (found[0].module, student.module)]
    assert moved[0] > 1e-3 and moved[1] == 0


def lesson_of(kernel: Kernel, features: FeatureSet, given: TrainedModel, *teachers: TrainedModel) -> Any:
    """Return (network, lesson) of a student as wide as the model."""
    network: Any = build_network(given.architecture, features.schema, kernel, kind=Taught).attach(Entities(features))
    context = context_of(features, kernel, *teachers)
    assert context.trainer is not None
    return network, Lists(Lists.Config())._lesson(network, given, context, context.trainer, 256)


@pytest.mark.parametrize("blueprint", ["zoo/sasrec", "zoo/gru4rec", "zoo/mf", "zoo/multvae"])
def test_what_a_batch_shows_is_found_again_in_the_lists(kernel: Kernel, many: FeatureSet, teacher: TrainedModel, blueprint: str) -> None:
    given = model_of(kernel, genotype_of(kernel, many, blueprint), many, 0)
    network, lesson = lesson_of(kernel, many, given, teacher)
    found, met = 0, 0
    for batch in batches_for(network, many, 512).epoch(np.random.default_rng(3)):  # another order than that of the sample
        keys, real = lesson.keys.of(batch)
        met += int(real.sum())
        found += int(np.isin(keys[real].numpy(), lesson.ranked.keys).sum())
    assert found == met > 300
    assert bool(lesson.states) == (blueprint in ("zoo/sasrec", "zoo/gru4rec"))


def test_keys_tell_orders_and_places_apart_and_sessions_go_on_in_the_next_batch(kernel: Kernel, many: FeatureSet) -> None:
    network = model_of(kernel, genotype_of(kernel, many, "zoo/gru4rec"), many, 0).module
    rows = torch.tensor([[1, 2, 3, 4], [2, 1, 3, 4], [1, 2, 3, 0], [1, 2, 4, 3]])
    whole, real = Keys(network, "", stepwise=True).of({"history": rows})
    assert real.sum() == 15 and torch.equal(whole[0, :3], whole[2, :3])
    assert whole[0, 1] != whole[1, 1] and whole[0, 3] != whole[3, 3] and len(set(whole[real].tolist())) == 10
    keys = Keys(network, "", stepwise=True)
    keys.of({"history": torch.tensor([[9, 9], [9, 9], [9, 9], [9, 9]]), "@reset": torch.ones(4, dtype=torch.bool)})
    first = keys.of({"history": rows[:, :2], "@reset": torch.ones(4, dtype=torch.bool)})[0]
    second = keys.of({"history": rows[:, 2:], "@reset": torch.tensor([False, False, False, True])})[0]
    assert torch.equal(first, whole[:, :2]) and torch.equal(second[:2], whole[:2, 2:]) and second[3, 1] != whole[3, 3]


@pytest.mark.parametrize("blueprint", ["zoo/sasrec", "zoo/gru4rec"])
def test_a_list_is_what_the_teacher_answers_to_the_history_before(
    kernel: Kernel, many: FeatureSet, teacher: TrainedModel, blueprint: str
) -> None:
    given = model_of(kernel, genotype_of(kernel, many, blueprint), many, 0)
    contexts = contexts_of(given.module, lambda: Keys(given.module, "", stepwise=True), many, 256, 300, np.random.default_rng(0))
    lists = ranked([(teacher, 1.0)], many, contexts, 5, 2.0)
    user = int(np.flatnonzero(np.diff(many.interactions.offsets) > 6)[0])
    history = many.interactions.of(user)[:4].astype(np.int64)
    key = Keys(given.module, "", stepwise=True).of({"history": torch.from_numpy(history)[None]})[0][0, -1]
    whole = contexts_of(given.module, lambda: Keys(given.module, "", stepwise=True), many, 256, 10**6, np.random.default_rng(0))
    at = int(np.searchsorted(whole.keys, int(key)))
    assert whole.keys[at] == int(key) and np.array_equal(whole.items[whole.offsets[at] : whole.offsets[at + 1]], history)
    assert len(contexts.keys) == 300 and np.isin(contexts.keys, whole.keys).all()

    first = contexts.items[contexts.offsets[0] : contexts.offsets[1]].astype(np.int64)
    vectors = teacher.module.item_vectors().numpy()
    scores = rank_block(teacher.module, many.state(), np.zeros(1, np.int64), (np.array([0, len(first)]), first), vectors)[0]
    scores[0] = -np.inf
    best = np.argsort(-scores)[:5]
    assert np.array_equal(lists.items[0], best)
    unit = float((scores[best[-1]] - scores[best[0]]) / lists.scores[0, -1])
    assert np.allclose((scores[best] - scores[best[0]]) / unit, lists.scores[0], atol=5e-3)
    rest = np.exp((np.delete(scores, [0, *best]) - scores[best[0]]) / (2.0 * unit)).sum()
    assert np.isclose(np.exp(lists.rest[0]), rest, rtol=1e-2) and lists.catalogue == many.schema.items


def test_what_was_chosen_before_is_in_no_list_where_nothing_is_chosen_twice(kernel: Kernel, teacher: TrainedModel) -> None:
    once = walks(60, 3).drop_duplicates(["user_id", "item_id"])
    features = build_features(open_dataset(once, task="recommend", protocol="leave-one-out"), kernel, task="recommend", seed=0)
    contexts = contexts_of(teacher.module, lambda: Keys(teacher.module, "", stepwise=True), features, 256, 500, np.random.default_rng(0))
    lists = ranked([(teacher, 1.0)], features, contexts, 10, 1.0)
    for at in range(len(contexts.keys)):
        seen = contexts.items[contexts.offsets[at] : contexts.offsets[at + 1]].astype(np.int64)
        assert not set(lists.items[at]) & set(seen)
        if at < 20:  # what was chosen before has the share that the teacher gives it
            vectors = teacher.module.item_vectors().numpy()
            scores = rank_block(teacher.module, features.state(), np.zeros(1, np.int64), (np.array([0, len(seen)]), seen), vectors)[0]
            unit = (scores[lists.items[at][-1]] - scores[lists.items[at][0]]) / float(lists.scores[at, -1])
            rest = np.exp((np.delete(scores, [0, *lists.items[at]]) - scores[lists.items[at][0]]) / unit).sum()
            assert np.isclose(np.exp(lists.rest[at]), rest, rtol=2e-2)


@pytest.mark.parametrize("whole", [True, False])
def test_what_few_draws_would_never_meet_is_left_out(
    kernel: Kernel, teacher: TrainedModel, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    monkeypatch.setattr("autorec_distill.ranked.WHOLE", 10**6 if whole else 10)
    once = walks(60, 3).drop_duplicates(["user_id", "item_id"])
    features = build_features(open_dataset(once, task="recommend", protocol="leave-one-out"), kernel, task="recommend", seed=0)
    seen = np.arange(1, ITEMS - 4)  # more than leave a full list
    offsets = np.array([0, 3, 3 + len(seen), 3 + len(seen) + ITEMS])
    contexts = Contexts(
        np.arange(3), np.zeros(3, np.int64), offsets, np.concatenate([[1, 2, 3], seen, np.arange(1, ITEMS + 1)]).astype(np.int32)
    )
    lists = ranked([(replace(teacher, module=copy.deepcopy(teacher.module)), 1.0)], features, contexts, 10, 1.0)
    assert np.isfinite(lists.rest).all() and np.isfinite(lists.scores).all()
    assert [int((row > 0).sum()) for row in lists.items] == [10, 5, 0]
    assert (lists.rest[1] > -5) == whole  # all others were chosen before: they have a share, or nothing is said of them
    vectors = teacher.module.item_vectors().numpy()
    scores = rank_block(teacher.module, features.state(), np.zeros(1, np.int64), (np.array([0, len(seen)]), seen), vectors)[0]
    unit = (scores[lists.items[1][4]] - scores[lists.items[1][0]]) / float(lists.scores[1, 4])
    if whole:
        expected = np.exp((scores[seen] - scores[lists.items[1][0]]) / unit).sum()
        assert np.isclose(np.exp(lists.rest[1]), expected, rtol=2e-2)


def test_teachers_of_different_scales_are_heard_by_their_weights(kernel: Kernel, many: FeatureSet, teacher: TrainedModel) -> None:
    """A teacher whose scores are a thousand times as large has no thousand votes."""
    loud = replace(teacher, module=copy.deepcopy(teacher.module))
    other = model_of(kernel, genotype_of(kernel, many, "zoo/sasrec", num_layers=1), many, 0)
    with torch.no_grad():
        loud.module.part("states").norm.weight.mul_(1000)
        loud.module.part("states").norm.bias.mul_(1000)
    contexts = contexts_of(teacher.module, lambda: Keys(teacher.module, "", stepwise=True), many, 256, 200, np.random.default_rng(0))
    plain, louder = (ranked([(other, 0.5), (one, 0.5)], many, contexts, 10, 1.0) for one in (teacher, loud))
    assert np.mean(plain.items == louder.items) > 0.95


def test_losses_have_their_known_values() -> None:
    own, taught = torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[0.0, -1.0, -2.0]])
    others, rest, mask = torch.full((1, 4), -1.0), torch.tensor([-1.0]), torch.ones(1, 3, dtype=torch.bool)

    def value(kind: Agreement, own: torch.Tensor = own) -> float:
        return float(agreement(kind, own, others, taught, rest, mask, left=8))

    shares = np.exp([0.0, -1.0, -2.0, -1.0])
    logits = np.array([2.0, 1.0, 0.0, np.log(8 * np.exp(-1.0))])
    expected = -(shares / shares.sum() * (logits - np.log(np.exp(logits).sum()))).sum()
    assert np.isclose(value("listwise"), expected)
    assert np.isclose(value("pointwise"), 0.0) and np.isclose(value("pointwise", 2 * own), 2 / 3)
    chance = 1 / (1 + np.exp(-1.0)), 1 / (1 + np.exp(-2.0))
    below = np.log1p(np.exp(-1.0))
    entropies = {round(float(-(p * np.log(p) + (1 - p) * np.log(1 - p)) + below), 5) for p in chance}
    assert {round(value("pairwise"), 5) for _ in range(30)} == entropies  # neighbours one and two places apart


def test_angles_have_their_known_difference() -> None:
    """Two items at a right angle for one model and in one direction for the other: 2 of 4 cosines differ by 1."""
    own, taught = torch.tensor([[[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]]]), torch.tensor([[[1.0], [5.0], [-1.0]]])
    two, three = torch.tensor([[True, True, False]]), torch.ones(1, 3, dtype=torch.bool)
    assert torch.isclose(alike(own, taught, two), torch.tensor(0.5))
    far = 2 * (1 + 2 * (0.5**0.5 + 1) ** 2) / 9
    assert torch.isclose(alike(own, taught, three), torch.tensor(far))
    assert alike(own, 7 * own, three) < 1e-6


def test_items_that_are_missing_from_a_list_count_for_nothing() -> None:
    own, taught = torch.tensor([[2.0, 1.0, 50.0]]), torch.tensor([[0.0, -1.0, -6e4]])
    mask = torch.tensor([[True, True, False]])
    others, rest = torch.full((1, 4), -1.0), torch.tensor([-1.0])
    kinds: tuple[Agreement, ...] = ("listwise", "pointwise")
    for kind in kinds:
        short = agreement(kind, own[:, :2], others, taught[:, :2], rest, mask[:, :2], left=8)
        assert torch.allclose(agreement(kind, own, others, taught, rest, mask, left=8), short)


def test_a_node_answers_every_step_only_where_nothing_later_changes_it(kernel: Kernel, many: FeatureSet) -> None:
    rows = torch.tensor([[5, 6, 7, 8], [9, 3, 2, 0]])
    found = {}
    for name in ("zoo/sasrec", "zoo/bert4rec", "zoo/narm", "zoo/mf"):
        found[name] = every_step(model_of(kernel, genotype_of(kernel, many, name), many, 0).module, rows)
    assert found == {"zoo/sasrec": "states", "zoo/bert4rec": "", "zoo/narm": "answers", "zoo/mf": ""}


def test_where_positions_count_back_only_newest_steps_are_taught_as_answered_alone(
    kernel: Kernel, many: FeatureSet, teacher: TrainedModel
) -> None:
    """A teacher that teaches a copy of itself has nothing to say: the loss is the entropy of its lists."""
    found: dict[str, float] = {}
    for name in ("zoo/sasrec", "zoo/gru4rec"):
        given = teacher if name == "zoo/sasrec" else model_of(kernel, genotype_of(kernel, many, name), many, 3)
        network: Any = build_network(given.architecture, many.schema, kernel, kind=Taught).attach(Entities(many))
        network.load_state_dict(given.module.state_dict())
        context = context_of(many, kernel, given)
        assert context.trainer is not None
        lesson = Lists(Lists.Config())._lesson(network, given, context, context.trainer, 256)
        assert lesson.keys.newest == (name == "zoo/sasrec") == counts_back(network.eval(), lesson.states, _tried(network, many))
        network.lesson, excess = lesson, []
        parts = _parts(network, next(iter(batches_for(network, many, 512).epoch(np.random.default_rng(3)))))
        assert (parts[1] < 0.5) == (name == "zoo/sasrec")  # it counts by the share of steps that are taught: all, or one of each history
        for batch in batches_for(network, many, 512).epoch(np.random.default_rng(3)):
            with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
                patch.setattr("autorec_distill.taught.agreement", partial(_excess, excess))
                network.loss(batch)
        found[name] = max(excess)
    assert max(found.values()) < 0.05, found


@torch.no_grad()
def _parts(network: Any, batch: Any) -> list[float]:
    """Return the data's loss, and the lesson's over the loss of one list."""
    lesson, whole = network.lesson, float(network.loss(batch))
    network.lesson = None
    alone = float(network.loss(batch))
    network.lesson = lesson
    seen: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autorec_distill.taught.agreement", lambda *told: (seen.append(float(agreement(*told))), agreement(*told))[1])
        network.loss(batch)
    return [alone, (whole - alone) / seen[0]]


def _excess(found: list[float], kind: Agreement, own: torch.Tensor, others: torch.Tensor, taught: torch.Tensor, *rest: Any) -> torch.Tensor:
    """Note how far the shares inside a list are from the teacher's (Kullback and Leibler)."""
    wanted = torch.softmax(taught, 1)
    found.append(float((wanted * (wanted.log() - torch.log_softmax(own, 1))).sum(1).mean()))
    return agreement(kind, own, others, taught, *rest)


def test_the_student_of_a_student_is_served_like_any_other_network(kernel: Kernel, few: FeatureSet, teacher: TrainedModel) -> None:
    first = Lists(Lists.Config(epochs=1)).compress(CompressedModel(teacher, b"graph"), context_of(few, kernel, teacher))
    second = Lists(Lists.Config(epochs=1)).compress(first, context_of(few, kernel, teacher)).model.module
    assert first.graph is None and [first.model.module.item_vectors().shape[1], second.item_vectors().shape[1]] == [32, 16]
    sample = {"history": np.array([[3, 4, 5], [6, 7, 0]])}
    assert parity(second, export_onnx(second, sample), sample) <= 1e-5


def test_equal_generators_give_equal_students(kernel: Kernel, few: FeatureSet, teacher: TrainedModel) -> None:
    found = [Lists(Lists.Config(epochs=2)).compress(CompressedModel(teacher), context_of(few, kernel, teacher)).model for _ in range(2)]
    pairs = zip(*(model.module.state_dict().items() for model in found), strict=True)
    assert all(torch.equal(one, other) for (_, one), (_, other) in pairs)


def test_a_student_keeps_the_history_that_its_teacher_reads(kernel: Kernel, many: FeatureSet) -> None:
    genotype = genotype_of(kernel, many, "zoo/sasrec", max_len=100, hidden_size=64)
    quarter = smaller(genotype, 0.25, many.schema, kernel)
    assert quarter is not None
    assert (quarter["zoo/sasrec.max_len"], quarter["zoo/sasrec.hidden_size"]) == (100, 16)


@pytest.mark.parametrize("case", ["no trainer", "no genotype", "a ranker", "a closed form", "few", "no time"])
def test_what_cannot_be_taught_lists_is_told_why(kernel: Kernel, few: FeatureSet, teacher: TrainedModel, case: str) -> None:
    model, context = teacher, context_of(few, None if case == "no trainer" else kernel, teacher)
    if case == "no genotype":
        model = replace(model, provenance={})
    elif case == "a ranker":
        model = replace(model, module=SimpleNamespace(tasks=("click",)))
    elif case == "a closed form":
        model = replace(model, module=SimpleNamespace(tasks=(), trainable=False, stacked=False))
    elif case == "few":
        context = replace(context, features=features_of(kernel, 10, 4))
    elif case == "no time":
        context = replace(context, fine_tune=SimpleNamespace(deadline=0.0))  # type: ignore[arg-type]
    told = {"a closed form": "closed form", "few": "too few", "no time": "time"}.get(case, "retriever of a run")
    with pytest.raises(NotApplicable, match=told):
        Lists(Lists.Config()).compress(CompressedModel(model), context)


def test_fewer_layers_and_widths_are_proposed_to_trained_retrievers_alone(kernel: Kernel, teacher: TrainedModel) -> None:
    found = [config.model_dump() for config in Lists(Lists.Config()).propose(CompressedModel(teacher), Target("edge"))]
    assert [(one["size"], round(one["depth"], 2)) for one in found] == [(1.0, 0.33), (0.5, 1.0), (0.5, 0.33), (0.25, 1.0)]
    for module in (SimpleNamespace(tasks=("click",), trainable=True), SimpleNamespace(tasks=(), trainable=False)):
        assert not list(Lists(Lists.Config()).propose(CompressedModel(replace(teacher, module=module)), Target("edge")))


def test_a_student_of_fewer_layers_begins_where_its_teacher_is(kernel: Kernel, few: FeatureSet) -> None:
    genotype = genotype_of(kernel, few, "zoo/sasrec", num_layers=2)
    deep = model_of(kernel, genotype, few, 1)
    config = Lists.Config(size=1.0, depth=0.3, epochs=1)
    student = Lists(config).compress(CompressedModel(deep), context_of(few, kernel, deep)).model
    assert student.provenance["genotype"] == {**genotype, "zoo/sasrec.num_layers": 1}
    known = replace(deep, provenance={**deep.provenance, "epochs": 4})
    rested = Lists(config.model_copy(update={"epochs": None})).compress(CompressedModel(known), context_of(few, kernel, deep)).model
    assert rested.provenance["epochs"] == 2  # a third of four
    decoded = decode(Genotype(student.provenance["genotype"]), few.schema, kernel)
    new = build_network(decoded.architecture, few.schema, kernel, seed=5).attach(Entities(few))
    assert begin(new, deep.module)
    own = deep.module.state_dict()
    assert len(own) > len(new.state_dict()) and all(torch.equal(value, own[name]) for name, value in new.state_dict().items())


def test_a_student_that_shares_little_with_its_teacher_begins_anew(kernel: Kernel, few: FeatureSet) -> None:
    deep = model_of(kernel, genotype_of(kernel, few, "zoo/sasrec", num_layers=2), few, 1)
    narrow = decode(genotype_of(kernel, few, "zoo/sasrec", num_layers=2, hidden_size=32), few.schema, kernel)
    new = build_network(narrow.architecture, few.schema, kernel, seed=5).attach(Entities(few))
    before = {name: value.clone() for name, value in new.state_dict().items()}
    assert not begin(new, deep.module)
    assert all(torch.equal(value, before[name]) for name, value in new.state_dict().items())


def test_where_no_layer_can_be_left_out_fewer_layers_are_no_student(kernel: Kernel, few: FeatureSet, teacher: TrainedModel) -> None:
    with pytest.raises(NotApplicable, match="no layer can be left out"):
        Lists(Lists.Config(size=0.5, depth=0.3)).compress(CompressedModel(teacher), context_of(few, kernel, teacher))


@pytest.mark.parametrize(("kind", "same"), [("listwise", True), ("pairwise", False)])
def test_shares_of_a_small_catalogue_are_of_all_of_it(
    kernel: Kernel, few: FeatureSet, teacher: TrainedModel, kind: Agreement, same: bool
) -> None:
    seen: list[torch.Tensor] = []

    def noted(kind: Agreement, own: torch.Tensor, others: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        seen.append(others.detach().isfinite().sum(1))
        return agreement(kind, own, others, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autorec_distill.taught.agreement", noted)
        config = Lists.Config(size=0.5, epochs=1, loss=kind, best=20)
        Lists(config).compress(CompressedModel(teacher), context_of(few, kernel, teacher))
    assert seen and all((counts == ITEMS - 20).all() == same for counts in seen)
