"""`autorec features`: the feature stage alone, and why each feature is there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from autorec_kernel.cli.explain import print_features
from autorec_kernel.features import FeatureSet

pytestmark = pytest.mark.plugins

Autorec = Callable[..., tuple[int, str, str]]


def test_a_table_becomes_an_audited_feature_set_in_a_folder(autorec: Autorec, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, told, err = autorec("features", table, "--task", "rate", "--out", out)
    assert code == 0, err
    for word in ("FAMILY", "OP ", "FEATURE ", "features/scale", "price", "audit: no leak", f"autorec features explain {out}"):
        assert word in told, word
    assert "features: features/scale price" in err and "looking for leaks" in err
    stored = FeatureSet.load(out)
    assert "price" in [feature.name for feature in stored.schema.features]
    assert json.loads((out / "audit.json").read_text())["findings"] == []
    assert any(json.loads(line).get("event") == "audit" for line in (out / "log.jsonl").read_text().splitlines())


def test_explain_reads_the_folder_and_prints_the_same(autorec: Autorec, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "run" / "features"
    _, told, _ = autorec("features", table, "--task", "rate", "--out", out)
    for place in (out, out.parent):  # a run holds its feature set in `features`
        code, again, _ = autorec("features", "explain", place)
        assert code == 0
        assert again == told.removesuffix(f"next: autorec features explain {out}\n")
    code, stated, _ = autorec("features", "explain", out, "--json")
    found = json.loads(stated)
    assert code == 0 and found.keys() == {"folder", "task", "seconds", "plan", "features", "selection", "audit"}
    assert all({"op", "config", "seconds", "bytes", "taken", "reason"} == row.keys() for row in found["plan"])


def test_explain_shows_what_a_selector_thought(autorec: Autorec, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    autorec("features", table, "--task", "rate", "--out", out)
    curve = [{"features": 1, "metric": "auc", "value": 0.5, "model": "boosted trees"}]
    chosen = {
        "selector": "one",
        "scores": {"price": 0.25},
        "reasons": {"item.count": "worth it"},
        "dropped": {"tags": "of no use"},
        "curve": curve,
    }
    (out / "selection.json").write_text(json.dumps(chosen))
    _, told, _ = autorec("features", "explain", out)
    (line,) = [line for line in told.splitlines() if line.startswith("price ")]
    assert "0.25" in line
    assert "selection: left out tags: of no use" in told
    assert "selection: auc of boosted trees on the best features, by their number: 1: 0.5" in told
    assert any(line.startswith("item.count ") and line.endswith("worth it") for line in told.splitlines())


def test_raw_features_are_the_columns_as_they_are(autorec: Autorec, table: Path) -> None:
    code, told, _ = autorec("features", table, "--task", "rate", "--features", "raw", "--json")
    assert code == 0
    families = {feature["family"] for feature in json.loads(told)["features"]}
    assert families == {"id", "scale", "history"}


def test_budgets_leave_ops_out_with_the_reason(autorec: Autorec, table: Path) -> None:
    code, told, _ = autorec("features", table, "--task", "rate", "--budget", "0.002s", "--json")
    out = [row for row in json.loads(told)["plan"] if not row["taken"]]
    assert code == 0 and out and all("are left" in row["reason"] for row in out if "needs" in row["reason"])
    code, told, _ = autorec("features", table, "--task", "rate", "--memory", "0", "--json")
    reasons = [row["reason"] for row in json.loads(told)["plan"] if not row["taken"]]
    assert code == 0 and any("of memory, 0 bytes are left" in reason for reason in reasons)


def test_a_leak_ends_it_names_the_column_and_can_be_accepted(autorec: Autorec, table: Path, tmp_path: Path) -> None:
    lines = table.read_text().splitlines()
    leaking = [f"{lines[0]},refund", *(f"{line},{float(line.split(',')[2]) * 2}" for line in lines[1:])]
    table.write_text("\n".join(leaking) + "\n")
    code, _, err = autorec("features", table, "--task", "rate", "--out", tmp_path / "out")
    assert code == 3 and "'refund'" in err and "--accept-leak refund" in err
    assert not (tmp_path / "out").exists()
    code, told, _ = autorec("features", table, "--task", "rate", "--accept-leak", "refund")
    assert code == 0 and "audit: accepted:" in told
    code, _, err = autorec("features", table, "--task", "rate", "--accept-leak", "refnd")
    assert code == 2 and "did you mean 'refund'" in err


def test_folders_that_do_not_fit_are_refused(autorec: Autorec, table: Path, tmp_path: Path) -> None:
    code, _, err = autorec("features", table, "--out", tmp_path)
    assert code == 7 and "not empty" in err
    code, _, err = autorec("features", "explain", tmp_path)
    assert code == 2 and "no feature set" in err


def test_help_shows_both_ways(autorec: Autorec) -> None:
    code, told, _ = autorec("features", "--help")
    assert code == 0 and "explain" in told and "build" in told
    assert "Try: autorec features" in autorec("features", "build", "--help")[1]


@pytest.mark.parametrize(("count", "told"), [(0, "0 proposals left out\n"), (1, "1 proposal left out\n"), (2, "2 proposals left out\n")])
def test_one_proposal_is_told_in_the_singular(count: int, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    plan = [{"op": "a/b", "config": {}, "taken": False, "reason": "no"}] * count
    selection = {"selector": "", "note": "", "dropped": {}, "curve": []}
    print_features({"task": "rate", "seconds": 0.0, "plan": plan, "features": [], "selection": selection, "audit": None})
    assert told in capsys.readouterr().out
