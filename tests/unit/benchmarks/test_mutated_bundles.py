"""A hundred mutated bundles in every suite (3,000 in `benchmarks/mutated_bundles.py`), and a harness that sees what it looks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "unit" / "serving"))

from serving_toys import write_toy  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and the watch over processes are Linux's")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("bundles")
    write_toy(base / "retriever", "scores")
    write_toy(base / "ranker", "ranker")
    return base


def python(*words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False, cwd=ROOT, env=environment)


@pytest.mark.slow
def test_of_a_hundred_mutants_none_is_accepted_crashes_hangs_or_writes(bundles: Path, tmp_path: Path) -> None:
    done = python(
        "-m", "benchmarks.mutated_bundles", "--bundles", bundles, "--count", 132, "--workers", 1, "--seed", 7, "--out", tmp_path / "r"
    )
    found: dict[str, Any] = json.loads((tmp_path / "r").read_text())
    assert (done.returncode, found["wrong"]) == (0, [])
    assert [found[name] for name in ("accepted_changes", "crashes", "writes_outside", "hangs")] == [0, 0, 0, 0]
    assert found["mutants"] == 132 and found["openings"] > 200
    assert all(found["kinds"].values()), "every kind of mutant was made"


ACTS = {
    "crash": "raise KeyError('a member')",
    "crash, signal 11": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "crash, exit code 3": "import os; os._exit(3)",
    "crash, MemoryError": "yield '0' * 64; bytearray(8 << 30)",
    "hang": "\n    while True: pass",
    "write": "open('seen', 'w').close(); yield '0' * 64",
    "write, outside": "import ctypes; ctypes.CDLL(None).creat(b'seen', 0o600); yield '0' * 64",
    "write, program": "import subprocess; subprocess.run(['true']); yield '0' * 64",
    "accepted": "yield '0' * 64",
    "": "from autorec_kernel.errors import BundleError\n    raise BundleError('no')\n    yield",
}


@pytest.mark.parametrize("name", ACTS)
def test_the_harness_sees_what_an_opening_does(name: str, bundles: Path, tmp_path: Path) -> None:
    code = f"""
import json, sys
from pathlib import Path
from autorec_kernel.serving.archive import read_members
from benchmarks import mutated_bundles as harness

def acts(path, require_digest=""):
    {ACTS[name]}
    yield

harness.answers = acts
members = {{role: read_members(Path({str(bundles)!r}) / role) for role in harness.ROLES}}
facts = {{role: {{"digest": "", "manifest": "", "answers": "[]"}} for role in harness.ROLES}}
number = 2 * sorted(harness.KINDS).index("missing")
options = {{"seed": 0, "memory": 1 << 30, "seconds": 1, "members": members, "facts": facts, "zips": dict.fromkeys(members)}}
(found,) = harness.trial(number, options, Path({str(tmp_path)!r}) / "one")
print(json.dumps([found["wrong"], found["detail"], found["kind"]]))
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    wrong, detail, kind = json.loads(done.stdout.splitlines()[-1])
    expected, _, told = name.partition(", ")
    assert (wrong, kind) == (expected, "missing")
    assert told in ("outside", "program") or told in detail


@pytest.mark.slow
def test_a_mutant_comes_again_by_its_number(bundles: Path, tmp_path: Path) -> None:
    code = f"""
import hashlib, sys
from pathlib import Path
from autorec_kernel.serving.archive import read_members
from benchmarks.mutated_bundles import KINDS, ROLES, mutant
members = {{role: read_members(Path({str(bundles)!r}) / role) for role in ROLES}}
for number in range(0, 2 * len(KINDS)):
    name, role, path = mutant(number, 3, members, Path(sys.argv[1]) / str(number))
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file() and one.stat().st_size < 1 << 24)
    if name not in ("climbing-name", "external-data", "bomb"):
        print(number, name, role, hashlib.sha256(b"".join(one.read_bytes() for one in files)).hexdigest())
"""
    first, second = (python("-c", code, tmp_path / name) for name in ("a", "b"))
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout and len(first.stdout.splitlines()) > 40
