"""Declares `autorec sign`, `autorec keys` and the check of signatures; cryptography is imported when one is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_cli_commands", "autorec_signatures"]

_NEEDS, _EXTRA = ("cryptography",), "sign"


@hookimpl
def autorec_cli_commands() -> tuple[ComponentSpec, ...]:
    """Return the subcommands of this package."""
    return (
        ComponentSpec("sign", "autorec_sign.command:sign", "Sign a bundle, for those who trust your key.", _NEEDS, _EXTRA),
        ComponentSpec("keys", "autorec_sign.command:keys", "Make or name the keys that sign bundles.", _NEEDS, _EXTRA),
    )


@hookimpl
def autorec_signatures() -> tuple[ComponentSpec, ...]:
    """Return the signatures of this package."""
    return (ComponentSpec("ed25519", "autorec_sign.signature:signed", "Ed25519, in a file beside the bundle.", _NEEDS, _EXTRA),)
