"""`autorec recommend`, `predict` and `evaluate`: answers of a bundle, as text, JSON or a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autorec_kernel.cli.host import kernel_of
from autorec_kernel.cli.output import emit_json, emit_table, note
from autorec_kernel.cli.trust import Digest, Keys, required
from autorec_kernel.errors import UsageError

if TYPE_CHECKING:
    from autorec_kernel.serving import Answer, Recommender

__all__ = ["evaluate", "predict", "recommend"]

Bundle = Annotated[Path, typer.Argument(help="Bundle: a folder or a stored zip.", metavar="BUNDLE")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Threads = Annotated[int, typer.Option(help="Threads of one request.", min=1, max=256)]

_SHOWN = 20  # rows of a prediction table printed without --out


def recommend(
    context: typer.Context,
    bundle: Bundle,
    user: Annotated[list[str] | None, typer.Option(help="A user id (repeatable).", metavar="ID")] = None,
    history: Annotated[str | None, typer.Option(help="Item ids, oldest first, separated by commas.", metavar="A,B,C")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Every user of the training data; needs --out.")] = False,
    k: Annotated[int, typer.Option("-k", help="Items a list.", min=1)] = 10,
    include_seen: Annotated[bool, typer.Option("--include-seen", help="List items again that the user has seen.")] = False,
    exclude: Annotated[str, typer.Option(help="Item ids that nobody is recommended, separated by commas.", metavar="A,B,C")] = "",
    out: Annotated[Path | None, typer.Option(help="Write a .csv or .parquet file instead of printing.", metavar="FILE")] = None,
    threads: Threads = 1,
    require_digest: Digest = None,
    trust_key: Keys = None,
    as_json: Json = False,
) -> None:
    """Recommend items to a user, to a bare history, or to everyone."""
    from autorec_kernel.serving import Recommender

    _one_of(user, history, everyone)
    if everyone and out is None:
        raise UsageError("--all writes a file", hint="--all --out recs.parquet")
    _check_out(out)
    recommender = Recommender.load(bundle, threads=threads, require_digest=required(context, bundle, require_digest, trust_key))
    answers = _answers(recommender, user, history, k, include_seen, _split(exclude))
    if out is None:
        _show(list(answers), as_json)
        return
    from autorec_kernel.deploy.tables import write_table

    count = write_table(out, ("user", "rank", "item", "score", "answered_by", "known"), _flat(answers))
    emit_json({"out": str(out), "rows": count}) if as_json else note(f"{count:,} rows written to {out}")


def predict(
    context: typer.Context,
    bundle: Bundle,
    pairs: Annotated[str, typer.Argument(help="Table with the bundle's user and item columns: CSV, TSV or Parquet.", metavar="PAIRS")],
    out: Annotated[Path | None, typer.Option(help="Write a .csv or .parquet file instead of printing.", metavar="FILE")] = None,
    threads: Threads = 1,
    require_digest: Digest = None,
    trust_key: Keys = None,
    as_json: Json = False,
) -> None:
    """Predict the label of every row of a table, in its own scale; unknown users and items are predicted too, and marked."""
    from autorec_kernel.deploy.rows import read_rows
    from autorec_kernel.serving import Recommender

    _check_out(out)
    recommender = Recommender.load(bundle, threads=threads, require_digest=required(context, bundle, require_digest, trust_key))
    rows = read_rows(pairs, recommender, kernel=kernel_of(context))
    found = recommender.predict(rows.users, rows.items, rows.columns)
    further = list(found.tasks)[1:]
    names = ("user", "item", "prediction", *(f"prediction:{name}" for name in further), "known_user", "known_item")
    blank: Sequence[str | None] = [None] * rows.count
    values = (found.values.tolist(), *(found.tasks[name].tolist() for name in further))
    columns = (rows.users or blank, rows.items or blank, *values, found.known_users.tolist(), found.known_items.tolist())
    lines = list(zip(*columns, strict=True))
    if out is not None:
        from autorec_kernel.deploy.tables import write_table

        count = write_table(out, names, lines)
        emit_json({"out": str(out), "rows": count}) if as_json else note(f"{count:,} rows written to {out}")
    elif as_json:
        emit_json([dict(zip(names, line, strict=True)) for line in lines])
    else:
        emit_table(names, [tuple(_text(value) for value in line) for line in lines[:_SHOWN]])
        if len(lines) > _SHOWN:
            note(f"{len(lines) - _SHOWN:,} more rows; write them with --out FILE")


def evaluate(
    context: typer.Context,
    bundle: Bundle,
    data: Annotated[str, typer.Argument(help="Table of new rows with the columns of the training data.", metavar="DATA")],
    metric: Annotated[list[str] | None, typer.Option(help="A metric, for example ndcg@20 (repeatable).", metavar="NAME")] = None,
    threads: Threads = 1,
    require_digest: Digest = None,
    trust_key: Keys = None,
    as_json: Json = False,
) -> None:
    """Measure a bundle on new rows: the whole catalogue is ranked for every user, or every row is predicted."""
    from autorec_kernel.deploy.rows import evaluate_bundle, read_rows
    from autorec_kernel.serving import Recommender

    recommender = Recommender.load(bundle, threads=threads, require_digest=required(context, bundle, require_digest, trust_key))
    rows = read_rows(data, recommender, kernel=kernel_of(context), labelled=True)
    found = evaluate_bundle(recommender, rows, tuple(metric or ()))
    found = {"task": recommender.task, "bundle": recommender.bundle.digest, **found}
    if as_json:
        emit_json(found)
        return
    emit_table(("METRIC", "VALUE"), [(name, _text(value)) for name, value in found["metrics"].items()])
    note(", ".join(f"{name.replace('_', ' ')}: {value:,}" for name, value in found["counts"].items()))


def _one_of(user: list[str] | None, history: str | None, everyone: bool) -> None:
    given = [name for name, there in (("--user", user), ("--history", history is not None), ("--all", everyone)) if there]
    if not given:
        raise UsageError("say whom to recommend to", hint="--user ID, --history a,b,c or --all --out recs.parquet")
    if ("--all" in given and len(given) > 1) or (len(given) == 2 and len(user or ()) > 1):
        raise UsageError(f"{' and '.join(given)} cannot be combined", hint="--history stands for the history of one --user")


def _answers(
    recommender: Recommender, user: list[str] | None, history: str | None, k: int, include_seen: bool, exclude: list[str]
) -> Iterable[Answer]:
    from autorec_kernel.serving.requests import read_requests, stored_request

    if user is None and history is None:
        state = recommender.state
        names = state.users.ids_of(range(1, state.users.size))
        requests = [stored_request(state, row, name) for row, name in enumerate(names, start=1)]
    else:
        histories = [_split(history)] if history is not None else None
        requests = read_requests(recommender.state, list(user) if user else None, histories)
    recommender.need_catalogue()
    return recommender.stream(requests, k, exclude_seen=not include_seen, exclude=exclude)


def _show(answers: list[Answer], as_json: bool) -> None:
    if as_json:
        emit_json([answer.to_json() for answer in answers])
        return
    rows = [(row[0], str(row[1]), row[2], _text(row[3])) for row in _flat(answers)]
    emit_table(("USER", "RANK", "ITEM", "SCORE"), rows)
    for answer in answers:
        unknown = "" if answer.known or answer.user is None else ", unknown user"
        lost = f", {answer.unknown_items} unknown items in the history" if answer.unknown_items else ""
        note(f"{answer.user or 'history'}: answered by {answer.answered_by}{unknown}{lost}")


def _flat(answers: Iterable[Answer]) -> Iterator[tuple[Any, ...]]:
    for answer in answers:
        for rank, (item, score) in enumerate(zip(answer.items, answer.scores, strict=True), start=1):
            yield answer.user or "", rank, item, score, answer.answered_by, answer.known


def _split(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _check_out(out: Path | None) -> None:
    if out is not None:
        from autorec_kernel.deploy.tables import check_target

        check_target(out)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
