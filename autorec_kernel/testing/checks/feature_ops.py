"""Laws of feature ops: they propose, fit on what they are handed, and become programs that are data (numpy)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any, get_args

import numpy as np

from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.errors import AutoRecError
from autorec_kernel.features.compute import Fitted, compute, event_columns
from autorec_kernel.records.features import Depends, FeatureKind
from autorec_kernel.records.program import Program, ReadContext
from autorec_kernel.records.schema import Schema
from autorec_kernel.records.table import Coded, Ragged
from autorec_kernel.testing.feature_cases import World, example_dataset, fitted_on, profiles, read, settings_for, world
from autorec_kernel.testing.fresh import in_fresh_process
from autorec_kernel.testing.snapshots import digest, first_difference, leaves
from autorec_kernel.testing.surroundings import another_world, globals_kept
from autorec_kernel.testing.violation import demand, violated

__all__ = [
    "check_features_are_as_declared",
    "check_fit_is_deterministic",
    "check_fit_leaves_inputs_alone",
    "check_fits_share_nothing",
    "check_many_rows_equal_one_by_one",
    "check_program_is_data",
    "check_program_repeats_in_another_process",
    "check_proposals_are_sound",
    "check_unknown_reads_as_row_zero",
    "fits",
    "recorded_programs",
]

Fits = Iterator[tuple[World, Any, Fitted]]


def fits(component: Any, config: Any, limit: int | None = None, token: str = "", seed: int = 0) -> Fits:
    """Yield (world, fitted op, its features and program) for the settings the config is meant for, unless the column is turned down."""
    for clock, task in settings_for(component, config)[:limit]:
        place = world(example_dataset(clock, task, token), task)
        try:
            op, fitted = fitted_on(component, config, place, seed)
        except RejectColumn:
            continue
        except Exception as error:
            violated(
                f"fit on data with clock {clock!r}, task {task!r} raised {type(error).__name__}: {error}; of no use here = RejectColumn"
            )
        yield place, op, fitted


def check_proposals_are_sound(component: Any, config: Any, kernel: Any = None) -> None:
    """Proposals are `FeatureProposal`s of the op's own Config with a finite cost and a reason, the same when asked again."""
    for profile in (*profiles(), DataProfile(Schema(), 0, 0, 0, "none", "rate")):
        before = digest(profile)
        with globals_kept("propose"):
            found = list(component.propose(profile))
        for proposal in found:
            demand(isinstance(proposal, FeatureProposal), f"propose yields a {type(proposal).__name__}, expected a FeatureProposal")
            demand(
                isinstance(proposal.config, component.Config),
                f"a proposal holds a {type(proposal.config).__name__}, expected the op's Config",
            )
            good = isinstance(proposal.seconds, (int, float)) and math.isfinite(proposal.seconds) and proposal.seconds >= 0
            demand(good, f"a proposal costs {proposal.seconds!r} seconds, expected a finite number >= 0")
            demand(isinstance(proposal.reason, str) and proposal.reason.strip(), "a proposal has no reason")
        with another_world(3):
            again = list(component.propose(profile))
        demand([digest(p) for p in again] == [digest(p) for p in found], "propose answers differently when asked again")
        demand(digest(profile) == before, "propose changed the profile")


def check_fit_leaves_inputs_alone(component: Any, config: Any, kernel: Any = None) -> None:
    """Neither fitting, nor reading the program, nor training values change the events or the side tables."""
    for clock, task in settings_for(component, config):
        place = world(example_dataset(clock, task), task)
        before = list(leaves([place.events, place.tables]))
        try:
            op, fitted = fitted_on(component, config, place)
            op.training_values(place.events)
            read(fitted, place)
            read(fitted, place, latest=True)
        except RejectColumn:
            pass
        changed = first_difference(before, list(leaves([place.events, place.tables])))
        demand(changed is None, f"fit changed its input: {changed} (clock {clock!r}, task {task!r})")


def check_fit_is_deterministic(component: Any, config: Any, kernel: Any = None) -> None:
    """Equal events and equal generators give equal programs and training values, under other global seeds and clocks."""
    with globals_kept("fit"):
        first = [_told(*found) for found in fits(component, config)]
    with another_world(7):
        second = [_told(*found) for found in fits(component, config)]
    demand(len(first) == len(second), "fit turns a column down once and takes it the next time")
    for one, two in zip(first, second, strict=True):
        demand(first_difference(one, two) is None, f"two fits with equal generators differ: {first_difference(one, two)}")


def check_program_repeats_in_another_process(component: Any, config: Any, kernel: Any = None) -> None:
    """A fresh process with another hash seed fits the same program: no order of sets, no salted hashes, no addresses."""
    expected = recorded_programs(component, config)
    found = in_fresh_process("autorec_kernel.testing.checks.feature_ops:recorded_programs", component, config, 2)
    demand(found == expected, "a process with another hash seed fits another program: order of sets, or salted hashes")


def recorded_programs(component: Any, config: Any) -> list[str]:
    """Return the digests of the programs under every setting."""
    return [digest(_told(*found)) for found in fits(component, config)]


def check_fits_share_nothing(component: Any, config: Any, kernel: Any = None) -> None:
    """A fit knows nothing of earlier fits on other data, and fitting again leaves a fitted op as it was."""
    first = [(found, _told(*found)) for found in fits(component, config, 1)]
    other = f"-{len(_SEEN)}-"
    _SEEN.append(other)  # texts that no fit has met yet, in this process
    for _ in fits(component, config, 1, token=other):
        pass
    again = [_told(*found) for found in fits(component, config, 1)]
    for (found, told), new in zip(first, again, strict=True):
        demand(first_difference(told, new) is None, "a fit depends on what was fitted before it: state outside the fitted op")
        demand(first_difference(told, _told(*found)) is None, "a later fit changed an op that was fitted before")
        text = repr([array.tolist() for array in found[2].program.stored().values() if array.dtype.kind in "USO"])
        data = b"".join(array.tobytes() for array in found[2].program.stored().values() if array.dtype == np.uint8)
        demand(not any(token in text or token.encode() in data for token in _SEEN), "a program holds texts of data it was not fitted on")


def check_features_are_as_declared(component: Any, config: Any, kernel: Any = None) -> None:
    """One program output a feature, with the declared kind, dtype, width and range, finite, for no rows, one row and all rows."""
    for place, op, fitted in fits(component, config):
        _demand_declared(fitted)
        for rows in (np.arange(place.events.rows), np.arange(1), np.arange(0)):
            events = place.events.take(rows)
            for latest in (False, True):
                try:
                    found = compute(
                        fitted, event_columns(fitted.program.inputs, events, place.sides), ReadContext(events.rows, latest=latest)
                    )
                except AutoRecError as error:
                    violated(f"reading {events.rows} rows: {error}")
                for feature in fitted.features:
                    _demand_plain(feature, found[feature.name])
        _demand_training_values(op, fitted, place)


def check_unknown_reads_as_row_zero(component: Any, config: Any, kernel: Any = None) -> None:
    """Missing columns read as row 0 and finite numbers; a text that training never saw reads as row 0 of its vocabulary."""
    for place, _, fitted in fits(component, config):
        context = ReadContext(5)
        nothing = compute(fitted, {}, context)
        strange = {name: _strangers(column, 5) for name, column in event_columns(fitted.program.inputs, place.events, place.sides).items()}
        unseen = compute(fitted, strange, context)
        for feature in fitted.features:
            _demand_plain(feature, nothing[feature.name])
            _demand_plain(feature, unseen[feature.name])
            if feature.kind == "numeric":
                continue
            demand(
                not nothing[feature.name].any(),
                f"feature {feature.name!r}: missing columns read as {nothing[feature.name].max()}, expected row 0",
            )
            if _looks_up(fitted, feature.name):
                demand(
                    not unseen[feature.name].any(),
                    f"feature {feature.name!r}: an unseen category reads as {unseen[feature.name].max()}, expected row 0",
                )


def check_many_rows_equal_one_by_one(component: Any, config: Any, kernel: Any = None) -> None:
    """Reading many rows equals reading them one by one, in any order, and `latest` equals reading after the last event."""
    for place, _, fitted in fits(component, config):
        together = read(fitted, place)
        some = np.linspace(0, place.events.rows - 1, 25).astype(np.int64)
        for name, values in together.items():
            alone = [read(fitted, place, some[i : i + 1])[name][0] for i in range(0, len(some), 4)]
            demand(_same(np.stack(alone), values[some[::4]]), f"feature {name!r} read row by row differs from reading many rows")
            demand(_same(read(fitted, place, some[::-1])[name], values[some[::-1]]), f"feature {name!r} depends on the order of rows")
        end = {name: np.full(place.events.rows, 2**62, np.int64) for name in ("@clock", "@order")}
        later = compute(fitted, {**event_columns(fitted.program.inputs, place.events, place.sides), **end}, ReadContext(place.events.rows))
        for name, values in read(fitted, place, latest=True).items():
            demand(_same(later[name], values), f"feature {name!r}: latest() differs from reading now")


def check_program_is_data(component: Any, config: Any, kernel: Any = None) -> None:
    """The program is JSON and plain arrays: stored and read again without pickle it gives the same bytes."""
    for place, _, fitted in fits(component, config):
        program = fitted.program
        demand(isinstance(program, Program), f"program() returned a {type(program).__name__}, expected a Program")
        try:
            text = json.dumps(program.to_json(), allow_nan=False)
        except (TypeError, ValueError) as error:
            violated(f"the program is not JSON: {error}")
        stored = {name: _through_file(name, array) for name, array in program.stored().items()}
        back = Fitted(fitted.features, Program.load(json.loads(text), stored))
        before, after = read(fitted, place), read(back, place)
        changed = first_difference(list(leaves(before)), list(leaves(after)))
        demand(changed is None, f"the stored program gives other bytes for feature {changed}")


_SEEN: list[str] = []


def _told(place: World, op: Any, fitted: Fitted) -> list[tuple[str, str]]:
    """Return everything that a fitted op comes to, as comparable leaves."""
    program = op.program()
    training = op.training_values(place.events)
    return list(leaves([op.outputs, program.to_json(), program.stored(), dict(training) if training is not None else None]))


def _demand_declared(fitted: Fitted) -> None:
    names = [feature.name for feature in fitted.features]
    demand(names, "the fitted op has no outputs: a column of no use raises RejectColumn")
    demand(len(set(names)) == len(names), f"feature names occur twice: {names}")
    demand(len(fitted.program.outputs) == len(names), f"{len(names)} features, but its program has {len(fitted.program.outputs)} outputs")
    for feature in fitted.features:
        demand(feature.kind in get_args(FeatureKind), f"feature {feature.name!r} has the unknown kind {feature.kind!r}")
        demand(feature.depends in get_args(Depends), f"feature {feature.name!r} depends on {feature.depends!r}")
        if feature.kind != "numeric":
            demand(feature.vocabulary and feature.size >= 1, f"feature {feature.name!r} names no vocabulary or no size")
        demand(feature.family, f"feature {feature.name!r} belongs to no family: a feature gene cannot switch it")


def _demand_plain(feature: Any, values: np.ndarray) -> None:
    wanted = np.float32 if feature.kind == "numeric" else np.int64
    demand(values.dtype == wanted, f"feature {feature.name!r} is {values.dtype}, expected {np.dtype(wanted)}")
    demand(np.isfinite(values).all(), f"feature {feature.name!r} is not finite")
    if feature.kind in ("bag", "history") and values.size:
        holes = (values[:, 1:] != 0) & (values[:, :-1] == 0)
        demand(not holes.any(), f"feature {feature.name!r} is not padded on the right")


def _demand_training_values(op: Any, fitted: Fitted, place: World) -> None:
    training = op.training_values(place.events)
    if training is None:
        return
    demand(isinstance(training, Mapping), f"training_values returned a {type(training).__name__}, expected a mapping or None")
    features = {feature.name: feature for feature in fitted.features}
    demand(set(training) <= set(features), f"training_values names unknown features {sorted(set(training) - set(features))}")
    for name, values in training.items():
        served = read(fitted, place)[name]
        demand(
            np.shape(values)[0] == place.events.rows, f"training values of {name!r} have {np.shape(values)[0]} rows for {place.events.rows}"
        )
        squeezed = np.reshape(np.asarray(values), (place.events.rows, -1)).shape == np.reshape(served, (place.events.rows, -1)).shape
        demand(
            squeezed and np.isfinite(np.asarray(values)).all(), f"training values of {name!r} have another shape than served ones, or NaN"
        )


def _strangers(column: Any, rows: int) -> Any:
    unseen = Coded(np.zeros(rows, np.int32), np.array(["never seen in training", None], dtype=object)[:1])
    if isinstance(column, Coded):
        return unseen
    if isinstance(column, Ragged):
        values = unseen if isinstance(column.values, Coded) else np.zeros(rows, np.float32)
        return Ragged(values, np.arange(rows + 1, dtype=np.int64))
    if column.dtype.kind == "i":
        return np.zeros(rows, column.dtype)
    return np.full((rows, *column.shape[1:]), np.nan, column.dtype)


def _looks_up(fitted: Fitted, name: str) -> bool:
    """Return whether a feature comes out of a vocabulary (not of a hash, a calendar or bins), following the steps backwards."""
    steps = {step.output: step for step in fitted.program.steps}
    waiting, found = [fitted.output(name)], set()
    while waiting:
        step = steps.get(waiting.pop())
        if step is not None:
            found.add(step.op)
            waiting += step.inputs
    return bool(found & {"lookup", "bag", "as_of"}) and not found & {"hash", "calendar", "bucketize"}


def _same(left: np.ndarray, right: np.ndarray) -> bool:
    return left.dtype == right.dtype and np.array_equal(left, right)


def _through_file(name: str, array: Any) -> np.ndarray:
    good = isinstance(name, str) and isinstance(array, np.ndarray)
    demand(
        good and not array.dtype.hasobject,
        f"the program stores {name!r} as {getattr(array, 'dtype', type(array).__name__)}: only plain arrays",
    )
    file = BytesIO()
    np.save(file, array, allow_pickle=False)
    file.seek(0)
    loaded: np.ndarray = np.load(file, allow_pickle=False)
    return loaded
