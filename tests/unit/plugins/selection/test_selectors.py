"""Every selector on small data of which the answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from planted_columns import features_of

from autorec_kernel.features import FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.testing.host import host
from autorec_kernel.testing.model_cases import features_for
from autorec_selection.auto import Auto
from autorec_selection.base import NOTHING
from autorec_selection.columns import columns_of
from autorec_selection.curve import auc, curve_of, steps_of
from autorec_selection.gates import Gates
from autorec_selection.information import MutualInformation
from autorec_selection.linear import fitted_linear
from autorec_selection.permutation import Permutation
from autorec_selection.redundancy import Redundancy
from autorec_selection.sample import draw
from autorec_selection.tree_gain import TreeGain

ALL = [Auto, Gates, MutualInformation, Permutation, Redundancy, TreeGain]


@pytest.fixture(scope="module")
def easy() -> FeatureSet:
    """A number that tells, a copy of it with a little noise, three categories that tell a little, and five columns of noise."""
    rng = np.random.default_rng(5)
    strong, some = rng.normal(size=4000), rng.integers(0, 3, 4000)
    label = 2.0 * strong + 1.0 * (some == 1) + rng.logistic(size=4000) > 0
    noise = {f"noise{i}": rng.normal(size=4000) for i in range(5)}
    texts = np.array(["a", "b", "c"], dtype=object)[some]
    columns = {"strong": strong, "copy": strong + 0.01 * rng.normal(size=4000), "some": texts, **noise}
    return features_of(pd.DataFrame({**columns, "label": label.astype(int)}))


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_signal_stands_above_noise_and_the_reason_has_figures(kind: type, easy: FeatureSet) -> None:
    if kind in (Permutation, TreeGain):
        pytest.importorskip("lightgbm")
    ranking = kind(kind.Config()).rank(easy, np.random.default_rng(0))
    order, noise = ranking.order(), {f"noise{i}" for i in range(5)}
    assert {"strong", "copy"} & set(ranking.kept) and not noise & set(ranking.kept)
    assert {"strong", "copy"} & set(order[:2]) and not noise & set(order[:2])
    assert all(any(sign.isdigit() for sign in ranking.reasons[name]) for name in order)


def test_redundancy_puts_a_copy_behind_what_is_new_and_names_the_other(easy: FeatureSet) -> None:
    ranking = Redundancy(Redundancy.Config(overlap=0.7)).rank(easy, np.random.default_rng(0))
    first, second = ranking.order()[:2]
    copy = "copy" if first == "strong" else "strong"
    assert second == "some" and f"is told by {first}" in ranking.reasons[copy]
    assert set(ranking.kept or ()) == {first, "some"}
    alone = MutualInformation(MutualInformation.Config()).rank(easy, np.random.default_rng(0))
    assert set(alone.order()[:2]) == {"strong", "copy"}


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_a_label_that_never_varies_ranks_nothing(kind: type) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=300), "y": rng.normal(size=300), "label": np.r_[np.zeros(299), 1.0].astype(int)})
    features = features_of(frame)
    features.parts["train"].labels["label"][:] = 0.0  # type: ignore[index]
    ranking = kind(kind.Config()).rank(features, np.random.default_rng(0))
    assert set(ranking.scores.values()) == {0.0} and set(ranking.reasons.values()) == {NOTHING} and ranking.kept is None


def test_noise_that_is_the_same_on_all_rows_of_a_user_is_noise() -> None:
    """A hundred users with tastes of their own: a column of users that tells nothing looks telling to who counts rows."""
    rng = np.random.default_rng(3)
    users = np.repeat(np.arange(100), 60)
    chance = 1 / (1 + np.exp(-rng.normal(0, 1.5, 100)))[users]
    side = {f"n{i}": rng.integers(0, 3, 100)[users].astype(str) for i in range(12)}
    told = rng.integers(0, 3, len(users))
    label = rng.random(len(users)) < np.where(told == 1, np.minimum(chance + 0.3, 1), chance)
    items = rng.integers(0, 40, len(users))
    frame = pd.DataFrame({"user_id": users, "item_id": items, **side, "told": told.astype(str), "label": label.astype(int)})
    features = features_of(frame)
    found = MutualInformation(MutualInformation.Config()).rank(features, np.random.default_rng(0))
    assert "told" in found.kept and not [name for name in found.kept if name.startswith("n")]


def test_to_recommend_is_to_tell_what_was_chosen_from_what_was_not() -> None:
    features = features_for(host(None), "recommend")
    sample = draw(features, "train", 200, np.random.default_rng(0))
    (target,) = sample.targets
    chosen, others = target.values == 1, target.values == 0
    assert sample.rows == 200 and chosen.sum() == others.sum() == 100
    assert (sample.users[chosen] == sample.users[others]).all() and sample.items.min() > 0
    assert (sample.items[chosen] != sample.items[others]).mean() > 0.9


def test_mean_labels_of_training_rows_leave_the_row_out() -> None:
    """With as many values as rows, a mean that counted its own row would be the label."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"many": rng.permutation(np.repeat([f"v{i}" for i in range(500)], 4)), "label": rng.integers(0, 2, 2000)})
    train = draw(features_of(frame), "train", 2000, rng)
    labels = rng.permutation(train.targets[0].values)  # equal rows share a split, which ties labels to values
    columns = columns_of(train, train, labels, rng)
    assert columns.train.shape[1] == 2
    inside, whole = (auc(labels, side[:, 1]) for side in (columns.train, columns.judged))
    assert abs(inside - 0.5) < 0.06 and whole > 0.6


def test_the_curve_goes_up_by_doubling_and_ends_with_all(easy: FeatureSet) -> None:
    pytest.importorskip("lightgbm")
    names = ["strong", "some", "copy", *(f"noise{i}" for i in range(5))]
    rows = curve_of(easy, names, np.random.default_rng(0), 600.0, 4000)
    assert [row["features"] for row in rows] == [1, 2, 4, 8] and {row["metric"] for row in rows} == {"auc"}
    assert rows[0]["value"] > 0.75 and rows[1]["value"] > rows[0]["value"]
    assert len(curve_of(easy, names, np.random.default_rng(0), 0.0, 4000)) == 1
    assert steps_of(5, 0) == [1, 2, 4, 5] and steps_of(4, 2) == [0, 1, 2, 4] and steps_of(0, 0) == []


def test_the_linear_model_finds_the_weights_of_a_logistic_law_and_reads_gaps_and_categories() -> None:
    rng = np.random.default_rng(0)
    number, kind = rng.normal(size=6000), rng.integers(0, 3, 6000)
    chance = 1 / (1 + np.exp(-(number + np.array([-1.0, 0.0, 1.0])[kind])))
    columns = np.stack([np.where(rng.random(6000) < 0.1, np.nan, number), kind], axis=1).astype(np.float32)
    found = fitted_linear(columns, columns, (rng.random(6000) < chance).astype(np.float32), "logit", (1,))
    known = np.isfinite(columns[:, 0])
    assert np.abs(found - chance)[known].max() < 0.1
    values = fitted_linear(columns, columns, 3 * number + kind, "value", (1,))
    assert np.abs(values - (3 * number + kind))[known].max() < 0.1


def test_equal_scores_of_an_auc_count_half() -> None:
    assert auc(np.array([0, 1, 1, 0]), np.array([0.1, 0.4, 0.4, 0.4])) == pytest.approx(0.75)


def test_all_six_come_in_through_the_entry_point(kernel: Kernel) -> None:
    rows = {row.id.split("/")[1]: row for row in kernel.components("feature-selector") if row.id.startswith("selection/")}
    assert sorted(rows) == ["auto", "gates", "mutual-information", "permutation", "redundancy", "tree-gain"]
    assert "default" in rows["auto"].tags
