from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")
from serve_kit import ask, serving

from autorec_kernel.errors import UsageError
from autorec_serve.metrics import Metrics
from autorec_serve.settings import is_loopback, read_token


def value(text: str, name: str) -> float:
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.rsplit(" ", 1)[1])


def test_what_happened_is_counted(served_bundles: dict[str, Path]) -> None:
    served = serving(served_bundles["first"])
    ask(served, "POST", "/v1/recommend", {"users": ["u1", "nobody", None], "histories": [None, ["i01", "never"], None]})
    ask(served, "POST", "/v1/score", {"user": "nobody", "items": ["i01", "never"]})
    ask(served, "POST", "/v1/recommend", {"k": 0})
    ask(served, "GET", "/nowhere")
    text = ask(served, "GET", "/metrics").body.decode()
    expected = {
        'autorec_requests_total{route="/v1/recommend",status="200"}': 1,
        'autorec_requests_total{route="/v1/recommend",status="422"}': 1,
        'autorec_requests_total{route="other",status="404"}': 1,
        'autorec_request_seconds_count{route="/v1/recommend"}': 2,
        "autorec_request_body_bytes_count": 3,
        "autorec_model_seconds_count": 2,
        "autorec_in_flight": 0,
        'autorec_ids_total{kind="user"}': 3,
        'autorec_unknown_ids_total{kind="user"}': 2,
        'autorec_ids_total{kind="item"}': 4,
        'autorec_unknown_ids_total{kind="item"}': 2,
        'autorec_answers_total{answered_by="model"}': 1,
        'autorec_answers_total{answered_by="fold-in"}': 1,
        'autorec_answers_total{answered_by="popularity"}': 2,
        "autorec_reload_ok": 1,
    }
    assert {name: value(text, name) for name in expected} == expected
    best = served.current.recommender.recommend(["u1"])[0].scores[0]
    assert value(text, 'autorec_score{quantile="0.5"}') == pytest.approx(best)
    served.close()


def test_no_id_of_a_caller_is_in_the_metrics(served_bundles: dict[str, Path]) -> None:
    served = serving(served_bundles["first"])
    ask(served, "POST", "/v1/recommend", {"users": ["private-user"], "histories": [["private-item"]]})
    ask(served, "GET", "/private-path")
    assert b"private" not in ask(served, "GET", "/metrics").body
    served.close()


def test_quantiles_are_those_of_the_newest_scores() -> None:
    metrics = Metrics()
    metrics.count_answer("model", np.full(5000, 7.0))
    metrics.count_answer("popularity", [99.0])
    metrics.count_answer("model", [*range(4000), float("nan"), *range(96)])
    (family,) = metrics.scores.collect()
    newest = np.concatenate([np.arange(4000), np.arange(96)])
    assert [sample.value for sample in family.samples] == np.quantile(newest, (0.05, 0.25, 0.5, 0.75, 0.95)).tolist()


def test_two_servers_of_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.reloaded(ok=False)
    assert b"autorec_reload_ok 1.0" in second.text()


@pytest.mark.parametrize("text", ["short", "0123456789 abcdef", "0123456789abcde\x00", "0123456789abcdé"])
def test_a_token_is_one_long_word(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_token(file, "")
    assert text not in str(caught.value)


def test_the_file_goes_before_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-the-file-12345\n", encoding="ascii")
    assert read_token(file, "from-the-environment") == b"from-the-file-12345"
    assert read_token(None, "from-the-environment") == b"from-the-environment"
    assert read_token(None, "") is None
    with pytest.raises(UsageError, match="cannot be read"):
        read_token(tmp_path / "nothing", "")


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("0.0.0.0", False), ("127.evil.example", False), ("::", False)],
)
def test_loopback_is_told_from_the_rest(host: str, expected: Any) -> None:
    assert is_loopback(host) is expected
