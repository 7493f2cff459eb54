from __future__ import annotations

import asyncio
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
from serve_kit import ask, serving

from autorec_kernel.errors import BundleError
from autorec_kernel.serving import Recommender
from autorec_serve import check, loaded
from autorec_serve.metrics import Metrics
from autorec_serve.settings import Limits


@pytest.fixture
def link(served_bundles: dict[str, Path], tmp_path: Path) -> Path:
    place = tmp_path / "current"
    place.symlink_to(served_bundles["first"])
    return place


@pytest.fixture
def real_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded, "verified_digest", check.verified_digest)


def switch(link: Path, target: Path) -> None:
    fresh = link.with_name("fresh")
    fresh.symlink_to(target)
    os.replace(fresh, link)


def first_list(served: Any) -> list[str]:
    found: list[str] = ask(served, "POST", "/v1/recommend", {"users": ["u1"]}).json()["answers"][0]["items"]
    return found


@pytest.mark.usefixtures("real_check")
def test_a_switched_link_is_served_after_a_reload(link: Path, served_bundles: dict[str, Path]) -> None:
    served = serving(link)
    before = first_list(served)
    switch(link, served_bundles["second"])
    assert first_list(served) == before
    asyncio.run(served.reload())
    assert first_list(served) == list(Recommender.load(served_bundles["second"]).recommend(["u1"])[0].items) != before
    found = ask(served, "GET", "/readyz").json()
    assert (found["reload"]["ok"], found["bundle"]) == (True, served.current.digest)
    assert f'autorec_bundle_info{{sha256="{served.current.digest}",task="recommend"}} 1.0' in served.metrics.text().decode()
    served.close()


@pytest.mark.usefixtures("real_check")
def test_a_damaged_bundle_leaves_the_old_one_serving_and_says_why(tmp_path: Path, served_bundles: dict[str, Path], caplog: Any) -> None:
    place = tmp_path / "bundle"
    shutil.copytree(served_bundles["first"], place)
    served = serving(place)
    before, digest = first_list(served), served.current.digest
    graph = place / "retriever.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    asyncio.run(served.reload())
    reply = ask(served, "GET", "/readyz")
    assert (reply.status, reply.json()["ready"], reply.json()["bundle"]) == (200, True, digest)
    assert reply.json()["reload"]["ok"] is False
    assert "retriever.onnx" in reply.json()["reload"]["detail"]
    assert str(tmp_path) not in reply.body.decode()
    assert first_list(served) == before
    text = served.metrics.text().decode()
    assert "autorec_reload_ok 0.0" in text
    assert 'autorec_reloads_total{result="refused"} 1.0' in text
    assert "retriever.onnx" in caplog.text
    served.close()


def test_a_reload_keeps_to_the_digest_that_was_asked_for(link: Path, served_bundles: dict[str, Path]) -> None:
    digest = Recommender.load(served_bundles["first"]).bundle.digest
    served = loaded.Served(link, Metrics(), Limits(), required=lambda: f"sha256:{digest}")
    switch(link, served_bundles["second"])
    asyncio.run(served.reload())
    assert served.current.digest == digest
    assert served.last_reload is not None
    assert "is required" in served.last_reload["detail"]
    served.close()


def test_who_is_trusted_is_asked_at_every_reload(link: Path, served_bundles: dict[str, Path]) -> None:
    trusted = [Recommender.load(served_bundles["first"]).bundle.digest]

    def required() -> str:
        if not trusted:
            raise BundleError("the bundle is not signed")
        return trusted[0]

    served = loaded.Served(link, Metrics(), Limits(), required=required)
    switch(link, served_bundles["second"])
    trusted[0] = Recommender.load(served_bundles["second"]).bundle.digest
    asyncio.run(served.reload())
    assert served.current.digest == trusted[0]
    trusted.clear()
    switch(link, served_bundles["first"])
    asyncio.run(served.reload())
    assert served.last_reload is not None
    assert "not signed" in served.last_reload["detail"]
    served.close()


def test_going_back_serves_the_bundle_before_at_once_and_once_more_undoes_it(link: Path, served_bundles: dict[str, Path]) -> None:
    served = serving(link)
    before = first_list(served)
    served.back()
    assert first_list(served) == before  # there is nothing to go back to
    switch(link, served_bundles["second"])
    asyncio.run(served.reload())
    asyncio.run(served.reload())  # the same bundle again leaves the way back open
    after = first_list(served)
    served.back()
    assert first_list(served) == before != after
    assert f'sha256="{served.current.digest}"' in served.metrics.text().decode()
    served.back()
    assert first_list(served) == after
    served.close()


def test_what_is_swapped_between_check_and_load_is_refused(link: Path, served_bundles: dict[str, Path], monkeypatch: Any) -> None:
    served = serving(link)
    honest = loaded.verified_digest

    def then_switched(path: Path, require: str = "", *, kernel: object = None) -> str:
        digest = honest(path, require)
        switch(link, served_bundles["second"])
        return digest

    monkeypatch.setattr(loaded, "verified_digest", then_switched)
    before = served.current.digest
    asyncio.run(served.reload())
    assert served.current.digest == before
    assert served.last_reload is not None
    assert served.last_reload["ok"] is False
    served.close()


def test_requests_are_answered_while_a_bundle_is_read(link: Path, monkeypatch: Any) -> None:
    served = serving(link)
    go = threading.Event()
    fresh = served.current

    def waits(*args: Any) -> Any:
        go.wait(5)
        return fresh

    monkeypatch.setattr(loaded, "load", waits)

    async def both() -> int:
        from serve_kit import ask_async

        task = asyncio.create_task(served.reload())
        await asyncio.sleep(0.05)
        status = (await ask_async(served, "POST", "/v1/recommend", {})).status
        assert not task.done()
        go.set()
        await task
        return status

    assert asyncio.run(both()) == 200
    served.close()


def test_a_reload_asked_for_during_a_reload_follows_it(link: Path, monkeypatch: Any) -> None:
    served, calls = serving(link), list[float]()
    fresh = served.current

    def counted(*args: Any) -> Any:
        calls.append(time.monotonic())
        time.sleep(0.05)
        return fresh

    monkeypatch.setattr(loaded, "load", counted)

    async def thrice() -> None:
        await asyncio.gather(served.reload(), served.reload(), served.reload())

    asyncio.run(thrice())
    assert len(calls) == 1 or len(calls) == 2
    assert not served._busy
    served.close()


def test_a_bundle_that_kills_its_reader_kills_the_check_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash = tmp_path / "crash.py"
    crash.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    honest = check.subprocess.run
    monkeypatch.setattr(check.subprocess, "run", lambda command, **options: honest([sys.executable, str(crash)], **options))
    with pytest.raises(BundleError, match="signal 11"):
        check.verified_digest(tmp_path)


def test_the_folder_of_a_run_is_refused_with_the_path_of_its_bundle(served_bundles: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(served_bundles["first"], tmp_path / "bundle")
    with pytest.raises(BundleError, match="this folder is no bundle") as told:
        check.verified_digest(tmp_path)
    assert told.value.hint == f"name the run's bundle: {tmp_path / 'bundle'}"


def test_a_check_that_takes_too_long_is_a_refusal(served_bundles: dict[str, Path]) -> None:
    with pytest.raises(BundleError, match="took more than"):
        check.verified_digest(served_bundles["first"], seconds=0.01)


def test_the_check_does_not_inherit_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOREC_TOKEN", "0123456789abcdef")
    seen: dict[str, Any] = {}
    honest = check.subprocess.run
    monkeypatch.setattr(check.subprocess, "run", lambda command, **options: (seen.update(options["env"]), honest(command, **options))[1])
    with pytest.raises(BundleError, match="no bundle here"):
        check.verified_digest(tmp_path / "nothing")
    assert "PATH" in seen
    assert "AUTOREC_TOKEN" not in seen
