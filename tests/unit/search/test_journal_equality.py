from __future__ import annotations

import pytest

from autorec_kernel.errors import InfrastructureError
from autorec_kernel.search.journal import Journal, canonical_records, compare


def run(path, trials, *, host="a", resumed=False):
    with Journal.open(path) as journal:
        journal.append("session-started", host=host)
        for trial, rung in trials:
            journal.append(
                "trial",
                trial=trial,
                rung=rung,
                genotype={"time": 3, "measured_x": 1},
                metrics={"ndcg@10": trial / 3},
                cost={"parameters": 9, "latency_ms": 1.5, "train_seconds": 2.0},
                measured={"seconds": hash(host) % 100},
                time=1e9 + trial,
                host=host,
            )
            if resumed:
                journal.append("session-resumed", pid=7)
    return path


def test_order_times_hosts_and_measurements_do_not_tell_equal_runs_apart(tmp_path):
    one = run(tmp_path / "one.jsonl", [(0, 0), (1, 0), (0, 1)])
    two = run(tmp_path / "two.jsonl", [(1, 0), (0, 1), (0, 0)], host="b", resumed=True)
    assert compare(one, two) == ()
    assert [(record["trial"], record["rung"]) for record in canonical_records(two)] == [(0, 0), (0, 1), (1, 0)]


def test_predicted_cost_and_the_names_of_genes_are_compared(tmp_path):
    record = canonical_records(run(tmp_path / "one.jsonl", [(0, 0)]))[0]
    assert record["genotype"] == {"time": 3, "measured_x": 1}
    assert record["cost"] == {"parameters": 9, "latency_ms": 1.5, "train_seconds": 2.0}
    assert not {"seq", "crc", "time", "host", "measured"} & record.keys()


@pytest.mark.parametrize("change", [{"metrics": {"a": 2}}, {"status": "failed"}, {"rung": 1}, {"genotype": {"time": 4}}])
def test_a_difference_is_told_with_its_trial_and_key(change):
    base = {"kind": "trial", "trial": 3, "rung": 0, "metrics": {"a": 1}, "status": "complete", "genotype": {"time": 3}}
    told = compare([base], [base | change])
    assert len(told) == 1
    assert "trial 3" in told[0]
    assert next(iter(change)) in told[0]


def test_a_missing_record_is_told():
    record = {"kind": "trial", "trial": 0}
    assert "only the first" in compare([record], [])[0]
    assert "only the second" in compare([], [record])[0]


def test_a_nested_trial_is_sorted_by_its_number_and_rung():
    records = [{"kind": "trial", "trial": {"number": n, "rung": r, "measured_seconds": n}} for n, r in [(10, 0), (2, 1), (2, 0)]]
    assert [(r["trial"]["number"], r["trial"]["rung"]) for r in canonical_records(records)] == [(2, 0), (2, 1), (10, 0)]
    assert "measured_seconds" not in canonical_records(records)[0]["trial"]


def test_kinds_can_be_left_out():
    assert canonical_records([{"kind": "retry", "trial": 0}, {"kind": "session"}], ignore_kinds=["retry"]) == ()


def test_a_damaged_or_missing_journal_is_not_compared(tmp_path):
    path = run(tmp_path / "one.jsonl", [(0, 0), (1, 0)])
    path.write_bytes(b"x" + path.read_bytes())
    with pytest.raises(InfrastructureError, match="line 1"):
        canonical_records(path)
    with pytest.raises(InfrastructureError, match="No such file"):
        canonical_records(tmp_path / "none.jsonl")
