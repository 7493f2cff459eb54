from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from autorec_kernel.cli.interrupt import stoppable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as POSIX does")

_STUCK = """
import sys, time
from autorec_kernel.cli.interrupt import stoppable
with stoppable(lambda: "autorec go on", patience={patience}):
    for word in ("ready", "caught", "caught again"):
        try:
            print(word, flush=True)
            while word != "caught" or not {clean}:
                time.sleep(0.05)
            raise SystemExit(7)
        except KeyboardInterrupt:
            continue
"""


def _start(clean: bool, patience: float = 60.0) -> subprocess.Popen[str]:
    code = _STUCK.format(patience=patience, clean=clean)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_first_signal_interrupts_once(name: str) -> None:
    process = _start(clean=True)
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=20)
    assert (out, process.returncode) == ("caught\n", 7)
    assert "what is finished is kept" in err
    assert "stopped at once" not in err


def test_the_second_signal_ends_a_process_that_does_not_stop() -> None:
    process = _start(clean=False)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "caught\n"
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - began < 5
    assert err.splitlines()[-1] == "hint: autorec go on"


def test_a_stop_that_takes_too_long_is_ended() -> None:
    process = _start(clean=False, patience=0.3)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "did not stop within 0.3 s" in err


def test_an_ignored_hangup_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable(lambda: ""):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_put_back() -> None:
    names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(name) for name in names]
    with stoppable(lambda: ""):
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(name) for name in names] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_other_threads_are_left_alone() -> None:
    seen: list[object] = []

    def inside() -> None:
        with stoppable(lambda: ""):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
