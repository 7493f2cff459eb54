"""A served bundle in a process of its own, and a client of plain sockets."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ENTRY = "import sys; from autorec_kernel.cli.main import main; sys.exit(main())"
_LIMITS = "from autorec_serve.settings import Limits; Limits.__init__.__kwdefaults__.update({limits!r})"


class Child:
    """`autorec serve BUNDLE --port 0` with further options; ends with the block.

    Args:
        after: A statement that runs when the server has ended.
        limits: Bounds in place of the usual ones, so that a test need not wait.
    """

    def __init__(self, bundle: Path, *options: str, after: str = "pass", limits: Mapping[str, float] | None = None) -> None:
        code = (
            f"{_LIMITS.format(limits=dict(limits or {}))}; {ENTRY.replace('sys.exit(main())', f'code = main(); {after}; sys.exit(code)')}"
        )
        command = [sys.executable, "-c", code, "serve", str(bundle), "--port", "0", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = int(self.wait_for(r"at http://[^ ]*:(\d+) ")[1])

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    def wait_for(self, pattern: str, seconds: float = 30) -> re.Match[str]:
        """Return the first match among the lines of the log."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            found = next((match for line in list(self.lines) if (match := re.search(pattern, line))), None)
            if found is not None:
                return found
            if self.process.poll() is not None:
                time.sleep(0.2)
                break
            time.sleep(0.02)
        raise AssertionError(f"{pattern!r} is not in the log:\n{''.join(self.lines)}")

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], Any]:
        """Return status, headers and JSON of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        data = None if body is None else json.dumps(body).encode()
        connection.request(method, path, data, {"Content-Type": "application/json", **headers} if data is not None else headers)
        reply = connection.getresponse()
        told = reply.read()
        connection.close()
        kind = reply.headers.get_content_type()
        return reply.status, dict(reply.headers.items()), json.loads(told) if "json" in kind else told.decode()

    def connect(self) -> socket.socket:
        """Return a bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def hang_up(self) -> dict[str, Any]:
        """Reload, and return how it ended."""
        before = self.ask("GET", "/readyz")[2]["reload"]
        os.kill(self.process.pid, signal.SIGHUP)
        ends = time.monotonic() + 20
        while time.monotonic() < ends:
            found: dict[str, Any] = self.ask("GET", "/readyz")[2]["reload"]
            if found != before:
                return found
            time.sleep(0.05)
        raise AssertionError("no reload within 20 s")

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.terminate()
        return self.process.wait(20)


def until_closed(connection: socket.socket) -> bytes:
    """Return everything that comes before the other side closes."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)
