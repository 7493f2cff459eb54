"""Local workers: every way a trial can go wrong becomes the right status, the pool goes on, and results do not depend on it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from autorec_kernel.contracts.evaluator import Task
from autorec_kernel.errors import UsageError
from autorec_kernel.features import build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.search.tasks import FEATURES
from autorec_kernel.testing.data import tiny_dataset
from autorec_workers.local import LocalWorkers
from autorec_workers.process import WorkerProcess

sys.path.insert(0, str(Path(__file__).parent))
import nasty_plugin

CAP = 600 * 2**20
WAIT = 90.0
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc or needs Linux signals")
Submit = Callable[..., "Future[Evaluation]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    build_features(tiny_dataset(), Kernel.discover(allowed=["features"]), folder=folder / FEATURES)
    return folder


def opened(workers: int = 1, **options: Any) -> LocalWorkers:
    executor = LocalWorkers(LocalWorkers.Config(**{"grace_seconds": 0.5, **options}))
    executor.start(Kernel({"nasty": nasty_plugin}).origin(), workers)
    return executor


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalWorkers]:
    executor = opened()
    yield executor
    executor.close()


@pytest.fixture
def submit(shared: LocalWorkers, run: Path) -> Submit:
    return lambda habit, trial=0, **fields: shared.submit(task_of(run, habit, trial, **fields))


def task_of(run: Path, habit: str, trial: int = 0, **fields: Any) -> Task:
    genotype = {"pipeline": "ranker"}
    return Task(str(run), trial, 0, 1.0, genotype, "nasty/evaluator", 3, **{"options": {"habit": habit}, **fields})


def gone(pid: int, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("habit", "status", "reason"),
    [
        ("raises", "failed", "ValueError: raised on purpose"),
        ("exits", "failed", "SystemExit: 0"),
        ("nan-metric", "nan", "the validation metric ndcg@10 is nan"),
        ("nan-loss", "nan", "the loss is nan at step 3"),
        ("memory-error", "oom", "cannot allocate 4 TB"),
        ("segfault", "crashed", "its process was ended by SIGSEGV"),
        ("abort", "crashed", "its process was ended by SIGABRT"),
        ("exit-zero", "crashed", "its process ended with exit code 0 before there was a result"),
        ("wrong-type", "failed", "evaluator returned dict, expected Evaluation"),
        ("wrong-status", "failed", "the status 'splendid'"),
        ("wrong-metric", "failed", "metrics that are not numbers"),
        ("wrong-details", "failed", "is of type object"),
        ("closes-everything", "crashed", "its process"),
    ],
)
def test_a_trial_that_goes_wrong_gets_its_status_and_the_next_one_runs(submit: Submit, habit: str, status: str, reason: str) -> None:
    found = submit(habit).result(WAIT)
    assert found.status == status, found.error
    assert reason in found.error
    assert submit("quick").result(WAIT).status == "complete"  # in the same worker, or in its replacement


@pytest.mark.parametrize("habit", ["hang", "hang-deaf", "hang-native"])
def test_a_trial_that_hangs_is_ended_at_its_deadline(submit: Submit, habit: str) -> None:
    submit("quick").result(WAIT)
    started = time.monotonic()
    found = submit(habit, deadline_seconds=1.0).result(WAIT)
    assert found.status == "timeout"
    assert "its limit of 1 s" in found.error
    assert 1.0 <= time.monotonic() - started < 4.0
    assert submit("quick").result(WAIT).status == "complete"


def test_children_of_a_trial_end_with_it(submit: Submit, run: Path) -> None:
    found = submit("hang-with-child", deadline_seconds=2.0).result(WAIT)
    assert found.status == "timeout"
    assert gone(int((run / "artefacts" / "child").read_text()), 2.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_dead_worker_is_noticed_though_its_child_holds_the_pipes(submit: Submit, run: Path) -> None:
    found = submit("die-with-child").result(WAIT)
    assert found.status == "crashed"
    assert "exit code 7" in found.error
    assert gone(int((run / "artefacts" / "child").read_text()), 2.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_copy_of_a_trial_gives_no_second_answer(submit: Submit) -> None:
    assert submit("fork-and-return").result(WAIT).metrics == {"ndcg@10": 0.25}
    assert submit("quick").result(WAIT).metrics == {"ndcg@10": 0.5}


def test_a_trial_that_takes_too_much_memory_is_ended_and_the_parent_stays_small(submit: Submit) -> None:
    before = psutil.Process().memory_info().rss
    found = submit("hog", memory_bytes=CAP).result(WAIT)
    assert found.status == "oom"
    assert CAP < found.measured["peak_bytes"] < 2 * CAP
    assert psutil.Process().memory_info().rss - before < 50 * 2**20


@pytest.mark.slow
def test_what_earlier_trials_leaked_is_not_held_against_a_trial(submit: Submit) -> None:
    found = [submit("keeps-much", trial, memory_bytes=CAP + 300 * 2**20).result(WAIT) for trial in range(3)]
    assert [one.status for one in found] == ["complete"] * 3


@linux
def test_a_trial_whose_worker_is_killed_from_outside_runs_once_more_with_its_seed(submit: Submit, run: Path) -> None:
    (run / "artefacts" / "attempts").unlink(missing_ok=True)
    (run / "artefacts" / "was-here").unlink(missing_ok=True)
    assert submit("killed-once").result(WAIT).metrics == {"ndcg@10": 0.75}
    (run / "artefacts" / "attempts").unlink()
    found = submit("kill-itself").result(WAIT)
    assert (found.status, found.error) == ("killed", "its process was ended by SIGKILL before there was a result")
    assert (run / "artefacts" / "attempts").read_text() == "3\n3\n"


def test_a_crash_is_not_tried_again(submit: Submit, run: Path) -> None:
    pid = submit("quick").result(WAIT).measured["pid"]
    started = time.monotonic()
    assert submit("exit-zero").result(WAIT).status == "crashed"
    assert time.monotonic() - started < 2.0
    assert submit("quick").result(WAIT).measured["pid"] != pid


def test_a_worker_that_dies_between_two_trials_is_replaced_in_silence(submit: Submit) -> None:
    pid = int(submit("quick").result(WAIT).measured["pid"])
    psutil.Process(pid).kill()
    assert gone(pid)
    assert submit("quick").result(WAIT).status == "complete"


def test_what_a_trial_prints_does_not_reach_the_protocol(submit: Submit) -> None:
    submit("quick").result(WAIT)
    before = psutil.Process().memory_info().rss
    assert submit("chatty").result(WAIT).status == "complete"
    assert psutil.Process().memory_info().rss - before < 20 * 2**20


def test_the_last_words_of_a_crash_are_kept_beside_the_run_and_its_error_is_reproducible(submit: Submit, run: Path) -> None:
    found = submit("last-words", 17).result(WAIT)
    assert (run / "artefacts" / found.artefacts["stderr"]).read_text() == "these are my last words\n"
    assert found.error == "its process ended with exit code 9 before there was a result; what it wrote last: artefacts/stderr-17-0.txt"
    crash = submit("segfault", 18).result(WAIT)
    assert "in segfault" in (run / "artefacts" / crash.artefacts["stderr"]).read_text()


def test_words_of_an_earlier_trial_that_are_read_late_are_not_the_last_words(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_at_once = WorkerProcess._pump_stderr

    def read_late(worker: WorkerProcess, stderr: IO[bytes]) -> None:
        while worker.served < 2:
            time.sleep(0.01)
        read_at_once(worker, stderr)

    monkeypatch.setattr(WorkerProcess, "_pump_stderr", read_late)
    executor = opened()
    try:
        executor.submit(task_of(run, "mutters", 19)).result(WAIT)
        found = executor.submit(task_of(run, "last-words", 20)).result(WAIT)
        assert (run / "artefacts" / found.artefacts["stderr"]).read_text() == "these are my last words\n"
    finally:
        executor.close()


def test_one_worker_serves_many_trials(submit: Submit) -> None:
    first = submit("quick").result(WAIT)
    later = [submit("quick", trial).result(WAIT) for trial in range(1, 30)]
    assert {one.measured["pid"] for one in later} == {first.measured["pid"]}


def test_the_cost_of_a_trial_in_a_worker_is_small(submit: Submit) -> None:
    submit("quick").result(WAIT)
    started = time.monotonic()
    for future in [submit("quick", trial) for trial in range(200)]:
        future.result(WAIT)
    assert (time.monotonic() - started) / 200 < 0.02


def test_what_a_trial_does_to_its_process_is_undone(submit: Submit) -> None:
    submit("moves").result(WAIT)
    details = submit("report").result(WAIT).details
    assert (details["cwd"], details["deaf"]) == (os.getcwd(), False)


def test_the_threads_of_a_task_are_in_the_environment_before_numpy_is_imported(submit: Submit) -> None:
    one = submit("report").result(WAIT).details
    assert set(one["pools"]) == {1}
    assert set(one["environment"].values()) == {"1", "0"}
    two = submit("report", threads=2).result(WAIT).details
    assert two["environment"]["OMP_NUM_THREADS"] == "2"
    assert 2 in two["pools"]
    assert one["hash"] == two["hash"]


def test_a_worker_reads_the_features_of_the_run_and_stands_apart_from_the_terminal(submit: Submit) -> None:
    details = submit("report").result(WAIT).details
    assert details["rows"] == 336
    assert details["stdin"] == ""
    assert details["session"]


def test_a_relative_run_folder_is_understood_from_here(shared: LocalWorkers, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent)
    assert shared.submit(task_of(Path(run.name), "report")).result(WAIT).details["rows"] == 336


@pytest.mark.slow
def test_results_do_not_depend_on_workers_or_order(run: Path) -> None:
    tasks = [task_of(run, "waits", trial) for trial in range(12)]
    told = []
    for workers, order in ((1, tasks), (2, tasks), (2, tasks[::-1])):
        executor = opened(workers)
        futures = {task.trial: executor.submit(task) for task in order}
        told.append([{**futures[trial].result(WAIT).to_json(), "measured": {}} for trial in range(12)])
        executor.close()
    assert told[0] == told[1] == told[2]
    assert len({one["metrics"]["ndcg@10"] for one in told[0]}) == 12


def test_tasks_run_in_the_order_of_submission(shared: LocalWorkers, run: Path) -> None:
    finished: list[int] = []
    futures = [shared.submit(task_of(run, "quick", trial)) for trial in range(10)]
    for trial, future in enumerate(futures):
        future.add_done_callback(lambda _, trial=trial: finished.append(trial))
    for future in futures:
        future.result(WAIT)
    assert finished == sorted(finished)


def test_close_ends_a_hanging_trial_cancels_queued_ones_and_may_be_called_twice(run: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    executor = opened()
    pid = int(executor.submit(task_of(run, "quick")).result(WAIT).measured["pid"])
    running, queued = executor.submit(task_of(run, "hang-deaf")), executor.submit(task_of(run, "quick"))
    time.sleep(0.3)
    started = time.monotonic()
    executor.close()
    executor.close()
    assert time.monotonic() - started < 3.0
    assert running.result(0).status == "killed"
    assert queued.cancelled()
    assert gone(pid, 0.5)
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_close_does_not_wait_for_workers_that_are_still_starting() -> None:
    executor = opened(2)
    started = time.monotonic()
    executor.close()
    assert time.monotonic() - started < 3.0


def test_workers_may_be_opened_again_but_not_twice(run: Path) -> None:
    executor = opened()
    with pytest.raises(UsageError, match="open already"):
        executor.start(Kernel({"nasty": nasty_plugin}).origin(), 1)
    executor.close()
    with pytest.raises(UsageError, match="not open"):
        executor.submit(task_of(run, "quick"))
    executor.start(Kernel({"nasty": nasty_plugin}).origin(), 1)
    assert executor.submit(task_of(run, "quick")).result(WAIT).status == "complete"
    executor.close()


def test_a_kernel_that_workers_cannot_build_fails_each_task_with_the_reason(run: Path) -> None:
    executor = opened()
    executor.close()
    executor.start({"plugins": {"nasty": "no_such_module"}}, 1)
    found = executor.submit(task_of(run, "quick")).result(WAIT)
    executor.close()
    assert found.status == "crashed"
    assert "no worker could be started: ModuleNotFoundError: No module named 'no_such_module'" in found.error


def test_a_cancelled_task_is_not_run(shared: LocalWorkers, run: Path) -> None:
    busy = shared.submit(task_of(run, "waits", 1))
    later = shared.submit(task_of(run, "kill-itself"))
    assert later.cancel()
    assert busy.result(WAIT).status == "complete"
    assert shared.submit(task_of(run, "quick")).result(WAIT).status == "complete"


def test_pools_leave_no_threads_and_no_descriptors_behind(run: Path) -> None:
    def state() -> tuple[int, int]:
        return threading.active_count(), psutil.Process().num_fds() if hasattr(psutil.Process, "num_fds") else 0

    counts = []
    for habit, status in (("quick", "complete"), ("exit-zero", "crashed"), ("quick", "complete")):
        executor = opened()
        assert executor.submit(task_of(run, habit)).result(WAIT).status == status
        executor.close()
        counts.append(state())
    assert counts[0] == counts[1] == counts[2]
