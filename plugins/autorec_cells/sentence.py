"""The readable form of a cell, and the way back: `[LSTM-64, Attention-32, MLP-128] + [FM(fields)]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from autorec_cells.options import NODES, NONE, OPERATIONS, OPTIONS, options_of
from autorec_kernel.config import ComponentConfig, parse_config
from autorec_kernel.errors import UsageError

__all__ = ["cell_of", "format_cell", "parse_cell"]

_ACRONYMS = ("mlp", "lstm", "gru", "fm", "cin")
_WORDS = {operation: operation.upper() if operation in _ACRONYMS else operation.capitalize() for operation in OPERATIONS}
_NAMED = {word.lower(): operation for operation, word in _WORDS.items()}
_NODE = re.compile(r"(?P<word>[A-Za-z][A-Za-z-]*?)(?:-(?P<size>\d+))?(?:x(?P<layers>\d+))?(?P<options>(?: [a-z]+=[^\s()~]+)*)"
                   r"(?:\((?P<inputs>[^()]*)\))?(?:~(?P<connection>[a-z]+))?")  # fmt: skip


def format_cell(config: Any) -> str:
    """Return one line: branches joined by `+`, each a chain of nodes of which one reads the one before.

    A node is its operation with width and layers, further options where they differ from their defaults, in brackets what it reads where
    that is not the node before alone (of the first node: the usual source), and behind `~` a connection that is not plain. Nodes are
    numbered from 1 through all branches.
    """
    branches: list[list[str]] = []
    for number in range(1, config.nodes + 1):
        if number == 1 or getattr(config, f"left_{number}") != str(number - 1):
            branches.append([])
        branches[-1].append(_told(config, number, chained=len(branches[-1]) > 0))
    return " + ".join(f"[{', '.join(branch)}]" for branch in branches)


def _told(config: Any, number: int, *, chained: bool) -> str:
    options = options_of(config, number)
    size, layers = options.pop("size", None) or options.pop("states", None), options.pop("layers", None)
    further = "".join(f" {name}={_word(value)}" for name, value in options.items() if value != OPTIONS[name][2])
    left, right = getattr(config, f"left_{number}"), getattr(config, f"right_{number}")
    implied = right == NONE and (chained or (number == 1 and left == type(config).model_fields["left_1"].default))
    inputs = "" if implied else f"({left})" if right == NONE else f"({left} & {right})"
    connection = getattr(config, f"connection_{number}")
    shown = f"{_WORDS[getattr(config, f'operation_{number}')]}{f'-{size}' if size else ''}{f'x{layers}' if (layers or 1) > 1 else ''}"
    return f"{shown}{further}{inputs}{'' if connection == 'plain' else f'~{connection}'}"


def _word(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def parse_cell(text: str, config: Any) -> Any:
    """Return `config` with the nodes of a readable form; options of nodes that it does not name have their defaults.

    Without brackets, a first node reads the default source of the cell, and others the node before.

    Raises:
        UsageError: The text is no cell, or names what there is not.
    """
    fields = type(config).model_fields
    found: dict[str, Any] = {name: getattr(config, name) for name in fields if not re.search(r"_\d$", name)}
    number = 0
    for branch in re.split(r"\]\s*\+\s*\[", text.strip().removeprefix("[").removesuffix("]")):
        for place, told in enumerate(re.split(r",\s*", branch)):
            number += 1
            start = str(number - 1) if place else fields["left_1"].default
            found |= _parsed(told.strip(), number, start)
    if number > NODES:
        raise UsageError(f"a cell has at most {NODES} nodes, and {text!r} has {number}")
    kind: type[ComponentConfig] = type(config)
    return parse_config(kind, {**found, "nodes": number, "cell": ""}, where=f"cell {text!r}")


def _parsed(told: str, number: int, start: str) -> dict[str, Any]:
    """Return option → value of one node."""
    match = _NODE.fullmatch(told)
    operation = _NAMED.get(match["word"].lower()) if match else None
    if match is None or operation is None:
        raise UsageError(f"{told!r} is no node of a cell", hint=f"operations are {', '.join(_WORDS.values())}")
    values: dict[str, Any] = {name: row[2] for name, row in OPTIONS.items() if operation in row[3]}
    suffixes = {"states" if "states" in values else "size": match["size"], "layers": match["layers"]}
    given = {name: value for name, value in suffixes.items() if value}
    given |= dict(option.split("=", 1) for option in match["options"].split())
    for name, value in given.items():
        if name not in values:
            raise UsageError(f"{match['word']} has no option {name!r}", hint=f"it has {', '.join(values) or 'none'}")
        values[name] = _value(value, values[name])
    left, _, right = (match["inputs"] if match["inputs"] is not None else start).partition("&")
    values |= {"operation": operation, "left": left.strip(), "right": right.strip() or NONE, "connection": match["connection"] or "plain"}
    return {f"{name}_{number}": value for name, value in values.items()}


def _value(text: str, like: Any) -> Any:
    flags: Mapping[str, bool] = {"yes": True, "no": False}
    if isinstance(like, bool):
        return flags.get(text, text)
    return int(text) if isinstance(like, int) and text.isdigit() else text


def cell_of(config: Any) -> Any:
    """Return the options of a cell, read from its readable form where that is given."""
    return parse_cell(config.cell, config) if config.cell else config
