"""A journal under any mixture of appending, crashing, tearing and opening again holds exactly what was acknowledged."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from autorec_kernel.errors import InfrastructureError
from autorec_kernel.search.journal import Journal, read_journal
from autorec_kernel.search.lines import encode

payloads = st.dictionaries(
    st.text(max_size=5).filter(lambda key: key not in {"v", "seq", "crc", "kind"}),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


class JournalMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "journal.jsonl"
        self.model = []
        self.journal = Journal.open(self.path, fsync_each=False)

    def teardown(self):
        if hasattr(self, "folder"):
            if self.journal is not None:
                self.journal.close()
            self.folder.cleanup()

    @precondition(lambda self: self.journal is not None)
    @rule(payload=payloads)
    def append(self, payload):
        self.journal.append("trial", **payload)
        self.model.append(payload)

    @precondition(lambda self: self.journal is not None)
    @rule(payload=payloads, written=st.integers(0, 30))
    def append_on_a_full_disk(self, payload, written):
        real = os.write

        def short(descriptor, data):
            if not written:
                raise OSError(errno.ENOSPC, "full")
            return real(descriptor, bytes(data)[:written])

        with mock.patch("os.write", short):
            try:
                self.journal.append("trial", **payload)
            except InfrastructureError as error:
                assert error.exit_code == 7
            else:
                raise AssertionError("a short write was taken for a record")

    @precondition(lambda self: self.journal is not None)
    @rule(second=st.booleans())
    def another_writer(self, second):
        try:
            Journal.open(self.path)
        except InfrastructureError as error:
            assert str(os.getpid()) in str(error)
        else:
            raise AssertionError("two writers")

    @precondition(lambda self: self.journal is not None)
    @rule(torn=st.none() | st.tuples(payloads, st.floats(0, 1, exclude_max=True)))
    def crash(self, torn):
        """Lose the process; a record that was being written may be there in part."""
        self.journal._lock.release()
        os.close(self.journal._descriptor)
        self.journal = None
        if torn:
            line = encode(len(self.model), "trial", torn[0])
            with self.path.open("ab") as file:
                file.write(line[: int(len(line) * torn[1])])

    @precondition(lambda self: self.journal is not None)
    @rule()
    def close(self):
        self.journal.close()
        self.journal = None

    @precondition(lambda self: self.journal is None)
    @rule()
    def reopen(self):
        self.journal = Journal.open(self.path, fsync_each=False)

    @invariant()
    def readers_see_what_was_acknowledged(self):
        if not hasattr(self, "path"):
            return
        found = read_journal(self.path)
        assert [{key: part for key, part in record.items() if key not in {"v", "seq", "kind"}} for record in found] == self.model
        assert [record["seq"] for record in found] == list(range(len(self.model)))
        if self.journal is not None:
            assert self.journal.records() == found


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
