"""`autorec drift`: whether new rows look like those that a bundle was made from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autorec_kernel.cli.host import kernel_of
from autorec_kernel.cli.output import emit_json, emit_table, note
from autorec_kernel.cli.trust import Digest, Keys, required
from autorec_kernel.errors import DataError

if TYPE_CHECKING:
    from autorec_kernel.serving.drift import DriftReport, FeatureDrift

__all__ = ["drift"]

_SHOWN = 20  # features of the printed table


def drift(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(help="Bundle: a folder or a stored zip.", metavar="BUNDLE")],
    data: Annotated[str, typer.Argument(help="Table of requests or events, with or without labels.", metavar="DATA")],
    limit: Annotated[
        float | None,
        typer.Option(help="Exit with code 3 if an index exceeds X, or a column is missing or of another type.", metavar="X", min=0),
    ] = None,
    require_digest: Digest = None,
    trust_key: Keys = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare a table with the rows that a bundle was made from: columns, unknown values, and how far every feature has moved."""
    from autorec_kernel.deploy.drift import drift_report
    from autorec_kernel.serving import Recommender

    recommender = Recommender.load(bundle, require_digest=required(context, bundle, require_digest, trust_key))
    found = drift_report(data, recommender, kernel=kernel_of(context))
    if as_json:
        emit_json(found.to_json())
    else:
        schema = recommender.state.schema
        _show(found, (schema.user, schema.item))
    if limit is not None:
        _hold(found, limit, data)


def _show(found: DriftReport, ids: tuple[str, str]) -> None:
    kind = "validation rows, which the state had not seen" if found.held_out else "training rows"
    note(f"{found.rows:,} rows against {found.rows_before:,} {kind}")
    for told, names in (("missing, and the model reads them", found.missing), ("unknown to the bundle, ignored", found.extra)):
        if names:
            note(f"columns {told}: {', '.join(names)}")
    for name, told in found.retyped.items():
        note(f"column {name} {told}: counted as missing")
    for one in found.features:
        if one.name in ids:
            note(f"{one.name}: {one.unseen:.1%} of the rows are unknown to the bundle (before: {one.unseen_before:.1%})")
    moved = [one for one in found.features if one.verdict != "stable"]
    rows = [(one.name, one.verdict, f"{one.psi:.3f}", *_shares(one)) for one in moved[:_SHOWN]]
    if rows:
        emit_table(("FEATURE", "VERDICT", "PSI", "UNSEEN", "BEFORE", "WHAT MOVED MOST"), rows)
    note(f"{len(found.features) - len(moved)} of {len(found.features)} features are stable, {len(moved)} are not; --json lists all of them")
    note("moved: PSI from 0.1 on; shifted: from 0.25 on (a rule of thumb); chance: so few users or rows differ so much anyway")


def _shares(one: FeatureDrift) -> tuple[str, str, str]:
    return f"{one.unseen:.1%}", f"{one.unseen_before:.1%}", f"{one.moved}: {one.before:.1%} -> {one.now:.1%}"


def _hold(found: DriftReport, limit: float, data: str) -> None:
    over = [one.name for one in found.features if one.psi > max(limit, one.chance)]
    broken = [*found.missing, *found.retyped]
    told = {f"features over {limit:g}": over, "columns missing or of another type": broken}
    if over or broken:
        raise DataError("; ".join(f"{what}: {', '.join(names)}" for what, names in told.items() if names), where=data)
