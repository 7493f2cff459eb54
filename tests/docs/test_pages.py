from __future__ import annotations

import runpy
import subprocess
import sys
import re
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import Block, Step, commands, missing_line, read_blocks

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
RUNNABLE = [page for page in PAGES if any(block.language in {"python", "console"} for block in read_blocks(page))]
ENTRY = "import sys; from autorec_kernel.cli.main import main; sys.exit(main())"


def _run_step(step: Step, folder: Path, exit_code: int) -> None:
    program, *arguments = step.argv
    start = [sys.executable, "-c", ENTRY] if program == "autorec" else [sys.executable]
    assert program in {"autorec", "python"}, f"only autorec and python may be called in documentation: {program}"
    done = subprocess.run([*start, *arguments], cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == exit_code, f"{step.argv} ended with {done.returncode}\n{output}"
    assert (lacking := missing_line(step.expected, output)) is None, f"{step.argv} does not print {lacking!r}\n{output}"


def _run_block(block: Block, folder: Path, names: dict[str, Any]) -> dict[str, Any]:
    if "title" in block.options:
        target = folder / block.options["title"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.text, encoding="utf-8")
    elif block.language == "python":
        script = folder / f"block_{block.line}.py"
        script.write_text("\n" * block.line + block.text, encoding="utf-8")
        return runpy.run_path(str(script), init_globals=names)
    elif block.language == "console":
        for step in commands(block):
            _run_step(step, folder, int(block.options.get("exit", "0")))
    return names


def _slow(page: Path) -> bool:
    return page.read_text(encoding="utf-8").startswith("<!-- test: slow -->")


@pytest.mark.parametrize("page", [pytest.param(page, id=page.stem, marks=[pytest.mark.slow] if _slow(page) else []) for page in RUNNABLE])
def test_the_blocks_of_a_page_run_in_order(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, Any] = {}
    for block in read_blocks(page):
        names = _run_block(block, tmp_path, names)


def test_the_readme_says_that_tensorflow_is_not_supported_and_nothing_imports_it() -> None:
    assert "TensorFlow models are not supported" in (ROOT / "README.md").read_text(encoding="utf-8")
    sources = [path for folder in ("autorec_kernel", "plugins") for path in (ROOT / folder).rglob("*.py")]
    assert [path.name for path in sources if re.search(r"^\s*(import|from) (tensorflow|keras)\b", path.read_text(encoding="utf-8"), re.M)] == []


def test_python_blocks_of_the_readme_are_valid() -> None:
    blocks = [block for block in read_blocks(ROOT / "README.md") if block.language == "python"]
    assert blocks
    for block in blocks:
        compile(block.text, f"README.md:{block.line}", "exec")


@pytest.mark.parametrize("name", ["run", "test"])
def test_the_readme_has_a_command_of_one_line(name: str) -> None:
    after = (ROOT / "README.md").read_text(encoding="utf-8").split(f"<!-- command: {name} -->\n", 1)[1]
    lines = after.split("```bash\n", 1)[1].split("```", 1)[0].splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("python3 -m venv .venv && .venv/bin/pip install -c constraints.txt ")
