"""Keys, signatures and `--trust-key`: a bundle is opened for those who trust its writer, and refused in every other case."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("cryptography")
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from autorec_kernel.cli.main import main
from autorec_kernel.errors import BundleError, InfrastructureError, UsageError
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.bundle import canonical_json, content_digest, manifest_digest, member_digest
from autorec_kernel.serving import open_bundle
from autorec_sign import keys
from autorec_sign.keys import key_id, new_keys, read_private, read_public
from autorec_sign.signature import sign_bundle, signature_path, signed

sys.path.insert(0, str(Path(__file__).parents[2] / "serving"))

from serving_toys import write_toy

Autorec = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "bundle"
    write_toy(folder, "factors")
    return folder


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "bundle"))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    new_keys(tmp_path / "release.pem")
    return tmp_path / "release.pem"


@pytest.fixture
def public(key: Path) -> Path:
    return key.with_name("release.pub.pem")


@pytest.fixture
def autorec(capsys: pytest.CaptureFixture[str]) -> Autorec:
    def run(*words: object) -> tuple[int, str, str]:
        code = main(["--plugins", "sign", *map(str, words)])
        return (code, *capsys.readouterr())

    return run


def recomputed(bundle: Path, name: str, data: bytes) -> None:
    """Change a member and every digest, as somebody does who can write the whole bundle."""
    (bundle / name).write_bytes(data)
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    manifest["members"][name] = {"sha256": member_digest(data), "size": len(data)}
    manifest["content_digest"] = content_digest({one: facts["sha256"] for one, facts in manifest["members"].items()})
    manifest["manifest_digest"] = manifest_digest(manifest)
    (bundle / "manifest.json").write_bytes(canonical_json(manifest))


def popularity_of_nobody(bundle: Path) -> tuple[str, bytes]:
    """Return a table of the bundle with its last bit flipped: a plain array as before, which answers differently."""
    name = next(path for path in sorted((bundle / "tables").iterdir()) if "popularity" in path.name)
    data = name.read_bytes()
    return f"tables/{name.name}", data[:-1] + bytes([data[-1] ^ 1])


# --- keys -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_private_key_is_its_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        public = new_keys(tmp_path / "k.pem")
    finally:
        os.umask(before)
    assert (tmp_path / "k.pem").stat().st_mode & 0o777 == 0o600
    assert public == tmp_path / "k.pub.pem"
    assert read_private(tmp_path / "k.pem").public_key() == read_public(public)


@pytest.mark.parametrize("there", ["release.pem", "release.pub.pem"])
def test_keys_are_never_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(UsageError, match="never overwritten"):
        new_keys(tmp_path / "release.pem")
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "release.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="never overwritten"):
        new_keys(tmp_path / "release.pem")
    assert not (tmp_path / "elsewhere").exists()


def test_half_a_pair_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = os.fsync
    calls: list[int] = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        honest(descriptor)

    monkeypatch.setattr(keys.os, "fsync", full)
    with pytest.raises(InfrastructureError, match="No space left"):
        new_keys(tmp_path / "release.pem")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the folder of the key does not exist") as caught:
        new_keys(tmp_path / "no" / "release.pem")
    assert caught.value.hint == f"mkdir -p {tmp_path / 'no'}"


def other_keys(folder: Path) -> dict[str, Path]:
    """Write keys that are none of ours: RSA, X25519-sized rubbish, one with a passphrase."""
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    strange = rsa.generate_private_key(65537, 2048)
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    locked = ed25519.Ed25519PrivateKey.generate().private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"word"))
    files = {
        "rsa": strange.private_bytes(pem, pkcs8, serialization.NoEncryption()),
        "rsa-public": strange.public_key().public_bytes(pem, spki),
        "empty": b"",
        "text": b"hello",
        "locked": locked,
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in files}


def test_what_is_no_key_of_ours_is_refused_with_its_file(tmp_path: Path, key: Path, public: Path) -> None:
    others = other_keys(tmp_path)
    for path in (others["rsa"], others["rsa-public"], others["empty"], others["text"], public):
        with pytest.raises(UsageError, match="no Ed25519 private key") as caught:
            read_private(path)
        assert caught.value.where == str(path)
    for path in (others["rsa"], others["rsa-public"], others["empty"], others["text"], others["locked"], key):
        with pytest.raises(UsageError, match="no Ed25519 public key"):
            read_public(path)
    with pytest.raises(UsageError, match="passphrase"):
        read_private(others["locked"])
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(UsageError, match="no such key file"):
            read_public(path)


# --- signatures -----------------------------------------------------------------------------------------------------------------


def test_the_signature_is_of_the_bytes_of_the_manifest_and_anybody_can_check_it(bundle: Path, key: Path, public: Path) -> None:
    found, signer, path = sign_bundle(bundle, key)
    name, own, text = path.read_text().split()
    assert (path, name, own, signer) == (bundle.with_name("bundle.sig"), "autorec-ed25519-1", signer, key_id(read_public(public)))
    import base64

    read_public(public).verify(base64.b64decode(text), (bundle / "manifest.json").read_bytes())
    assert signed(bundle, [public]) == member_digest(found.members["manifest.json"])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_agrees(bundle: Path, key: Path, public: Path, tmp_path: Path) -> None:
    import base64

    _, _, path = sign_bundle(bundle, key)
    raw = tmp_path / "raw"
    raw.write_bytes(base64.b64decode(path.read_text().split()[2]))
    words = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", bundle / "manifest.json", "-sigfile", raw]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert "Verified Successfully" in done.stdout + done.stderr


def test_a_zip_has_the_same_signature_under_its_own_name(bundle: Path, key: Path, public: Path, autorec: Autorec) -> None:
    _, _, path = sign_bundle(bundle, key)
    packed = bundle.with_name("b.zip")
    assert autorec("bundle", "pack", bundle, "--out", packed, "--trust-key", public)[0] == 0
    shutil.copy(path, packed.with_name("b.zip.sig"))
    assert signed(packed, [public]) == signed(bundle, [public])


def test_a_link_leads_to_the_signature_beside_the_bundle(bundle: Path, key: Path, public: Path) -> None:
    sign_bundle(bundle, key)
    link = bundle.with_name("current")
    link.symlink_to(bundle)
    assert signature_path(link) == bundle.resolve().with_name("bundle.sig")
    assert signed(link, [public])


def test_a_damaged_bundle_is_not_signed(bundle: Path, key: Path) -> None:
    name, data = popularity_of_nobody(bundle)
    (bundle / name).write_bytes(data)
    with pytest.raises(BundleError, match="differs from its size and sha256"):
        sign_bundle(bundle, key)
    assert not signature_path(bundle).exists()


@pytest.mark.parametrize("change", ["flip", "cut", "swap", "nothing", "long", "binary", "folder", "pipe"])
def test_a_changed_signature_is_refused(bundle: Path, key: Path, public: Path, change: str) -> None:
    _, signer, path = sign_bundle(bundle, key)
    good = path.read_bytes()
    forms = {
        "flip": good[:40] + (b"A" if good[40:41] != b"A" else b"B") + good[41:],
        "cut": good[:-2],
        "swap": good.replace(signer.encode(), b"0" * 16),
        "nothing": b"",
        "long": good + b"x" * 100_000,
        "binary": b"\xff\x00" * 60,
    }
    path.unlink()
    if change in forms:
        path.write_bytes(forms[change])
    elif change == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(BundleError) as caught:
        signed(bundle, [public])
    assert (caught.value.exit_code, caught.value.where) == (5, str(path))


def test_nothing_is_parsed_before_the_signature_holds(bundle: Path, key: Path, public: Path) -> None:
    sign_bundle(bundle, key)
    (bundle / "manifest.json").write_bytes(b"{" * 10_000)
    with pytest.raises(BundleError, match="one of the two was changed"):
        signed(bundle, [public])


# --- the commands that open a bundle --------------------------------------------------------------------------------------------


def commands(bundle: Path, table: Path) -> list[tuple[object, ...]]:
    return [
        ("recommend", bundle, "--user", "u1"),
        ("predict", bundle, table),
        ("evaluate", bundle, table),
        ("drift", bundle, table),
        ("bundle", "verify", bundle),
        ("bundle", "inspect", bundle),
        ("bundle", "pack", bundle, "--out", bundle.with_name("packed.zip")),
    ]


def test_every_command_that_opens_a_bundle_refuses_it_unsigned_or_by_another(
    bundle: Path, key: Path, public: Path, tmp_path: Path, autorec: Autorec
) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("user_id,item_id,rating\nu1,i01,4\nu2,i02,3\n")
    stranger = new_keys(tmp_path / "stranger.pem")
    for words in commands(bundle, table):
        code, out, err = autorec(*words, "--trust-key", public)
        assert (code, out) == (5, "") and "is not signed" in err, words
    sign_bundle(bundle, key)
    for words in commands(bundle, table):
        code, out, err = autorec(*words, "--trust-key", stranger)
        assert (code, out) == (5, "") and "signed with the key" in err, words
        told = autorec(*words, "--trust-key", stranger, "--trust-key", public)
        assert told[0] == (5 if words[0] == "drift" else 0), (words, told)  # the toy holds no drift profile
        assert "is not signed" not in told[2]


def test_a_consistent_change_is_accepted_without_a_key_and_refused_with_one(
    bundle: Path, key: Path, public: Path, autorec: Autorec
) -> None:
    sign_bundle(bundle, key)
    recomputed(bundle, *popularity_of_nobody(bundle))
    assert autorec("bundle", "verify", bundle)[0] == 0
    code, _, err = autorec("bundle", "verify", bundle, "--trust-key", public)
    assert code == 5 and "one of the two was changed" in err


def test_what_is_swapped_after_the_signature_was_checked_is_refused(bundle: Path, key: Path, public: Path) -> None:
    sign_bundle(bundle, key)
    asked = f"manifest:{signed(bundle, [public])}"
    recomputed(bundle, *popularity_of_nobody(bundle))
    with pytest.raises(BundleError, match="the manifest is not the one that is required"):
        open_bundle(bundle, require_digest=asked)


def test_the_card_is_signed_too(bundle: Path, key: Path, public: Path, autorec: Autorec) -> None:
    digest = open_bundle(bundle).digest
    sign_bundle(bundle, key)
    recomputed(bundle, "CARD.md", b"# Better than everything\n")
    assert open_bundle(bundle, require_digest=digest).digest == digest
    assert autorec("bundle", "inspect", bundle, "--trust-key", public)[0] == 5


def test_a_digest_and_a_key_must_both_hold(bundle: Path, key: Path, public: Path, autorec: Autorec) -> None:
    found, _, _ = sign_bundle(bundle, key)
    for digest, code in ((found.digest, 0), (f"sha256:{found.digest}", 0), ("0" * 64, 5)):
        assert autorec("bundle", "verify", bundle, "--trust-key", public, "--require-digest", digest)[0] == code


def test_an_empty_digest_is_an_error_and_not_everything(bundle: Path, autorec: Autorec) -> None:
    code, _, err = autorec("bundle", "verify", bundle, "--require-digest", "")
    assert code == 2 and "would accept any bundle" in err


def test_without_a_plugin_that_checks_signatures_a_key_is_refused(bundle: Path, public: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--no-plugins", "bundle", "verify", str(bundle), "--trust-key", str(public)]) == 6
    assert "signature" in capsys.readouterr().err


def test_without_cryptography_the_plugin_is_listed_with_the_pip_line_and_nothing_is_trusted(
    bundle: Path, public: Path, monkeypatch: pytest.MonkeyPatch, autorec: Autorec
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    (row,) = Kernel.discover().components("signature")
    assert (row.id, row.status, row.install) == ("sign/ed25519", "unavailable", 'pip install "autorec-kernel[sign]"')
    code, _, err = autorec("bundle", "verify", bundle, "--trust-key", public)
    assert code == 6 and 'pip install "autorec-kernel[sign]"' in err


def test_signing_and_keys_from_the_command_line(bundle: Path, tmp_path: Path, autorec: Autorec) -> None:
    code, out, _ = autorec("keys", "new", tmp_path / "a.pem", "--json")
    made = json.loads(out)
    assert (code, made["public"]) == (0, str(tmp_path / "a.pub.pem"))
    code, out, err = autorec("sign", bundle, "--key", tmp_path / "a.pem")
    assert (code, out) == (0, f"{bundle.resolve()}.sig\n") and made["key"] in err
    for name in ("a.pem", "a.pub.pem"):
        assert autorec("keys", "show", tmp_path / name)[1].split()[0] == made["key"]
    (tmp_path / "a.pem").chmod(0o644)
    assert "others may read" in autorec("sign", bundle, "--key", tmp_path / "a.pem")[2]
    code, _, err = autorec("sign", bundle, "--key", tmp_path / "a.pub.pem")
    assert code == 2 and "no Ed25519 private key" in err
