"""A detached signature: one line in `BUNDLE.sig` that says which key signed the bytes of the manifest, and so every member it lists."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature

from autorec_kernel.errors import BundleError
from autorec_kernel.files import atomic_write
from autorec_kernel.records.bundle import MANIFEST, Bundle
from autorec_kernel.serving import verify_bundle
from autorec_kernel.serving.archive import read_manifest
from autorec_sign.keys import key_id, read_private, read_public

__all__ = ["sign_bundle", "signature_path", "signed"]

_LINE = re.compile(rb"autorec-ed25519-1 ([0-9a-f]{16}) ([A-Za-z0-9+/]{86}==)\n")
_HINT = "whoever wrote the bundle signs it: autorec sign BUNDLE --key KEY.pem"


def signature_path(bundle: Path) -> Path:
    """Return where the signature of a bundle lies: beside the folder or zip, links followed, as `NAME.sig`."""
    real = bundle.resolve()
    return real.with_name(f"{real.name}.sig")


def sign_bundle(bundle: Path, key: Path) -> tuple[Bundle, str, Path]:
    """Verify a bundle, and write the signature of the manifest that was verified; an older signature is replaced.

    Returns:
        The bundle, the id of the key, the file of the signature.

    Raises:
        UsageError: The key cannot be used.
        BundleError: The bundle is refused, and so not signed.
        InfrastructureError: The signature cannot be written.
    """
    private = read_private(key)
    found = verify_bundle(bundle)
    signer = key_id(private.public_key())
    line = f"autorec-ed25519-1 {signer} {base64.b64encode(private.sign(found.members[MANIFEST])).decode()}\n"
    return found, signer, atomic_write(signature_path(bundle), line.encode())


def signed(bundle: Path, keys: Sequence[Path]) -> str:
    """Return the sha256 of the manifest's bytes, which one of these public keys signed; nothing of the bundle is parsed.

    Raises:
        UsageError: A key cannot be read.
        BundleError: There is no signature, or it is none of these keys' for this manifest.
    """
    trusted = {key_id(key): key for key in map(read_public, keys)}
    path = signature_path(bundle)
    signer, signature = _read(path)
    if signer not in trusted:
        raise BundleError(f"signed with the key {signer}, trusted are {', '.join(sorted(trusted))}", where=str(path), hint=_HINT)
    manifest = read_manifest(bundle)
    try:
        trusted[signer].verify(signature, manifest)
    except InvalidSignature:
        raise BundleError(f"this is no signature of the bundle by the key {signer}: one of the two was changed", where=str(path)) from None
    return hashlib.sha256(manifest).hexdigest()


def _read(path: Path) -> tuple[str, bytes]:
    if not path.is_file():
        raise BundleError("the bundle is not signed: there is no such file", where=str(path), hint=_HINT)
    try:
        with path.open("rb") as file:
            found = _LINE.fullmatch(file.read(1024))
    except OSError as error:
        raise BundleError(f"the signature cannot be read: {error.strerror}", where=str(path)) from None
    if found is None:
        raise BundleError("this is no signature that `autorec sign` writes", where=str(path), hint=_HINT)
    return found[1].decode(), base64.b64decode(found[2])
