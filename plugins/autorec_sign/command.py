"""`autorec sign` and `autorec keys`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from autorec_kernel.cli.output import emit, emit_json, note
from autorec_kernel.errors import UsageError

__all__ = ["keys", "sign"]

keys = typer.Typer(no_args_is_help=True, help="Make or name the keys that sign bundles.")
_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def sign(
    bundle: Annotated[Path, typer.Argument(help="Bundle: a folder or a stored zip.", metavar="BUNDLE")],
    key: Annotated[Path, typer.Option(help="File of the private key.", metavar="FILE")],
    as_json: _JSON = False,
) -> None:
    """Verify a bundle and sign its manifest; the signature lies beside the bundle, as BUNDLE.sig.

    Try: autorec keys new release.pem; autorec sign run/bundle --key release.pem
    """
    from autorec_sign.signature import sign_bundle

    if key.is_file() and os.name == "posix" and key.stat().st_mode & 0o077:
        note(f"warning: others may read {key}: chmod 600 {key}")
    found, signer, path = sign_bundle(bundle, key)
    if as_json:
        emit_json({"bundle": str(bundle), "content_digest": found.digest, "key": signer, "signature": str(path)})
        return
    emit(str(path))
    note(f"bundle {found.digest} signed with the key {signer}; hand the .sig on with the bundle")


@keys.command("new")
def new(
    key: Annotated[Path, typer.Argument(help="File of the private key that is made, e.g. release.pem.", metavar="KEY.pem")],
    as_json: _JSON = False,
) -> None:
    """Make a pair of keys: KEY.pem, for you alone, and KEY.pub.pem, for those who shall trust you. Nothing is overwritten."""
    from autorec_sign.keys import key_id, new_keys, read_public

    public = new_keys(key)
    signer = key_id(read_public(public))
    if as_json:
        emit_json({"private": str(key), "public": str(public), "key": signer})
        return
    emit(str(public))
    note(f"key {signer}: keep {key} secret, it has no passphrase; hand out {public} by a way of its own, not with the bundle")


@keys.command("show")
def show(key: Annotated[Path, typer.Argument(help="File of a private or public key.", metavar="KEY.pem")], as_json: _JSON = False) -> None:
    """Print the id of a key, as signatures and errors name it."""
    from autorec_sign.keys import key_id, read_private, read_public

    kind = "public"
    try:
        found = read_public(key)
    except UsageError:
        kind, found = "private", read_private(key).public_key()
    emit_json({"key": key_id(found), "kind": kind}) if as_json else emit(f"{key_id(found)}  {kind}")
