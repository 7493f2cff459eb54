"""`autorec serve`: a bundle behind HTTP."""

from __future__ import annotations

import os
import re
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from autorec_kernel.cli.host import kernel_of
from autorec_kernel.cli.output import note
from autorec_kernel.cli.trust import Keys, required
from autorec_kernel.errors import PluginError, UsageError
from autorec_serve.settings import Access, Limits, is_loopback, read_token

__all__ = ["serve"]

_BundlePath = Annotated[Path, typer.Argument(help="Bundle: a folder or a stored zip.", metavar="BUNDLE")]
_NAME = Annotated[list[str] | None, typer.Option(help="A further name that this server goes by (repeatable).", metavar="NAME")]
_ORIGIN = Annotated[list[str] | None, typer.Option(help="An origin whose pages may ask (repeatable).", metavar="https://HOST")]
_TOKEN = Annotated[Path | None, typer.Option(help="File with the token that callers must send.", metavar="FILE")]
_NEEDED = ("fastapi", "uvicorn", "prometheus_client")


def serve(
    context: typer.Context,
    bundle: _BundlePath,
    host: Annotated[str, typer.Option(help="Address to listen on; others than loopback need a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8000,
    threads: Annotated[int, typer.Option(help="Threads of one request.", min=1, max=256)] = 1,
    token_file: _TOKEN = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Listen beyond loopback without a token.")] = False,
    allow_host: _NAME = None,
    allow_origin: _ORIGIN = None,
    require_digest: Annotated[str | None, typer.Option(help="Refuse any other bundle, now and at a reload.", metavar="SHA256")] = None,
    trust_key: Keys = None,
    limit_concurrency: Annotated[int, typer.Option(help="Requests for the model at a time; more get 503.", min=1)] = 64,
    model_timeout: Annotated[float, typer.Option(help="Seconds that an answer may take.", min=0.01)] = 2.0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Log no single requests.")] = False,
) -> None:
    """Answer requests from a bundle over HTTP, on this machine alone unless --host says otherwise.

    SIGHUP reads the bundle again, SIGUSR1 goes back to the one before.

    Try: autorec serve runs/ratings/bundle
    """
    lacking = [name for name in _NEEDED if find_spec(name) is None]
    if lacking:
        raise PluginError(f"serving needs {', '.join(lacking)}, not installed here", hint='pip install "autorec-kernel[serve]"')
    access = _access(host, port, read_token(token_file, os.environ.get("AUTOREC_TOKEN", "")), allow_host, allow_origin, insecure)
    limits = Limits(concurrency=limit_concurrency, connections=max(256, 4 * limit_concurrency), model_seconds=model_timeout)
    _fix_threads(threads)
    from autorec_serve.app import guarded
    from autorec_serve.loaded import Served
    from autorec_serve.logs import log_to_stderr
    from autorec_serve.metrics import Metrics
    from autorec_serve.server import listen, run

    with listen(host, port) as listening:
        log_to_stderr(quiet=quiet)
        trusted = partial(required, context, bundle, require_digest, trust_key)
        served = Served(bundle, Metrics(), limits, threads, trusted, kernel_of(context))
        listening.listen()
        note(f"serving {served.current.digest} at {_address(listening.getsockname())} (Ctrl-C ends it)")
        run(guarded(served, access), served, listening)


def _access(host: str, port: int, token: bytes | None, names: list[str] | None, origins: list[str] | None, insecure: bool) -> Access:
    """Return who is let in, after a warning where that is everybody.

    Raises:
        UsageError: It would be everybody by mistake, or a name is none.
    """
    if not is_loopback(host) and token is None:
        if not insecure:
            hint = "--token-file FILE, or --insecure if everybody who reaches this address may ask"
            raise UsageError(f"--host {host} is reached from other machines, and no token is asked for", hint=hint)
        note(f"warning: everybody who reaches {host}:{port} may ask this server")
    hosts = Access().hosts | _names(host, names)
    return Access(hosts=hosts, addresses=not is_loopback(host), origins=_origins(origins), token=token)


def _fix_threads(threads: int) -> None:
    """Fix the threads of numpy's matrix products, which it reads when it is imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)


def _names(host: str, further: list[str] | None) -> frozenset[str]:
    wrong = [name for name in further or () if not re.fullmatch(r"[A-Za-z0-9.-]+|[0-9A-Fa-f:]+", name)]
    if wrong:
        raise UsageError(f"--allow-host {wrong[0]!r:.80} is no host name", hint="give the name alone, without scheme and port")
    return frozenset(name.lower() for name in (host, *(further or ())))


def _origins(given: list[str] | None) -> frozenset[str]:
    wrong = [origin for origin in given or () if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:\d+)?", origin)]
    if wrong:
        raise UsageError(f"--allow-origin {wrong[0]!r:.80} is no origin", hint="--allow-origin https://shop.example")
    return frozenset(given or ())


def _address(name: tuple[object, ...]) -> str:
    host = f"[{name[0]}]" if ":" in str(name[0]) else name[0]
    return f"http://{host}:{name[1]}"
