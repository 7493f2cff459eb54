from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")
from serve_kit import ask

from autorec_kernel.records.table import Coded
from autorec_serve import told
from autorec_serve.app import create_app


@pytest.mark.parametrize("name", ["first", "ranker"])
@pytest.mark.parametrize(
    "body",
    [
        {"users": ["u1", "nobody", None], "k": 4},
        {"histories": [["i01", "i02", "never"], []], "k": 3},
        {"users": ["u1", "nobody"], "histories": [None, ["i07"]], "exclude": ["i01", "i09"], "exclude_seen": False},
        {"users": ["u2"], "k": 1000},
    ],
)
def test_lists_are_those_of_the_recommender(served_apps: Any, name: str, body: dict[str, Any]) -> None:
    served = served_apps[name]
    found = ask(served, "POST", "/v1/recommend", body).json()
    users, histories = body.get("users"), body.get("histories")
    options = {name: body[name] for name in ("k", "exclude", "exclude_seen") if name in body}
    expected = served.current.recommender.recommend(users, histories, **options)
    assert found == {"bundle": served.current.digest, "answers": [answer.to_json() for answer in expected]}


def test_without_users_and_histories_what_is_popular_is_answered(served_apps: Any) -> None:
    (answer,) = ask(served_apps["first"], "POST", "/v1/recommend", {}).json()["answers"]
    assert (answer["user"], answer["answered_by"], answer["items"][0]) == (None, "popularity", "i03")


def test_whole_numbers_stand_for_their_texts(served_apps: Any) -> None:
    assert ask(served_apps["first"], "POST", "/v1/recommend", {"users": [42]}).json()["answers"][0]["user"] == "42"


@pytest.mark.parametrize(("user", "history"), [("u1", None), (None, ["i01", "never"]), ("nobody", None)])
def test_scores_are_those_of_the_recommender(served_apps: Any, user: str | None, history: list[str] | None) -> None:
    served = served_apps["first"]
    found = ask(served, "POST", "/v1/score", {"user": user, "history": history, "items": ["i03", "never"]}).json()
    assert found["scores"] == served.current.recommender.score(user, ["i03", "never"], history).tolist()
    assert (found["known"], found["known_items"], found["unknown_items"]) == (user == "u1", [True, False], int(history is not None))


def test_predictions_are_those_of_the_recommender(served_apps: Any) -> None:
    served = served_apps["ranker"]
    columns = {"price": [1, 2.5, None], "when": ["2026-01-31T12:00:00Z", 0, None]}
    found = ask(served, "POST", "/v1/predict", {"users": ["u1", "u2", "x"], "items": ["i01", "x", None], "columns": columns}).json()
    moment = np.datetime64("2026-01-31T12", "ns").astype(np.int64)
    times = np.array([moment, 0, np.iinfo(np.int64).min])
    arrays = {"price": np.array([1, 2.5, np.nan]), "when": times, "@clock": times}
    expected = served.current.recommender.predict(["u1", "u2", "x"], ["i01", "x", None], arrays)
    assert found["predictions"] == expected.values.tolist() == found["tasks"]["rating"]
    assert (found["known_users"], found["known_items"]) == ([True, True, False], [True, False, False])


def test_the_hour_of_a_time_is_read(served_apps: Any) -> None:
    body = {"users": ["u1", "u1"], "items": ["i01", "i01"], "columns": {"when": ["2026-01-31T02:00:00Z", "2026-01-31T12:00:00+02:00"]}}
    early, late = ask(served_apps["ranker"], "POST", "/v1/predict", body).json()["predictions"]
    assert late - early == pytest.approx(8, abs=1e-4)


@pytest.mark.parametrize(
    ("columns", "field"),
    [
        ({"price": ["cheap"]}, "columns.price"),
        ({"price": [True]}, "columns.price"),
        ({"when": ["noon"]}, "columns.when"),
        ({"colour": [1]}, "columns.colour"),
    ],
)
def test_a_column_that_cannot_be_read_is_named(served_apps: Any, columns: dict[str, Any], field: str) -> None:
    reply = ask(served_apps["ranker"], "POST", "/v1/predict", {"users": ["u1"], "items": ["i01"], "columns": columns})
    assert (reply.status, [one["field"] for one in reply.json()["fields"]]) == (422, [field])


def test_the_schema_says_what_the_bundle_reads(served_apps: Any) -> None:
    found = ask(served_apps["ranker"], "GET", "/schema").json()
    assert found["columns"] == [{"name": "price", "kind": "numeric"}, {"name": "when", "kind": "time"}]
    assert (found["task"], found["labels"], found["catalogue"]) == ("rate", ["rating"], 40)


@pytest.mark.parametrize(
    ("path", "shape", "body"),
    [
        ("/healthz", told.Health, None),
        ("/readyz", told.Ready, None),
        ("/schema", told.Facts, None),
        ("/v1/recommend", told.Lists, {"users": ["u1"]}),
        ("/v1/score", told.Scores, {"user": "u1", "items": ["i01"]}),
        ("/v1/predict", told.Predictions, {"users": ["u1"], "items": ["i01"]}),
        ("/v1/recommend", told.Problem, {"users": "u1"}),
        ("/nowhere", told.Problem, None),
    ],
)
def test_answers_have_the_shapes_that_are_described(served_apps: Any, path: str, shape: Any, body: Any) -> None:
    reply = ask(served_apps["first"], "GET" if body is None else "POST", path, body)
    shape.model_validate_json(reply.body)


def test_the_description_names_every_route_and_all_its_references_resolve(served_apps: Any) -> None:
    found = ask(served_apps["first"], "GET", "/openapi.json").json()
    assert found == create_app(served_apps["first"]).openapi()
    assert set(found["paths"]) == {"/healthz", "/readyz", "/metrics", "/schema", "/v1/recommend", "/v1/score", "/v1/predict"}
    asked = found["paths"]["/v1/recommend"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(asked["properties"]) == {"users", "histories", "k", "exclude", "exclude_seen"}
    references = [value for value in _values(found) if isinstance(value, str) and value.startswith("#/")]
    assert references
    for reference in references:
        place: Any = found
        for part in reference[2:].split("/"):
            place = place[part]


def _values(one: Any) -> list[Any]:
    if isinstance(one, dict):
        return [value for inner in one.values() for value in _values(inner)]
    return [value for inner in one for value in _values(inner)] if isinstance(one, list) else [one]


def test_texts_become_codes_with_missing_ones_outside() -> None:
    from autorec_kernel.records.schema import Column
    from autorec_serve.columns import arrays

    known = {name: Column(name, "feature", kind) for name, kind in (("c", "categorical"), ("m", "multi"), ("v", "vector"))}
    found: Any = arrays({"c": ["b", None, "b", 7], "m": [["x", "y"], None], "v": [[1, 2], None]}, known)  # type: ignore[arg-type]
    assert isinstance(found["c"], Coded)
    assert found["c"].text().tolist() == ["b", None, "b", "7"]
    assert (found["m"].offsets.tolist(), found["m"].values.text().tolist()) == ([0, 2, 2], ["x", "y"])
    assert np.array_equal(found["v"], np.array([[1, 2], [np.nan, np.nan]], np.float32), equal_nan=True)
