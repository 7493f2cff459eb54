"""Code blocks of the documentation, as things that can be run.

A page is run from top to bottom in an empty folder; the info line of a block says what happens to it:

- `python`: runs; the blocks of one page share their names.
- `python title="FILE"` (any language with a title): is written to FILE.
- `console`: every line that starts with `$ ` runs; the lines under it have to appear in its output in this order (`...`: anything).
  `console exit=5` expects that exit code. Only `autorec` and `python` may be called.
- `text`, `toml`, `json`, `bash` and others without a title are for reading. `bash` is used in the README for commands that install.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Block", "Step", "commands", "missing_line", "read_blocks"]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_OPTION = re.compile(r'(\w+)=(?:"([^"]*)"|(\S+))')


@dataclass(frozen=True)
class Block:
    language: str
    options: dict[str, str]
    text: str
    line: int


@dataclass(frozen=True)
class Step:
    argv: tuple[str, ...]
    expected: tuple[str, ...]


def read_blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page in order."""
    source = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(source):
        language, _, rest = match["info"].strip().partition(" ")
        options = {name: quoted or plain for name, quoted, plain in _OPTION.findall(rest)}
        body = "\n".join(line.removeprefix(match["indent"]) for line in match["body"].splitlines()) + "\n"
        yield Block(language, options, body, source.count("\n", 0, match.start()) + 1)


def commands(block: Block) -> list[Step]:
    """Split a console block into its commands and the output each has to show."""
    steps: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        elif steps and line.strip():
            steps[-1][1].append(line.strip())
    return [Step(tuple(shlex.split(command, comments=True)), tuple(shown)) for command, shown in steps]


def missing_line(expected: tuple[str, ...], output: str) -> str | None:
    """Return the first expected line that the output lacks after those before it, or None."""
    lines = iter(" ".join(line.split()) for line in output.splitlines())
    for wanted in expected:
        pattern = ".*".join(re.escape(" ".join(part.split())) for part in wanted.split("..."))
        if wanted != "..." and not any(re.search(pattern, line) for line in lines):
            return wanted
    return None
