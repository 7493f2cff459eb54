"""The container of `--format docker`: its parts stand, and its command runs on what its requirements bring, and on nothing else."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
from autorec_export.docker import command_line, pinned, write_docker
from autorec_kernel.errors import PluginError
from autorec_kernel.serving import Recommender, open_bundle

ROOT = Path(__file__).parents[4]
KNOWN = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "CMD"}
TOKEN = "a-token-for-this-test"


@pytest.fixture(scope="module")
def image(cases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docker") / "out"
    write_docker(cases["factors"], out)
    return out


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Parse a Dockerfile: comments dropped, continued lines joined, one instruction each."""
    text = "\n".join(line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#"))
    lines = [line.strip() for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def one(image: Path, name: str) -> str:
    (found,) = [rest for word, rest in instructions(image / "Dockerfile") if word == name]
    return found


def test_every_instruction_is_one_of_a_dockerfile(image: Path) -> None:
    found = instructions(image / "Dockerfile")
    assert found[0] == ("FROM", f"python:{sys.version_info.major}.{sys.version_info.minor}-slim")
    assert {word for word, _ in found} == KNOWN


def test_what_is_copied_is_there_and_is_not_ignored(image: Path) -> None:
    sources = [rest.split()[0].rstrip("/") for word, rest in instructions(image / "Dockerfile") if word == "COPY"]
    assert sources == ["requirements.txt", "wheels", "bundle"]
    assert [name for name in sources if not (image / name).exists()] == []
    assert set((image / ".dockerignore").read_text().split()) == {"*", *(f"!{name}" for name in sources)}


def test_the_user_is_not_root_and_nothing_is_installed_after_that(image: Path) -> None:
    found = instructions(image / "Dockerfile")
    assert one(image, "USER") == "10001"
    assert f"--uid {one(image, 'USER')} " in next(rest for word, rest in found if word == "RUN")
    words = [word for word, _ in found]
    assert words.index("USER") > max(number for number, word in enumerate(words) if word in ("RUN", "COPY"))


def test_every_version_is_pinned_and_is_the_one_that_was_tested(image: Path) -> None:
    lines = (image / "requirements.txt").read_text().split()
    tested = set((ROOT / "constraints.txt").read_text().split())
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*", line) for line in lines)
    assert {line for line in lines if line not in tested} == set()
    names = {line.split("==")[0] for line in lines}
    assert {"numpy", "onnxruntime", "fastapi", "uvicorn", "typer"} <= names
    assert names.isdisjoint({"torch", "pandas", "scipy", "onnx", "optuna", "pyarrow"})


def test_pip_is_asked_for_nothing_more(image: Path) -> None:
    run = next(rest for word, rest in instructions(image / "Dockerfile") if word == "RUN")
    assert [part.strip() for part in run.split("&&") if "pip install" in part] == [
        "pip install --no-cache-dir --no-deps -r requirements.txt",
        f"pip install --no-cache-dir --no-deps --find-links wheels autorec-kernel=={version('autorec-kernel')}",
    ]


def test_a_package_that_is_not_here_cannot_be_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    from autorec_export import docker

    monkeypatch.setattr(docker, "_ROOTS", ("not-there-at-all",))
    with pytest.raises(PluginError, match="has no 'not-there-at-all'"):
        pinned()


def test_the_bundle_is_the_one_that_was_exported(image: Path, cases: dict[str, Path]) -> None:
    digest = open_bundle(cases["factors"]).digest
    assert open_bundle(image / "bundle", require_digest=digest)
    assert json.loads(one(image, "CMD")) == command_line(digest)


def test_the_readme_says_how_far_the_port_reaches(image: Path) -> None:
    text = (image / "README.md").read_text()
    assert "-p 127.0.0.1:8000:8000" in text
    assert "0.0.0.0" in text
    assert "--read-only" in text


# --- the command, run ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def python(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment that holds what requirements.txt names, autorec-kernel, and nothing else: links to what is installed here."""
    base = tmp_path_factory.mktemp("venv") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(base)], check=True)
    (site,) = base.glob("lib/python*/site-packages")
    for line in (image / "requirements.txt").read_text().split():
        for file in distribution(line.split("==")[0]).files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (site / top).exists():
                (site / top).symlink_to(file.locate().parents[len(file.parts) - 1] / top)
    for package in (ROOT / "autorec_kernel", *(ROOT / "plugins").iterdir()):
        (site / package.name).symlink_to(package)
    info = next(file.locate().parent for file in distribution("autorec-kernel").files or () if file.name == "entry_points.txt")
    (site / info.name).symlink_to(info)
    return base / "bin" / "python"


def test_the_environment_has_no_torch(python: Path) -> None:
    done = subprocess.run([python, "-c", "import torch"], capture_output=True, text=True, check=False)
    assert "No module named 'torch'" in done.stderr


class Container:
    """The command of the image in its folder, as a user without a home, on a free port."""

    def __init__(self, image: Path, python: Path, **environment: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        words = json.loads(one(image, "CMD"))
        assert words[0] == "autorec"
        words = [str(self.port) if word == "8000" else word for word in words[1:]]
        start = "import sys; from autorec_kernel.cli.main import main; sys.exit(main())"
        told = dict(word.split("=") for word in shlex.split(one(image, "ENV")))
        self.process = subprocess.Popen(
            [python, "-c", start, *words],
            cwd=image,
            env={"PATH": "/usr/bin:/bin", "HOME": "/dev/null/home", **told, **environment},
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        reply = connection.getresponse()
        found = reply.status, json.loads(reply.read())
        connection.close()
        return found


@pytest.fixture
def running(image: Path, python: Path) -> Iterator[Container]:
    container = Container(image, python, AUTOREC_TOKEN=TOKEN)
    try:
        ends = time.monotonic() + 60
        while time.monotonic() < ends and container.process.poll() is None:
            try:
                container.ask("GET", "/readyz")
                break
            except OSError:
                time.sleep(0.1)
        yield container
    finally:
        container.process.kill()
        container.process.communicate()


@pytest.mark.skipif(os.name != "posix", reason="the image is a Linux one")
def test_the_command_serves_the_bundle_on_its_requirements_alone(running: Container, image: Path, python: Path) -> None:
    assert running.process.poll() is None, running.process.stderr and running.process.stderr.read()
    status, found = running.ask("POST", "/v1/recommend", {"users": ["u1"], "k": 3})
    assert (status, found["answers"][0]["items"]) == (200, list(Recommender.load(image / "bundle").recommend(["u1"], k=3)[0].items))
    health = json.loads(one(image, "HEALTHCHECK").split(" CMD ", 1)[1])
    code = health[2].replace(":8000/", f":{running.port}/")
    assert code != health[2]
    assert subprocess.run([python, *health[1:2], code], check=False).returncode == 0
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(20) == 0
    assert subprocess.run([python, *health[1:2], code], capture_output=True, check=False).returncode != 0


@pytest.mark.skipif(os.name != "posix", reason="the image is a Linux one")
def test_without_a_token_it_does_not_listen(image: Path, python: Path) -> None:
    container = Container(image, python)
    _, told = container.process.communicate(timeout=60)
    assert container.process.returncode == 2
    assert "no token is asked for" in told


@pytest.mark.skipif(os.name != "posix", reason="the image is a Linux one")
def test_another_bundle_in_its_place_is_refused(image: Path, python: Path, cases: dict[str, Path], tmp_path: Path) -> None:
    changed = Path(shutil.copytree(image, tmp_path / "image"))
    shutil.rmtree(changed / "bundle")
    shutil.copytree(cases["retriever"], changed / "bundle")
    container = Container(changed, python, AUTOREC_TOKEN=TOKEN)
    _, told = container.process.communicate(timeout=60)
    assert container.process.returncode == 5
    assert "is required" in told
