"""`autorec bundle`: verify a bundle, show what it says about itself, pack it into one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from autorec_kernel.cli.output import emit, emit_json, emit_table, note
from autorec_kernel.cli.trust import Digest, Keys, required

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Verify, inspect or pack a bundle.")
Path_ = Annotated[Path, typer.Argument(help="Bundle: a folder or a stored zip.", metavar="BUNDLE")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def verify(
    context: typer.Context,
    bundle: Path_,
    require_digest: Digest = None,
    trust_key: Keys = None,
    as_json: Json = False,
) -> None:
    """Prove that a bundle is whole and answers as on the day it was written; exit code 5 if not."""
    from autorec_kernel.serving import Recommender

    found = Recommender.load(bundle, require_digest=required(context, bundle, require_digest, trust_key)).bundle
    facts = {"bundle": str(bundle), "ok": True, "content_digest": found.digest, "members": len(found.members), "bytes": found.size}
    if as_json:
        emit_json(facts)
        return
    emit(f"ok  {found.digest}")
    note(f"{len(found.members)} members, {found.size:,} bytes; golden rows recomputed")


@app.command()
def inspect(context: typer.Context, bundle: Path_, require_digest: Digest = None, trust_key: Keys = None, as_json: Json = False) -> None:
    """Print the manifest of a bundle whose members are whole; no model is run."""
    from autorec_kernel.serving import open_bundle

    found = open_bundle(bundle, require_digest=required(context, bundle, require_digest, trust_key))
    if as_json:
        emit_json(found.manifest)
        return
    for field in ("task", "role", "protocol", "seed", "architecture", "content_digest"):
        emit(f"{field + ':':<16}{found.manifest.get(field, '')}")
    for field in ("data", "plugins", "versions"):
        emit(f"{field + ':':<16}{_pairs(found.manifest.get(field, {}))}")
    for split, values in found.manifest.get("metrics", {}).items():
        emit(f"{split + ':':<16}{_pairs(values)}")
    for step in found.manifest.get("steps", []):
        emit(f"{'step:':<16}{step.get('component')} {_pairs(step.get('config', {}))}")
    members = found.manifest["members"]
    emit_table(
        ("MEMBER", "BYTES", "SHA256"), [(name, f"{members[name]['size']:,}", members[name]["sha256"][:16]) for name in sorted(members)]
    )


@app.command()
def pack(
    context: typer.Context,
    bundle: Path_,
    out: Annotated[Path, typer.Option(help="The zip to write.", metavar="FILE")],
    require_digest: Digest = None,
    trust_key: Keys = None,
) -> None:
    """Write a bundle folder as one stored zip; the same members give the same bytes."""
    from autorec_kernel.deploy.bundle import pack as pack_bundle

    packed = pack_bundle(bundle, out, require_digest=required(context, bundle, require_digest, trust_key))
    note(f"{packed.stat().st_size:,} bytes written to {out}")


def _pairs(values: Any) -> str:
    return ", ".join(f"{name}={value:.4f}" if isinstance(value, float) else f"{name}={value}" for name, value in dict(values).items())
