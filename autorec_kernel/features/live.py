"""From a feature set to `Live`: what its serving state needs beside it, so that later events can be folded in without this room."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from autorec_kernel.errors import ContractError
from autorec_kernel.features.compute import Fitted, Sides
from autorec_kernel.features.entities import ITEM, ITEM_KEY, POSITIVE, USER, USER_KEY
from autorec_kernel.features.feature_set import FeatureSet, Upto
from autorec_kernel.features.parts import joined
from autorec_kernel.features.specialise import specialised
from autorec_kernel.records.dataset import CLOCK, ORDER
from autorec_kernel.records.live import Live, LiveFacts
from autorec_kernel.records.program import Program, read_by
from autorec_kernel.records.recent import cut

__all__ = ["live_of"]


def live_of(features: FeatureSet, upto: Upto = "train", *, names: Iterable[str] | None = None, stored: Iterable[str] = ()) -> Live:
    """Return what `features.state(upto)` needs to take in later events.

    Args:
        names: Features that are folded, those that a model reads; None = all. The others are gone from a state once it is folded.
        stored: Features that the model has read of users or items for tables of its own.

    Raises:
        ContractError: No clock orders the events of different users.
    """
    protocol = features.protocol
    if protocol.clock != "time":
        raise ContractError(
            f"later events cannot be folded: the clock of this data is {protocol.clock!r}, and no time orders the events of all users",
            hint="a time column that is known for 99 % of the rows makes a clock",
        )
    events = joined(features._before("valid" if upto == "train" else "test"))
    clock, offered = np.asarray(events[CLOCK]), [feature.name for feature in features.schema.features]
    wanted = set(offered if names is None else names).intersection(offered)
    ops = [op for op in features._at(upto) if op.program.tables]
    label, position = features.columns.role("label"), features.columns.role("position")
    facts = LiveFacts(
        features.task,
        label=label.name if label else "",
        position=position.name if position else "",
        threshold=protocol.positive_threshold,
        until=int(clock.max(initial=0)),
        order=int(np.asarray(events[ORDER]).max(initial=-1)),
        once=protocol.deduplicate == "last",
        half_life=features.fading.half_life,
        left=tuple(f.name for op in ops for f in op.features if f.name not in wanted),
        stored=tuple(f.name for f in features.schema.features if f.dynamic and f.name in set(stored)),
    )
    fades = features.fading.half_life > 0
    known = (np.asarray(events[USER]) > 0) & (np.asarray(events[ITEM]) > 0) & (np.asarray(events[POSITIVE]) != 0) & fades
    users = max(np.asarray(events[USER_KEY]).max(initial=0) - features.entities.users.size + 1, features.sides.more_users.size - 1, 0)
    items = max(np.asarray(events[ITEM_KEY]).max(initial=0) - features.entities.items.size + 1, features.sides.more_items.size - 1, 0)
    return Live(
        facts,
        _programs(ops, features.sides, wanted),
        features.entities.more_users.first(int(users)),
        features.entities.more_items.first(int(items)),
        np.asarray(events[ITEM])[known].astype(np.int32),
        clock[known],
    )


def _programs(ops: Iterable[Fitted], sides: Sides, wanted: set[str]) -> tuple[tuple[tuple[str, ...], Program], ...]:
    named = [(tuple(f.name if f.name in wanted else "" for f in op.features), op.program) for op in ops]
    return tuple((names, _foldable(program, sides)) for names, program in named if any(names))


def _foldable(program: Program, sides: Sides) -> Program:
    """Return the program without side tables, what its tables are folded from included, and with the events that it can still read."""
    made = {*program.inputs, *(step.output for step in program.steps)}
    read = sorted((made & set[str]().union(*map(read_by, program.tables.values()))) - set(program.outputs))
    alone = specialised(replace(program, outputs=(*program.outputs, *read)), sides)
    return cut(replace(alone, outputs=program.outputs))
