"""`Program`: a feature transformation as data, run by one numpy interpreter in training and in serving."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from autorec_kernel.errors import BundleError, ContractError
from autorec_kernel.records.as_of import AsOfTable
from autorec_kernel.records.blocks import in_blocks
from autorec_kernel.records.entries import Orders
from autorec_kernel.records.frame import Frame, ReadContext
from autorec_kernel.records.steps import STEPS
from autorec_kernel.records.table import ColumnData, Ragged, take_column
from autorec_kernel.records.vocabulary import Vocabulary

__all__ = ["Program", "ReadContext", "Step", "load_programs", "read_by", "run_program"]


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of the closed list.

    Args:
        op: lookup hash bucketize affine log1p clip calendar fill bag gather as_of pool ratio plus minus concat cross match dot words.
        inputs: Names of columns or of earlier outputs.
        output: Name of the value it makes.
        params: JSON values; arrays and as-of tables are named, not held.
    """

    op: str
    inputs: tuple[str, ...]
    output: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Steps from columns to features.

    Args:
        inputs: Columns it reads: event columns by name, `users.<name>` and `items.<name>`, and the kernel's own int64 columns `@user`,
            `@item` (entity rows), `@user_key`, `@item_key` (the same, with numbers of their own for ids that training never saw: what
            as-of tables are keyed by), `@clock`, `@order`. A column that is not there at run time reads as missing.
        steps: In order.
        outputs: Names of the values it gives, one a feature.
        arrays: Vocabularies, scales, edges, tables.
        tables: As-of tables.

    Raises:
        ContractError: A step is not on the closed list, or reads a name before it exists.
    """

    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    tables: Mapping[str, AsOfTable] = field(default_factory=dict)
    _cache: dict[str, Vocabulary] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        known = set(self.inputs)
        for step in self.steps:
            if step.op not in STEPS:
                raise ContractError(f"program step {step.op!r} is not on the closed list {sorted(STEPS)}")
            lost = [name for name in step.inputs if name not in known]
            if lost or step.output in known:
                raise ContractError(f"step {step.output!r} reads {lost} before they exist" if lost else f"{step.output!r} is made twice")
            known.add(step.output)
        if not set(self.outputs) <= known:
            raise ContractError(f"the program never makes {sorted(set(self.outputs) - known)}")

    def fold(self, events: Mapping[str, Any], *, anew: bool = False) -> Program:
        """Return the program with more events in its as-of tables.

        Args:
            events: What `columns` names, one row an event. What a table is keyed by, or adds up, may be a step's output: it is computed,
                strictly before the event where the step reads an earlier table.
            anew: These events replace those of the tables.
        """
        if not self.tables:
            return self
        folded, made, full, orders = self, dict[str, Any](), set[str](), Orders()
        for name, table in self.tables.items():
            found = folded.computed(read_by(table) - made.keys(), events)
            full_table = table.fold({**events, **made, **found}, anew=anew, orders=orders)
            folded = replace(folded, tables={**folded.tables, name: full_table})
            made |= {output: value for output, value in found.items() if folded._reads([output]) <= full}
            orders = {columns: order for columns, order in orders.items() if made.keys() >= found.keys() & set(columns[:3])}
            full.add(name)
        return folded

    def computed(self, names: Iterable[str], columns: Mapping[str, Any], *, latest: bool = False) -> dict[str, Any]:
        """Return the values of the steps among `names`, as they are inside the program: float64 with NaN, or int64."""
        names = set(names)
        steps, wanted = self.behind(names)
        if not steps:
            return {}
        given = {name: columns[name] for name in self.inputs if name in wanted and name in columns}
        asked = [step.output for step in steps if step.output in names]

        def run(columns: dict[str, Any], rows: int) -> dict[str, Any]:
            frame = Frame(self.arrays, self.tables, ReadContext(rows, latest=latest), columns, self._cache)
            with np.errstate(all="ignore"):
                for step in steps:
                    _run(frame, step)
            return {name: frame.values[name] for name in asked}

        return in_blocks(run, given, len(next(iter(columns.values()))))

    def parted(self, *groups: Mapping[str, Any]) -> tuple[Program, list[dict[str, Any]]]:
        """Return the program that is left where what it makes of each group of columns alone is given, tables read at their end.

        Beside it, for each group, the values that are given: those which other steps read, or which are outputs.
        """
        left, found = self, list[dict[str, Any]]()
        for columns in groups:
            alone, made, steps = set(columns) & set(left.inputs), set[str](), list[Step]()
            for step in left.steps:
                read = step.inputs[:1] if step.op == "as_of" else step.inputs  # of a table at its end no clock is asked
                if step.op != "words" and not step.params.get("length") and alone.issuperset(read):  # of all keys, lists take too much
                    alone.add(step.output)
                    made.add(step.output)
                else:
                    steps.append(step)
            wanted = {*self.outputs, *(name for step in steps for name in step.inputs)} & made
            left = replace(left, inputs=(*left.inputs, *sorted(wanted)), steps=tuple(steps))
            found.append(self.computed(wanted, columns, latest=True))
        return left, found

    def _reads(self, names: Iterable[str]) -> set[str]:
        """Return the tables that values are made of."""
        return {step.params["table"] for step in self.behind(names)[0] if step.op == "as_of"}

    def trimmed(self, length: int) -> Program:
        """Return the program with as-of tables that only answer `latest`: what serving needs."""
        return replace(self, tables={name: table.trimmed(length) for name, table in self.tables.items()})

    def columns(self) -> set[str]:
        """Return the event columns that `fold` reads."""
        return self.sources(set[str]().union(*(read_by(table) for table in self.tables.values())))

    def sources(self, names: Iterable[str]) -> set[str]:
        """Return the columns that values are made of, those of the tables that they read left out."""
        steps, found = self.behind(names)
        return found - {step.output for step in steps}

    def behind(self, names: Iterable[str]) -> tuple[list[Step], set[str]]:
        """Return the steps that values are made by, in order, and the names of all that takes part, these values included."""
        found, steps = set(names), list[Step]()
        for step in reversed(self.steps):
            if step.output in found:
                steps.insert(0, step)
                found |= set(step.inputs)
        return steps, found

    def to_json(self) -> dict[str, Any]:
        """Return everything but the arrays as plain JSON values."""
        steps = [{"op": s.op, "inputs": list(s.inputs), "output": s.output, "params": dict(s.params)} for s in self.steps]
        tables = {name: table.to_json() for name, table in self.tables.items()}
        lists = {"inputs": list(self.inputs), "outputs": list(self.outputs), "arrays": sorted(self.arrays)}
        return {**lists, "steps": steps, "tables": tables, "folded": list(self.tables)}  # later tables are folded from earlier ones

    def stored(self) -> dict[str, np.ndarray]:
        """Return every array to store, those of the tables included."""
        found = {f"array.{name}": array for name, array in self.arrays.items()}
        for name, table in self.tables.items():
            found |= {f"table.{name}.{part}": array for part, array in table.arrays().items()}
        return found

    @classmethod
    def load(cls, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray], prefix: str = "") -> Program:
        """Read what `to_json` and `stored` returned.

        Raises:
            BundleError: A part is missing or damaged.
        """
        try:
            steps = tuple(Step(s["op"], tuple(s["inputs"]), s["output"], s["params"]) for s in meta["steps"])
            own = {name: np.asarray(arrays[f"{prefix}array.{name}"]) for name in meta["arrays"]}
            tables = {
                name: AsOfTable.load(meta["tables"][name], arrays, f"{prefix}table.{name}.") for name in meta.get("folded", meta["tables"])
            }
            return cls(tuple(meta["inputs"]), steps, tuple(meta["outputs"]), own, tables)
        except (KeyError, TypeError, ContractError) as error:
            raise BundleError(f"a feature program is damaged: {error}") from error


def load_programs(stored: Sequence[Mapping[str, Any]], arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[Program, str]]:
    """Read programs, each once: features of one op share theirs, and a request runs it once."""
    programs, found = dict[Any, Program](), dict[str, tuple[Program, str]]()
    for number, meta in enumerate(stored):
        prefix = f"program.{number}."
        text = json.dumps({name: value for name, value in meta.items() if name not in ("feature", "output")}, sort_keys=True)
        own = tuple((name.removeprefix(prefix), id(array)) for name, array in sorted(arrays.items()) if name.startswith(prefix))
        if (text, own) not in programs:
            programs[text, own] = Program.load(meta, arrays, prefix)
        found[meta["feature"]] = programs[text, own], meta["output"]
    return found


def read_by(table: AsOfTable) -> set[str]:
    """Return the columns that a table is folded from."""
    return {table.key, table.time, table.where, table.value, *(measure.column for measure in table.measures)} - {""}


def run_program(program: Program, columns: Mapping[str, ColumnData], context: ReadContext) -> dict[str, np.ndarray | Ragged]:
    """Compute a program's outputs.

    What is made of columns of one row alone is worked out for one row.

    Args:
        columns: Column name to data, `context.rows` rows each, or one row that stands for all where no histories are given; missing
            columns read as missing values, others are ignored.
        context: How many rows, and whether as-of tables are read before each row's clock or at the end.

    Returns:
        Output name to int64 [n], int64 [n, width] or float32 [n, width]; finite for any input. The columns are left as they were.
    """
    values = {name: columns[name] for name in program.inputs if name in columns}
    context = replace(context, lengths=_reached(program.steps, context.lengths)) if context.lengths else context
    single = {name: value for name, value in values.items() if len(value) == 1 < context.rows and context.histories is None}
    many = values.keys() - single.keys() if context.histories is None else set(program.inputs)
    one = Frame(program.arrays, program.tables, replace(context, rows=1, places=None), single, program._cache)
    frame = replace(one, context=context, values={name: values[name] for name in values if name not in single}, found={})
    with np.errstate(all="ignore"):  # overflow of hostile numbers is cut at the end
        for step in program.steps:
            if many.isdisjoint(step.inputs):
                _run(one, step)
                continue
            frame.values |= {n: _spread(single[n], context.rows) for n in step.inputs if n in single and n not in frame.values}
            _run(frame, step)
            many.add(step.output)
    done = {name: _finished(frame.values[name] if name in many else single[name]) for name in program.outputs}
    return {name: value if name in many else _spread(value, context.rows) for name, value in done.items()}


def _spread(value: Any, rows: int) -> Any:
    """Return a value of one row as `rows` rows."""
    return value.repeat(rows, axis=0) if isinstance(value, np.ndarray) else take_column(value, np.zeros(rows, int))


def _reached(steps: Iterable[Step], lengths: Mapping[str, int]) -> dict[str, int]:
    """Return the lengths with those of the steps that the outputs are made of, so that the histories among them are as short."""
    found = dict(lengths)
    for step in reversed(tuple(steps)):
        if step.output in found:
            found |= {name: max(found.get(name, 0), found[step.output]) for name in step.inputs}
    return found


def _run(frame: Frame, step: Step) -> None:
    frame.output = step.output
    frame.values[step.output] = STEPS[step.op](frame, step.inputs, step.params)


def _finished(value: Any) -> np.ndarray | Ragged:
    if isinstance(value, Ragged):
        return value
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return array.astype(np.int64)
    safe: np.ndarray = np.minimum(np.maximum(array, -1e30), 1e30).astype(np.float32)
    safe[np.isnan(safe)] = 0.0
    return safe.reshape(len(safe), 1) if safe.ndim == 1 else safe
