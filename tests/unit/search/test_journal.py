from __future__ import annotations

import errno
import json
import logging
import math
import os
import subprocess
import sys
import threading
import time
import zlib

import numpy as np
import pytest

from autorec_kernel.errors import ContractError, InfrastructureError
from autorec_kernel.search.journal import Journal, read_journal
from autorec_kernel.search.repair import repair, repair_report


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "journal.jsonl"


def written(path, count=4):
    with Journal.open(path) as journal:
        for number in range(count):
            journal.append("trial", trial=number, rung=0, metrics={"ndcg@10": number / 7})
        return journal.records()


def numbers(path):
    return [record["trial"] for record in read_journal(path)]


def test_what_is_appended_is_read_again(path):
    records = written(path)
    with Journal.open(path) as journal:
        assert journal.records() == records == read_journal(path)
        assert journal.append("trial", trial=4)["seq"] == 4
    assert numbers(path) == [0, 1, 2, 3, 4]


def test_append_returns_the_record_as_a_reader_sees_it(path):
    with Journal.open(path) as journal:
        record = journal.append("plan", shape=(3, 4), share=np.float32(0.5), rows=np.arange(3), note="Ünïcode \ud800 \u2028")
        assert record == read_journal(path)[0]
        assert record["shape"] == [3, 4]
        assert record["rows"] == [0, 1, 2]
        assert record["note"] == "Ünïcode \ud800 \u2028"


def test_a_line_is_strict_json_with_version_number_and_checksum_in_canonical_form(path):
    written(path, 2)
    for seq, line in enumerate(path.read_bytes().splitlines()):
        value = json.loads(line, parse_constant=pytest.fail)
        assert (value["v"], value["seq"], value["kind"]) == (1, seq, "trial")
        assert value["crc"] == f"{zlib.crc32(line[18:]):08x}"
        rest = {key: part for key, part in value.items() if key != "crc"}
        assert b"{" + line[18:] == json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()


def test_each_record_is_one_write(path, monkeypatch):
    with Journal.open(path) as journal:
        calls, real = [], os.write

        def watched(descriptor, data):
            calls.append(bytes(data))
            return real(descriptor, data)

        monkeypatch.setattr(os, "write", watched)
        journal.append("trial", trial=0, error="x" * 100_000)
        monkeypatch.undo()
    assert calls == [path.read_bytes()]


def test_numbers_that_are_not_finite_become_null(path):
    with Journal.open(path) as journal:
        record = journal.append("trial", metrics={"a": math.nan, "b": np.array([np.inf, 1.0])}, c=-math.inf)
    assert record["metrics"] == {"a": None, "b": [None, 1.0]}
    assert record["c"] is None


@pytest.mark.parametrize("value", [{1, 2}, {1: "a"}, object(), b"bytes", np.array(["2020-01-01"], dtype="datetime64[D]"), 1j])
def test_what_json_cannot_hold_is_refused_by_its_path_and_nothing_is_written(path, value):
    with Journal.open(path) as journal:
        with pytest.raises(ContractError, match=r"trial\.details\[1\]"):
            journal.append("trial", details=[0, value])
        assert journal.append("trial", trial=0)["seq"] == 0


@pytest.mark.parametrize("key", ["v", "seq", "crc", "kind"])
def test_the_keys_of_the_journal_itself_are_refused_in_a_payload(path, key):
    with Journal.open(path) as journal, pytest.raises(ContractError, match=key):
        journal.append("trial", **{key: 1})


# Crashes


def test_a_journal_cut_at_any_byte_of_its_last_three_records_loses_only_what_was_cut(path, caplog):
    written(path, 5)
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(ends[1], len(whole)):
        path.write_bytes(whole[:size])
        kept = sum(end <= size for end in ends)
        caplog.clear()
        with Journal.open(path) as journal:
            assert [record["trial"] for record in journal.records()] == list(range(kept))
            journal.append("trial", trial=kept)
        torn = size not in ends
        assert len(caplog.records) == torn
        assert numbers(path) == list(range(kept + 1))
    tails = {found.read_bytes() for found in (path.parent / "quarantine").iterdir()}
    assert whole[ends[3] : -1] in tails
    assert len(list((path.parent / "quarantine").iterdir())) == len(range(ends[1], len(whole))) - 3


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80, 0xFF])
def test_any_flipped_byte_is_detected(path, flip, caplog):
    whole = written(path, 4)
    good = path.read_bytes()
    last = good.rindex(b"\n", 0, -1) + 1
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ flip]) + good[place + 1 :])
        caplog.clear()
        if place < last - 1:
            with pytest.raises(InfrastructureError, match=r"damaged|newer|format"):
                Journal.open(path)
            continue
        try:
            with Journal.open(path) as journal:
                assert journal.records() == whole[: len(journal.records())]
                assert len(journal.records()) < 4
                assert [record.levelno for record in caplog.records] == [logging.WARNING]
        except InfrastructureError as error:
            assert "damaged" in str(error) or "format" in str(error)


def test_every_deleted_or_repeated_inner_line_is_detected(path):
    written(path, 5)
    lines = path.read_bytes().splitlines(keepends=True)
    for place in range(4):
        path.write_bytes(b"".join(lines[:place] + lines[place + 1 :]))
        with pytest.raises(InfrastructureError, match=f"record {place} is missing"):
            Journal.open(path)
        path.write_bytes(b"".join(lines[: place + 1] + lines[place:]))
        with pytest.raises(InfrastructureError, match="there before"):
            Journal.open(path)


def test_damage_in_the_middle_names_the_line_and_the_way_out_and_changes_nothing(path):
    written(path, 5)
    good = bytearray(path.read_bytes())
    good[good.index(b"\n") + 30] ^= 1
    path.write_bytes(good)
    with pytest.raises(InfrastructureError, match="line 2") as caught:
        Journal.open(path)
    assert "doctor --repair" in caught.value.hint
    assert caught.value.exit_code == 7
    assert path.read_bytes() == bytes(good)
    with pytest.raises(InfrastructureError, match="line 2"):
        read_journal(path)


def test_several_damaged_lines_at_the_end_are_no_torn_tail(path):
    written(path, 5)
    path.write_bytes(path.read_bytes().replace(b'"rung":0', b'"rung":1'))
    with pytest.raises(InfrastructureError, match="4 more"):
        Journal.open(path)


def test_blocks_that_a_power_cut_left_empty_are_cut(path, caplog):
    written(path, 3)
    good = path.read_bytes()
    path.write_bytes(good + b"\0" * 700)
    with Journal.open(path) as journal:
        assert len(journal.records()) == 3
    assert path.read_bytes() == good
    assert "700 bytes" in caplog.text


@pytest.mark.parametrize("remake", [True, False])
def test_a_newer_format_is_refused_and_left_alone(path, remake):
    written(path, 1)
    rest = path.read_bytes()[18:-1].replace(b'"v":1', b'"v":2')
    crc = f"{zlib.crc32(rest):08x}".encode() if remake else b"00000000"
    newer = b'{"crc":"' + crc + b'",' + rest + b"\n"
    path.write_bytes(newer)
    with pytest.raises(InfrastructureError, match="format 2") as caught:
        Journal.open(path)
    assert "upgrade" in caught.value.hint
    assert path.read_bytes() == newer


@pytest.mark.parametrize(
    "rest", [b'"kind":"x","v":1}', b'"kind":7,"seq":0,"v":1}', b'"kind":"x","seq":true,"v":1}', b'"kind":"x","seq":0,"v":0}']
)
def test_a_well_summed_line_that_is_no_record_is_not_believed(path, rest, caplog):
    path.parent.mkdir()
    path.write_bytes(b'{"crc":"' + f"{zlib.crc32(rest):08x}".encode() + b'",' + rest + b"\n")
    with Journal.open(path) as journal:
        assert journal.records() == ()
    assert "cut off" in caplog.text


def test_reading_passes_over_a_half_written_line_and_leaves_the_file_alone(path):
    written(path, 3)
    path.write_bytes(path.read_bytes()[:-5])
    before = path.read_bytes()
    assert numbers(path) == [0, 1]
    assert path.read_bytes() == before


def test_reading_a_missing_journal_says_so(path):
    with pytest.raises(InfrastructureError, match="No such file"):
        read_journal(path)


# Disks


@pytest.mark.parametrize("nth", range(6))
@pytest.mark.parametrize("partial", [0, 1, 25])
def test_a_full_disk_at_any_write_keeps_the_journal_valid_and_usable(path, monkeypatch, nth, partial):
    real, calls = os.write, iter(range(100))

    def limited(descriptor, data):
        if next(calls) != nth:
            return real(descriptor, data)
        if not partial:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, bytes(data)[:partial])

    with Journal.open(path) as journal:
        monkeypatch.setattr(os, "write", limited)
        done = []
        for number in range(6):
            try:
                done.append(journal.append("trial", trial=number)["trial"])
            except InfrastructureError as error:
                assert error.exit_code == 7
                assert str(path) in str(error)
                assert number == nth
        monkeypatch.undo()
        assert [record["trial"] for record in journal.records()] == done == [n for n in range(6) if n != nth]
    assert numbers(path) == done
    Journal.open(path).close()


def test_a_half_written_record_that_cannot_be_taken_back_closes_the_journal_to_more(path, monkeypatch, caplog):
    def fail(*arguments):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    written(path, 2)
    journal = Journal.open(path)
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:20]))
    monkeypatch.setattr(os, "ftruncate", fail)
    with pytest.raises(InfrastructureError, match="append"):
        journal.append("trial", trial=2)
    monkeypatch.undo()
    with pytest.raises(InfrastructureError, match="takes no more records"):
        journal.append("trial", trial=3)
    journal.close()
    with Journal.open(path) as again:
        assert len(again.records()) == 2
    assert "cut off" in caplog.text


def test_a_failed_flush_is_never_tried_again(path, monkeypatch):
    journal = Journal.open(path, fsync_each=True)
    journal.append("trial", trial=0)
    calls = []

    def fail(descriptor):
        calls.append(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InfrastructureError, match="flush"):
        journal.append("trial", trial=1)
    for _ in range(2):
        with pytest.raises(InfrastructureError, match="earlier flush failed"):
            journal.append("trial", trial=2)
    journal.close()
    assert len(calls) == 1
    monkeypatch.undo()
    Journal.open(path).close()


def test_an_interrupt_between_write_and_bookkeeping_takes_the_record_back(path, monkeypatch):
    real = os.write

    def interrupted(descriptor, data):
        real(descriptor, data)
        raise KeyboardInterrupt

    with Journal.open(path) as journal:
        journal.append("trial", trial=0)
        monkeypatch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.append("trial", trial=1)
        monkeypatch.undo()
        journal.append("trial", trial=2)
    assert numbers(path) == [0, 2]


def counted(monkeypatch):
    calls, real = [], os.fsync

    def watched(descriptor):
        calls.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    return calls


@pytest.mark.parametrize(("fsync_each", "step", "expected"), [(True, 0.001, 6), (False, 1.0, 0), ("auto", 0.06, 6), ("auto", 0.026, 3)])
def test_records_are_flushed_one_by_one_only_when_trials_are_long(path, monkeypatch, fsync_each, step, expected):
    with Journal.open(path, fsync_each=fsync_each) as journal:
        now = [0.0]
        journal._clock = lambda: now[0]
        calls = counted(monkeypatch)
        for number in range(6):
            now[0] += step
            journal.append("trial", trial=number)
        assert len(calls) == expected
        journal.flush()
        journal.flush()
        assert len(calls) == expected + (expected < 6)
        monkeypatch.undo()


def test_closing_flushes_what_is_left(path, monkeypatch):
    journal = Journal.open(path, fsync_each=False)
    journal.append("trial", trial=0)
    calls = counted(monkeypatch)
    journal.close()
    journal.close()
    assert len(calls) == 1


def test_a_closed_journal_takes_no_record(path):
    journal = Journal.open(path)
    journal.close()
    with pytest.raises(InfrastructureError, match="closed"):
        journal.append("trial", trial=0)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder_is_refused_before_any_work(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(InfrastructureError, match="Permission"):
        Journal.open(tmp_path / "journal.jsonl")


def test_a_folder_in_the_place_of_the_journal_is_refused(path):
    path.mkdir(parents=True)
    with pytest.raises(InfrastructureError, match="directory"):
        Journal.open(path)
    path.rmdir()
    Journal.open(path).close()


# Writers

HOLDER = """
import sys, time
from autorec_kernel.search.journal import Journal
journal = Journal.open(sys.argv[1])
journal.append("trial", trial=0)
print("ready", flush=True)
time.sleep(60)
"""


def holder(path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_second_process_is_told_who_writes_and_may_write_when_that_one_is_dead(path):
    process = holder(path)
    try:
        with pytest.raises(InfrastructureError, match=f"process {process.pid} on .+ since 20") as caught:
            Journal.open(path)
        assert caught.value.exit_code == 7
        assert numbers(path) == [0]
    finally:
        process.kill()
        process.communicate()
    with Journal.open(path) as journal:
        journal.append("trial", trial=1)
    assert numbers(path) == [0, 1]


ENDLESS = """
import sys
from autorec_kernel.search.journal import Journal
journal = Journal.open(sys.argv[1])
for number in range(10**6):
    journal.append("trial", trial=number, error="x" * 5000)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_no_acknowledged_record_is_lost_when_the_process_is_killed(path):
    for kill in range(3):
        before = len(read_journal(path)) if path.exists() else 0
        process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(path)], stdout=subprocess.PIPE, text=True)
        acknowledged = [process.stdout.readline() for _ in range(20 + 37 * kill)]
        process.kill()
        acknowledged += process.communicate()[0].splitlines()
        with Journal.open(path) as journal:
            assert len(journal.records()) - before >= len(acknowledged)


def test_two_journals_of_one_process_exclude_each_other(path):
    with Journal.open(path), pytest.raises(InfrastructureError, match=f"process {os.getpid()}"):
        Journal.open(path)
    Journal.open(path).close()


def test_a_closed_journal_has_no_owner(path):
    journal = Journal.open(path)
    assert json.loads(path.with_name("journal.jsonl.owner").read_bytes())["pid"] == os.getpid()
    journal.close()
    assert not path.with_name("journal.jsonl.owner").exists()


def test_a_failed_opening_gives_the_lock_back(path):
    written(path, 3)
    good = path.read_bytes()
    path.write_bytes(b"x" + good[1:])
    with pytest.raises(InfrastructureError, match="damaged"):
        Journal.open(path)
    path.write_bytes(good)
    Journal.open(path).close()


def test_threads_append_whole_records_without_gaps(path):
    with Journal.open(path, fsync_each=False) as journal:
        threads = [
            threading.Thread(target=lambda part: [journal.append("trial", trial=part * 50 + n) for n in range(50)], args=(part,))
            for part in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(numbers(path)) == list(range(200))


# Repair


def test_the_repair_report_lists_what_would_be_dropped_and_changes_nothing(path):
    written(path, 5)
    data = bytearray(path.read_bytes())
    data[data.index(b"\n") + 40] ^= 1
    path.write_bytes(bytes(data) + b'{"crc')
    report = repair_report(path)
    assert report.kept == 4
    assert [damage.line for damage in report.dropped] == [2, 6]
    assert "line 2" in report.describe()[0]
    assert "checksum" in report.describe()[0]
    assert path.read_bytes() == bytes(data) + b'{"crc'


def test_a_repaired_journal_holds_every_good_record_and_the_damaged_one_is_kept(path):
    written(path, 5)
    ends = [place for place, byte in enumerate(path.read_bytes()) if byte == ord("\n")]
    data = bytearray(path.read_bytes())
    data[ends[1]] = ord("x")  # two lines become one
    path.write_bytes(data)
    assert repair(path).kept == 3
    assert numbers(path) == [0, 3, 4]
    assert [found.read_bytes() for found in (path.parent / "quarantine").iterdir()] == [bytes(data)]
    with Journal.open(path) as journal:
        assert [record["seq"] for record in journal.records()] == [0, 1, 2]


def test_a_lost_line_costs_no_other_record_in_a_repair(path):
    written(path, 5)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    assert [damage.reason for damage in repair_report(path).dropped] == ["record 2 is missing before it"]
    repair(path)
    assert numbers(path) == [0, 1, 3, 4]


def test_a_good_journal_is_left_as_it_is_by_a_repair(path):
    written(path, 2)
    before = path.read_bytes()
    assert repair(path).dropped == ()
    assert path.read_bytes() == before


def test_a_journal_in_use_is_not_repaired(path):
    with Journal.open(path), pytest.raises(InfrastructureError, match="another run"):
        repair(path)


@pytest.mark.slow
def test_a_hundred_thousand_records_are_opened_within_two_seconds(path):
    from autorec_kernel.search.lines import encode

    payload = {"trial": 7, "rung": 0, "genotype": {f"gene{n}": n / 3 for n in range(10)}, "metrics": {"ndcg@10": 0.123456789}}
    path.parent.mkdir()
    path.write_bytes(b"".join(encode(seq, "trial", payload) for seq in range(100_000)))

    def seconds() -> float:
        start = time.process_time()
        with Journal.open(path) as journal:
            assert len(journal.records()) == 100_000
        return time.process_time() - start

    assert any(seconds() <= 2.0 for _ in range(3))  # a machine that others use too slows single attempts
