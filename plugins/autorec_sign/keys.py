"""Ed25519 keys as PEM files: made once and never overwritten, private ones for their owner alone."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from autorec_kernel.errors import InfrastructureError, UsageError

__all__ = ["key_id", "new_keys", "read_private", "read_public"]

_MAX_BYTES = 64_000  # of a key file


def new_keys(private: Path) -> Path:
    """Write a new private key, readable by its owner alone, and beside it the public one: `NAME.pem` and `NAME.pub.pem`.

    Returns:
        The file of the public key.

    Raises:
        UsageError: One of the two files is there already, or the folder is not.
        InfrastructureError: They cannot be written; then neither is there.
    """
    public = private.with_name(private.name.removesuffix(".pem") + ".pub.pem")
    for path in (private, public):
        if os.path.lexists(path):
            raise UsageError("there is a file already, and keys are never overwritten", where=str(path), hint="name a new file")
    if not private.parent.is_dir():
        raise UsageError("the folder of the key does not exist", where=str(private.parent), hint=f"mkdir -p {private.parent}")
    key = Ed25519PrivateKey.generate()
    _create(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    try:
        _create(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    except InfrastructureError:
        private.unlink()
        raise
    return public


def read_private(path: Path) -> Ed25519PrivateKey:
    """Read the key that signs.

    Raises:
        UsageError: The file cannot be read, or is no unencrypted Ed25519 private key in PEM.
    """
    data = _read(path)
    try:
        found = load_pem_private_key(data, None)
    except TypeError:
        raise UsageError(
            "the private key has a passphrase", where=str(path), hint=f"openssl pkey -in {path} -out plain.pem, in a safe place"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise _no_key("private", path) from None
    if not isinstance(found, Ed25519PrivateKey):
        raise _no_key("private", path)
    return found


def read_public(path: Path) -> Ed25519PublicKey:
    """Read a key that is trusted.

    Raises:
        UsageError: The file cannot be read, or is no Ed25519 public key in PEM.
    """
    data = _read(path)
    try:
        found = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise _no_key("public", path) from None
    if not isinstance(found, Ed25519PublicKey):
        raise _no_key("public", path)
    return found


def key_id(key: Ed25519PublicKey) -> str:
    """Return 16 hexadecimal digits that name a key: the start of the sha256 of its 32 bytes."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def _no_key(kind: str, path: Path) -> UsageError:
    hint = "--key takes KEY.pem" if kind == "private" else "--trust-key takes KEY.pub.pem"
    hint = f"{hint}; autorec keys new KEY.pem makes both"
    return UsageError(f"this is no Ed25519 {kind} key in PEM", where=str(path), hint=hint)


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise UsageError("there is no such key file", where=str(path), hint="autorec keys new KEY.pem makes a pair")
        with path.open("rb") as file:
            return file.read(_MAX_BYTES)
    except OSError as error:
        raise UsageError(f"the key cannot be read: {error.strerror}", where=str(path), hint="check the permissions of the file") from None


def _create(path: Path, data: bytes, mode: int) -> None:
    """Create a file that is not there yet, with exactly this mode from its first moment; half a file does not stay."""
    made = False
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        made = True
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if made:
            with contextlib.suppress(OSError):
                path.unlink()
        told = f"the key cannot be written: {error.strerror}"
        raise InfrastructureError(told, where=str(path), hint="choose a folder that can be written") from None
