from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from studies_kit import changed, searched

from autorec_kernel.cli.main import main
from autorec_kernel.errors import DataError, UsageError
from autorec_kernel.kernel import Kernel
from autorec_kernel.search.journal import compare, read_journal
from autorec_studies.again import AFTER_SEARCH, Replayed, replay
from autorec_studies.original import read_original

Make = Callable[..., Replayed]


@pytest.fixture
def replayed(tmp_path: Path, here: Kernel) -> Make:
    return lambda run, **told: replay(run, here, tmp_path / "replay", **told)


def results(run: Path) -> list[dict[str, Any]]:
    return [record for record in read_journal(run / "journal.jsonl") if record["kind"] == "result"]


def with_result(place: tuple[int, int], **values: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a change of one result's evaluation."""

    def change(record: dict[str, Any]) -> dict[str, Any]:
        if record["kind"] != "result" or (record["trial"], record["rung"]) != place:
            return record
        return {**record, "evaluation": {**record["evaluation"], **values}}

    return change


def test_a_replay_without_any_artefact_has_the_journal_of_the_run(tmp_path: Path, run: Path, replayed: Make) -> None:
    assert [path.name for path in run.iterdir()] == ["journal.jsonl"]
    found = replayed(run)
    assert found.equal, found.differences
    assert compare(run / "journal.jsonl", tmp_path / "replay" / "journal.jsonl", ignore_kinds=AFTER_SEARCH) == ()
    assert found.taken == () and found.trained == len([r for r in results(run) if "same_as" not in r["evaluation"]["details"]])
    assert found.best["run"] == found.best["replay"] and found.best["run"]["weights"]


def test_the_run_has_a_promotion_and_digests_of_all_weights(run: Path) -> None:
    found = results(run)
    assert {record["rung"] for record in found} == {0, 1}
    digests = [record["evaluation"]["details"]["weights"] for record in found]
    assert len(set(digests)) > 5 and all(len(digest) == 16 for digest in digests)


def test_a_metric_that_differs_is_named_with_trial_rung_and_both_values(tmp_path: Path, run: Path, replayed: Make) -> None:
    last = results(run)[-1]
    place, metrics = (last["trial"], last["rung"]), last["evaluation"]["metrics"]
    false = changed(run, tmp_path / "false", with_result(place, metrics={**metrics, "ndcg@10": 0.999}))
    first = replayed(false).differences[0]
    assert (first.kind, (first.trial, first.rung), first.name) == ("result", place, "metrics.ndcg@10")
    assert (first.was, first.now) == (0.999, metrics["ndcg@10"])


def test_one_bit_of_weights_is_enough_to_differ(tmp_path: Path, run: Path, replayed: Make) -> None:
    trained = next(r for r in results(run) if r["evaluation"]["artefacts"].get("weights"))
    details = {**trained["evaluation"]["details"], "weights": "0" * 16}
    first = replayed(changed(run, tmp_path / "false", with_result((trained["trial"], 0), details=details))).differences[0]
    assert (first.trial, first.name, first.was) == (trained["trial"], "details.weights", "0" * 16)


def test_a_proposal_that_the_strategy_does_not_make_is_named(tmp_path: Path, run: Path, replayed: Make) -> None:
    batches = [record for record in read_journal(run / "journal.jsonl") if record["kind"] == "batch"]
    trial = batches[-1]["proposals"][0]["trial"]

    def change(record: dict[str, Any]) -> dict[str, Any]:
        if record["kind"] != "batch" or record["batch"] != batches[-1]["batch"]:
            return record
        first, *rest = record["proposals"]
        return {**record, "proposals": [{**first, "genotype": {**first["genotype"], "retriever": "nobody"}}, *rest]}

    first = replayed(changed(run, tmp_path / "false", change)).differences[0]
    assert (first.kind, first.trial, first.name, first.was) == ("batch", trial, "genotype.retriever", "nobody")


def test_a_promotion_that_should_not_have_been_is_missing_in_the_replay(tmp_path: Path, run: Path, replayed: Make) -> None:
    high = next(record for record in results(run) if record["rung"] == 1)
    able = [r for r in results(run) if r["rung"] == 0 and r["trial"] > 6 and r["evaluation"]["artefacts"].get("weights")]
    other = next(record for record in able if record["trial"] != high["trial"])

    def change(record: dict[str, Any]) -> dict[str, Any]:
        promoted = record["kind"] == "result" and record["rung"] == 1
        return {**record, "trial": other["trial"]} if promoted else record

    found = replayed(changed(run, tmp_path / "false", change), to_the_end=True).differences
    assert {(one.trial, one.rung, one.was, one.now) for one in found} == {
        (other["trial"], 1, "there", "missing"),
        (high["trial"], 1, "missing", "there"),
    }


def test_other_data_is_refused_with_what_differs(tmp_path: Path, run: Path, table: Path, replayed: Make) -> None:
    other = tmp_path / "other.csv"
    other.write_text(table.read_text().replace(",5,", ",4,", 1))
    with pytest.raises(DataError, match=r"this is not the data of the run: data: was \w+, is \w+") as told:
        replayed(run, data=str(other))
    assert "--data" in told.value.hint


def test_a_table_that_is_gone_is_named_and_may_lie_elsewhere(tmp_path: Path, run: Path, table: Path, replayed: Make) -> None:
    def gone(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "data": "/nowhere/table.csv"} if record["kind"] == "session_started" else record

    moved = changed(run, tmp_path / "moved", gone)
    with pytest.raises(UsageError, match=r"nowhere.*not there any more") as told:
        replayed(moved)
    assert told.value.hint == "add --data FILE"
    assert replayed(moved, data=str(table)).equal


def test_a_run_on_a_frame_asks_for_its_table(tmp_path: Path, run: Path, replayed: Make) -> None:
    def frame(record: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in record.items() if key != "data"} if record["kind"] == "session_started" else record

    with pytest.raises(UsageError, match="does not say where the table"):
        replayed(changed(run, tmp_path / "frame", frame))


def test_what_the_clock_decided_is_taken_from_the_journal_and_said_to_be(tmp_path: Path, run: Path, replayed: Make) -> None:
    last = max((record["trial"], record["rung"]) for record in results(run) if record["rung"] == 0)
    timed = changed(run, tmp_path / "timed", with_result(last, status="timeout", metrics={}, error="ran for 30 s"))
    found = replayed(timed, to_the_end=True)
    assert found.taken == ((*last, "ran for 30 s"),)
    assert not [one for one in found.differences if (one.trial, one.rung) == last]


def test_of_a_batch_that_the_time_cut_off_only_what_was_tried_is_replayed(tmp_path: Path, run: Path, replayed: Make) -> None:
    batches = [record for record in read_journal(run / "journal.jsonl") if record["kind"] == "batch"]
    index, first = batches[-1]["batch"], batches[-1]["proposals"][0]["trial"]

    def cut(record: dict[str, Any]) -> dict[str, Any] | None:
        late = record["kind"] == "told" and record["batch"] == index
        return None if late or (record["kind"] == "result" and record["trial"] > first) else record

    kept = changed(run, tmp_path / "cut", cut)
    found = replayed(kept)
    assert found.equal, found.differences
    assert found.trained == len(results(kept)) < len(results(run))


def test_a_run_that_went_on_with_more_trials_is_replayed_in_its_own_batches(tmp_path: Path, table: Path, replayed: Make) -> None:
    folder = searched(tmp_path / "run", table, trials=3)
    searched(folder, table, trials=6, resume=True)
    assert read_original(folder).sizes[1:] == (2, 1, 3)
    found = replayed(folder)
    assert found.equal, found.differences


def test_plugins_of_other_versions_are_told_and_what_they_do_is_compared(tmp_path: Path, run: Path, replayed: Make) -> None:
    def older(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "plugins": {**record["plugins"], "zoo": "autorec-kernel 0.0.1"}} if record["kind"] == "run" else record

    found = replayed(changed(run, tmp_path / "older", older))
    assert found.equal and any("plugins have changed: zoo: was autorec-kernel 0.0.1, is" in note for note in found.notes)


def test_the_command_ends_with_its_own_code_when_something_differs(tmp_path: Path, run: Path, capsys: Any) -> None:
    assert main(["--block", "workers", "replay", str(run)]) == 0
    assert "equal: proposals, promotions, metrics and weights (best trial" in capsys.readouterr().out
    trial, rung = results(run)[0]["trial"], results(run)[0]["rung"]
    false = changed(run, tmp_path / "false", with_result((trial, rung), metrics={"ndcg@10": 0.999}))
    assert main(["--block", "workers", "replay", str(false), "--json", "--out", str(tmp_path / "kept")]) == 8
    told = json.loads(capsys.readouterr().out)
    assert not told["equal"] and told["differences"][0]["trial"] == trial
    assert (tmp_path / "kept" / "journal.jsonl").is_file()


def test_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: Any) -> None:
    assert main(["replay", str(tmp_path)]) == 2
    assert "there is no run in this folder" in capsys.readouterr().err
