from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from serving_toys import ITEMS, TOYS, events, state, write_toy

from autorec_kernel.errors import BundleError, UsageError
from autorec_kernel.evaluation.ordering import top_k
from autorec_kernel.serving import Recommender
from autorec_kernel.serving.foldin import FoldIn
from autorec_kernel.serving.graph import fit_length
from autorec_kernel.serving.requests import read_requests


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("bundles")
    for kind in TOYS:
        write_toy(base / kind, kind)
    return base


@pytest.fixture(scope="module")
def bundles(folder: Path) -> dict[str, Recommender]:
    return {kind: Recommender.load(folder / kind) for kind in TOYS}


def seen_by(user: int) -> set[str]:
    return {f"i{item:02d}" for item in events()["@item"][events()["@user"] == user]}


def test_a_known_user_gets_the_lists_that_the_network_gives(bundles: dict[str, Recommender]) -> None:
    network = TOYS["factors"]()
    scores = (network.users.weight @ network.items.weight.T).detach().numpy()
    offsets, items = state().seen
    expected = state().items.ids_of(top_k(scores[3:4], 5, (np.array([0, offsets[4] - offsets[3]]), items[offsets[3] : offsets[4]]))[0])
    answer = bundles["factors"].recommend(["u3"], k=5)[0]
    assert list(answer.items) == expected
    assert answer.answered_by == "model"
    assert answer.known


def test_a_history_is_read_by_the_graph_that_reads_one(bundles: dict[str, Recommender]) -> None:
    by_id = bundles["scores"].recommend(["u2"], k=4)[0]
    history = [f"i{item:02d}" for item in events()["@item"][events()["@user"] == 2]]
    by_history = bundles["scores"].recommend(histories=[history], k=4)[0]
    assert by_history.items == by_id.items
    assert (by_history.answered_by, by_history.known) == ("model", False)


@pytest.mark.parametrize(
    ("kind", "user", "history", "way"),
    [
        ("factors", "u1", None, "model"),
        ("factors", "nobody", ["i01", "i02"], "fold-in"),
        ("factors", "nobody", None, "popularity"),
        ("factors", None, ["unknown"], "popularity"),
        ("factors", "u1", ["i01"], "model"),
        ("scores", "u5", None, "popularity"),
        ("scores", "nobody", ["i01"], "model"),
        ("scores", "nobody", None, "popularity"),
        ("ranker", "u1", None, "model"),
        ("ranker", "nobody", ["i01"], "popularity"),
    ],
)
def test_an_answer_says_how_it_was_made(
    bundles: dict[str, Recommender], kind: str, user: str | None, history: list[str] | None, way: str
) -> None:
    answer = bundles[kind].recommend([user], [history], k=3)[0]
    assert answer.answered_by == way
    assert len(answer.items) == 3
    assert all(np.isfinite(answer.scores))


def test_seen_items_are_left_out_unless_asked_for(bundles: dict[str, Recommender]) -> None:
    without = bundles["factors"].recommend(["u4"], k=ITEMS)[0]
    assert set(without.items).isdisjoint(seen_by(4))
    assert len(without.items) == ITEMS - len(seen_by(4))
    assert len(bundles["factors"].recommend(["u4"], k=ITEMS, exclude_seen=False)[0].items) == ITEMS


def test_the_given_history_is_left_out_too(bundles: dict[str, Recommender]) -> None:
    answer = bundles["scores"].recommend(histories=[["i07", "i08"]], k=ITEMS)[0]
    assert set(answer.items).isdisjoint({"i07", "i08"})


def test_excluded_items_are_recommended_to_nobody(bundles: dict[str, Recommender]) -> None:
    first = bundles["factors"].recommend(["u1"], k=2)[0].items
    assert set(bundles["factors"].recommend(["u1"], k=ITEMS, exclude=first)[0].items).isdisjoint(first)


def test_more_than_the_catalogue_gives_the_catalogue(bundles: dict[str, Recommender]) -> None:
    assert len(bundles["scores"].recommend(["nobody"], k=10_000)[0].items) == ITEMS


@pytest.mark.parametrize(
    ("user", "history", "way"), [("u1", None, "model"), ("nobody", ["i01"], "fold-in"), ("nobody", None, "popularity")]
)
def test_a_scored_request_says_how_it_was_answered(bundles: dict[str, Recommender], user: str, history: list[str] | None, way: str) -> None:
    one = bundles["factors"]
    values, found = one.scored(read_requests(one.state, [user], [history])[0], ["i03", "nothing"])
    assert found == way
    assert values.tolist() == one.score(user, ["i03", "nothing"], history).tolist()


def test_a_ranker_reads_the_items_that_are_asked_for_and_no_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recommender = Recommender.load(folder / "ranker")
    full = recommender.score("u3", [f"i{number:02d}" for number in range(1, ITEMS + 1)])
    rows, honest = list[int](), recommender.graph.run
    monkeypatch.setattr(recommender.graph, "run", lambda inputs: rows.append(len(inputs["item_id"])) or honest(inputs))
    np.testing.assert_allclose(recommender.score("u3", ["i07", "i30", "i07"]), full[[6, 29, 6]], rtol=1e-6)
    assert rows == [3]
    assert recommender.score("u3", ["i07", "unknown"])[1] == pytest.approx(full.mean(), rel=1e-6)
    assert rows == [3, ITEMS + 1]
    assert len(recommender.score("u3", [])) == 0


def test_equal_scores_are_listed_by_item_id(bundles: dict[str, Recommender]) -> None:
    items = bundles["factors"].recommend(["nobody"], k=ITEMS)[0]
    groups: dict[float, list[str]] = {}
    for item, score in zip(items.items, items.scores, strict=True):
        groups.setdefault(score, []).append(item)
    assert len(groups) < ITEMS
    assert all(group == sorted(group) for group in groups.values())


def test_a_ranker_ranks_the_whole_catalogue_as_it_predicts(bundles: dict[str, Recommender]) -> None:
    recommender = bundles["ranker"]
    answer = recommender.recommend(["u2"], k=5)[0]
    ids = [f"i{number:02d}" for number in range(1, ITEMS + 1) if f"i{number:02d}" not in seen_by(2)]
    values = recommender.score("u2", ids)
    assert list(answer.items) == [ids[place] for place in np.argsort(-values, kind="stable")[:5]]


def test_many_users_get_what_each_gets_alone(bundles: dict[str, Recommender]) -> None:
    for recommender in bundles.values():
        users, histories = ["u1", "nobody", "u3", None], [None, ["i05"], ["i06", "i07"], ["i01"]]
        together = recommender.recommend(users, histories, k=4)
        alone = [recommender.recommend([user], [history], k=4)[0] for user, history in zip(users, histories, strict=True)]
        assert [answer.items for answer in together] == [answer.items for answer in alone]


def test_predictions_stay_inside_the_labels_seen_in_training(bundles: dict[str, Recommender]) -> None:
    users = [f"u{number}" for number in range(8)] * ITEMS
    items = [f"i{number:02d}" for number in range(ITEMS) for _ in range(8)]
    found = bundles["ranker"].predict(users, items)
    assert found.values.min() >= 1.0
    assert found.values.max() <= 5.0
    assert len(np.unique(found.values)) > 50


def test_predictions_are_those_of_the_network(bundles: dict[str, Recommender]) -> None:
    network = TOYS["ranker"]()
    price = torch.tensor([[np.float32(np.linspace(0, 1, ITEMS + 1)[7])]])
    with torch.no_grad():
        expected = float(network.serve(torch.tensor([3]), torch.tensor([7]), price)[0][0])
    assert bundles["ranker"].predict(["u3"], ["i07"]).values[0] == pytest.approx(np.clip(expected, 1, 5), abs=1e-5)


def test_unknown_ids_are_predicted_and_flagged(bundles: dict[str, Recommender]) -> None:
    found = bundles["ranker"].predict(["u1", "nobody", "nobody"], ["nothing", "i01", "nothing"])
    assert found.known_users.tolist() == [True, False, False]
    assert found.known_items.tolist() == [False, True, False]
    assert found.values[2] == 3.5
    assert np.isfinite(found.values).all()
    for kind in ("scores", "factors"):
        assert np.isfinite(bundles[kind].predict(["u1", "nobody"], ["nothing", "nothing"]).values).all()


def test_a_stranger_without_history_is_predicted_by_how_many_chose_the_item(bundles: dict[str, Recommender]) -> None:
    recommender = bundles["scores"]
    share = recommender.state.popularity[7] / (recommender.state.users.size - 1)
    assert recommender.predict(["nobody"], ["i07"]).values[0] == pytest.approx(share)
    answer = recommender.recommend(["nobody"], k=3)[0]
    assert max(answer.scores) <= 1.0 and answer.scores[0] == max(recommender.state.popularity) / (recommender.state.users.size - 1)


def test_requests_that_make_no_sense_are_refused(bundles: dict[str, Recommender]) -> None:
    recommender = bundles["factors"]
    with pytest.raises(UsageError):
        recommender.recommend()
    with pytest.raises(UsageError, match="histories"):
        recommender.recommend(["u1"], [["i01"], ["i02"]])
    with pytest.raises(UsageError):
        recommender.recommend(["u1"], k=0)
    with pytest.raises(UsageError, match="list of ids"):
        recommender.recommend("u1")
    with pytest.raises(UsageError, match="whole number"):
        recommender.recommend(["u1"], k=2.5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="one length"):
        recommender.predict(["u1"], ["i01", "i02"])
    assert recommender.recommend([]) == []


def test_an_id_outside_the_vocabulary_never_reaches_the_session(bundles: dict[str, Recommender]) -> None:
    for wrong in ([-1], [6], [0, 5, 6], [-(2**63)], [*range(6)] * 4 + [-1]):
        for kind in (np.int64, np.int32):
            with pytest.raises(BundleError, match=r"outside 0\.\.5"):
                bundles["factors"].graph.run({"user_id": np.clip(wrong, np.iinfo(kind).min, None).astype(kind)})
    graph, every = bundles["factors"].graph, np.arange(6)
    for kind in (np.int32, np.uint8):
        np.testing.assert_array_equal(graph.run({"user_id": every.astype(kind)})["user"], graph.run({"user_id": every})["user"])


def test_a_few_steps_more_than_the_graph_reads_are_cut(bundles: dict[str, Recommender]) -> None:
    graph, history = bundles["scores"].graph, np.array([[1, 2, 3, 4, 5, 6, 7, 8], [9, 8, 7, 6, 5, 4, 0, 0]])
    for rows in (history[:1], history):
        np.testing.assert_array_equal(graph.run({"history": rows})["score"], graph.run({"history": fit_length(rows, 5)})["score"])


def test_histories_keep_their_latest_steps() -> None:
    history = np.array([[1, 2, 3, 0], [4, 0, 0, 0], [1, 2, 3, 4], [0, 0, 0, 0]])
    assert fit_length(history, 2).tolist() == [[2, 3], [4, 0], [3, 4], [0, 0]]
    assert fit_length(history, 5).tolist() == [[1, 2, 3, 0, 0], [4, 0, 0, 0, 0], [1, 2, 3, 4, 0], [0, 0, 0, 0, 0]]


def test_a_folded_in_user_prefers_what_resembles_the_history() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(4, dtype=np.float32) * 3
    vectors = np.concatenate([np.zeros((1, 4)), np.repeat(centres, 10, axis=0) + rng.normal(0, 0.1, (40, 4))]).astype(np.float32)
    scores = vectors @ FoldIn(vectors).users([np.array([11, 12, 0]), np.array([], dtype=np.int64)]).T
    assert set(np.argsort(-scores[:, 0])[:10]) == set(range(11, 21))
    assert not scores[:, 1].any()


ALONE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "pandas", "pydantic", "pyarrow", "scipy", "onnx", "onnxscript", "pluggy", "typer", "rich"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
from autorec_kernel.serving import Recommender

recommender = Recommender.load(sys.argv[1])
print(*recommender.recommend(["u1", "nobody"], [None, ["i03"]], k=3)[1].items, recommender.predict(["u1"], ["i01"]).values[0])
"""


@pytest.mark.parametrize("kind", TOYS)
def test_a_bundle_answers_with_numpy_and_onnxruntime_alone(folder: Path, bundles: dict[str, Recommender], kind: str) -> None:
    done = subprocess.run([sys.executable, "-c", ALONE, str(folder / kind)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    here = bundles[kind]
    expected = [*here.recommend(["u1", "nobody"], [None, ["i03"]], k=3)[1].items, str(here.predict(["u1"], ["i01"]).values[0])]
    assert done.stdout.split() == expected
