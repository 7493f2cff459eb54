from __future__ import annotations

import errno
import os
import stat

import pytest

from autorec_kernel.errors import InfrastructureError
from autorec_kernel.files import atomic_write, quarantine


def test_the_content_is_replaced_and_nothing_else_is_left(tmp_path):
    target = tmp_path / "result.json"
    atomic_write(target, b"old")
    assert atomic_write(target, b"new") == target
    assert target.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_short_writes_are_completed(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:3]))
    assert atomic_write(tmp_path / "x", b"0123456789").read_bytes() == b"0123456789"


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failing_disk_leaves_the_old_content_and_no_temporary_file(tmp_path, monkeypatch, call, code):
    target = atomic_write(tmp_path / "result.json", b"old")

    def fail(*arguments):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(InfrastructureError, match=os.strerror(code)) as caught:
        atomic_write(target, b"new")
    assert caught.value.exit_code == 7
    assert str(target) in str(caught.value)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_the_bytes_are_on_disk_before_the_name_points_to_them_and_the_folder_follows(tmp_path, monkeypatch):
    told = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor):
        told.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def watched_replace(source, target):
        told.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    atomic_write(tmp_path / "x", b"1")
    assert told == ["file", "rename", "folder"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InfrastructureError, match="missing"):
        atomic_write(tmp_path / "missing" / "x", b"1")


def test_a_very_long_name_can_still_be_written(tmp_path):
    assert atomic_write(tmp_path / ("n" * 250), b"1").read_bytes() == b"1"


def test_the_file_mode_follows_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        atomic_write(tmp_path / "x", b"1")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_what_is_quarantined_never_replaces_what_was_there(tmp_path):
    first, second = (quarantine(tmp_path / "journal.jsonl", data, "damaged") for data in (b"1", b"2"))
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")
