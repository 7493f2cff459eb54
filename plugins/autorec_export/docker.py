"""`--format docker`: what `docker build` needs for a container that runs `autorec serve` on the bundle, with every version pinned."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from autorec_export.files import put
from autorec_export.ports import opened
from autorec_kernel.errors import PluginError

__all__ = ["command_line", "pinned", "write_docker"]

_OURS = "autorec-kernel"
# What `autorec serve` imports; what these ask for themselves is added. Neither torch nor pandas is among them.
_ROOTS = ("fastapi", "filelock", "h11", "numpy", "onnxruntime", "pluggy", "prometheus-client", "pydantic", "rich", "typer", "uvicorn")
_DOCKERFILE = """# Bundle {digest}
# Pin the base by its digest where builds must be repeatable: FROM python:{python}-slim@sha256:...
FROM python:{python}-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1
WORKDIR /srv
COPY requirements.txt requirements.txt
COPY wheels/ wheels/
RUN pip install --no-cache-dir --no-deps -r requirements.txt \\
 && pip install --no-cache-dir --no-deps --find-links wheels {ours}=={version} \\
 && useradd --system --no-create-home --uid 10001 --shell /usr/sbin/nologin autorec
COPY bundle/ bundle/
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \\
  CMD {health}
CMD {command}
"""
_HEALTH = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"
_README = """# A container for the bundle {digest}

    docker build -t recommender .
    docker run --rm --read-only --cap-drop ALL --security-opt no-new-privileges \\
      -e AUTOREC_TOKEN -p 127.0.0.1:8000:8000 recommender
    curl -s http://127.0.0.1:8000/v1/recommend -H "Authorization: Bearer $AUTOREC_TOKEN" -H 'content-type: application/json' -d '{{"k": 3}}'

`AUTOREC_TOKEN` is a word of at least 16 characters that callers must send: without it the server does not start.

**Loopback.** Inside the container the server listens on 0.0.0.0, since nothing else is reached from outside it; that is why it asks for a
token. `-p 127.0.0.1:8000:8000` publishes the port on this machine alone. `-p 8000:8000` publishes it to everybody who reaches the machine:
put a proxy with TLS in front, and add `--allow-host NAME` to the command for the name that callers use.

**What is inside.** `requirements.txt` has the versions that this export was made and checked with, all of them, and is installed without
asking for more: numpy, onnxruntime and the server, no torch. The command serves this very bundle (`--require-digest`), no other. The user
is 10001, not root; nothing is written, so `--read-only` holds.

**{ours} itself** is installed from an index, or from a wheel that you put into `wheels/`:
`pip wheel --no-deps -w wheels PATH_OF_ITS_SOURCE`.
"""


def write_docker(source: Path, out: Path) -> None:
    """Write Dockerfile, requirements.txt, the bundle and a README.

    Args:
        source: A bundle.
        out: The folder to write; not there yet.

    Raises:
        UsageError: The source is no bundle.
        BundleError: It is refused.
        PluginError: A package that the server needs is not installed here, so that its version is not known.
    """
    bundle = opened(source).bundle
    pins = pinned()
    for name, data in bundle.members.items():
        put(out / "bundle" / name, data)
    put(out / "requirements.txt", "".join(f"{name}=={found}\n" for name, found in pins.items()))
    python, ours = f"{sys.version_info.major}.{sys.version_info.minor}", version(_OURS)
    health, command = json.dumps(["python", "-c", _HEALTH]), json.dumps(command_line(bundle.digest))
    told = _DOCKERFILE.format(digest=bundle.digest, python=python, ours=_OURS, version=ours, health=health, command=command)
    put(out / "Dockerfile", told)
    put(out / ".dockerignore", "*\n!requirements.txt\n!wheels\n!bundle\n")
    put(out / "wheels" / "README", f"A wheel of {_OURS} {ours} goes here, unless pip finds it on an index.\n")
    put(out / "README.md", _README.format(digest=bundle.digest, ours=_OURS))


def command_line(digest: str) -> list[str]:
    """Return what the container runs; only the plugin that serves is looked at."""
    return [
        "autorec",
        "--plugins",
        "serve",
        "serve",
        "bundle",
        "--host",
        "0.0.0.0",
        "--port",
        "8000",
        "--require-digest",
        f"sha256:{digest}",
    ]


def pinned() -> dict[str, str]:
    """Return name → version of every package that the server needs, as they are installed here.

    Raises:
        PluginError: One of them is not.
    """
    found: dict[str, str] = {}
    waiting = [(name, True) for name in _ROOTS]
    while waiting:
        name, always = waiting.pop()
        if name in found:
            continue
        try:
            found[name], needs = version(name), requires(name) or []
        except PackageNotFoundError:
            if always:
                hint = f'pip install "{_OURS}[serve]"'
                raise PluginError(f"versions are taken from this installation, which has no {name!r}", hint=hint) from None
            continue
        waiting += [_needed(text) for text in needs if "extra ==" not in text]
    return dict(sorted(found.items()))


def _needed(requirement: str) -> tuple[str, bool]:
    """Return the name of a requirement, and whether every platform needs it; what only some need is taken along where it is installed."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return re.sub(r"[._-]+", "-", found[0]).lower(), ";" not in requirement
