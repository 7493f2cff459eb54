from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autorec_kernel.cli.main import main
from autorec_kernel.data import Limits, open_dataset
from autorec_kernel.errors import AutoRecError
from autorec_kernel.records.dataset import Dataset
from autorec_kernel.records.table import Coded

_SPEC = importlib.util.spec_from_file_location("autorec_corpus_build", Path(__file__).with_name("build.py"))
assert _SPEC is not None and _SPEC.loader is not None
build = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = build
_SPEC.loader.exec_module(build)

_LIMITS = ("table_bytes", "row_bytes")
_CLI = [case for case in build.BAD if not set(case.options) & {*_LIMITS}][::4]


def _open(path: Any, options: dict[str, Any]) -> Dataset:
    limits = Limits(**{name: options[name] for name in _LIMITS if name in options})
    rest = {name: value for name, value in options.items() if name not in _LIMITS}
    return open_dataset(path, limits=limits, **rest)


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(build.BAD) + len(build.GOOD) >= 100
    assert len({case.name for case in (*build.BAD, *build.GOOD)}) == len(build.BAD) + len(build.GOOD)


@pytest.mark.parametrize("case", build.BAD, ids=lambda case: case.name)
def test_a_bad_table_is_refused_with_its_code_and_phrase(case: Any, tmp_path: Path) -> None:
    with pytest.raises(AutoRecError) as caught:
        _open(case.write(tmp_path), dict(case.options))
    assert caught.value.exit_code == case.code
    assert case.phrase in str(caught.value).lower()
    assert caught.value.hint


@pytest.mark.parametrize("case", build.GOOD, ids=lambda case: case.name)
def test_an_odd_table_is_read_with_the_right_rows_and_ids(case: Any, tmp_path: Path) -> None:
    dataset = _open(case.write(tmp_path), dict(case.options))
    rows = np.concatenate([dataset.row_ids[part] for part in ("train", "valid", "test")])
    assert len(np.unique(rows)) == len(rows)
    assert len(rows) == dataset.train.rows + dataset.valid.rows + dataset.test.rows
    assert len(rows) == case.rows
    assert case.users <= _ids(dataset, "user")
    assert case.items <= _ids(dataset, "item")
    assert case.distinct_users is None or len(_ids(dataset, "user")) == case.distinct_users
    assert case.split is None or dataset.protocol.split == case.split


def _ids(dataset: Dataset, role: Any) -> set[str]:
    column = dataset.schema.role(role)
    if column is None:
        return set()
    dataset.test.fix_plan("test")
    parts = (dataset.train, dataset.valid, dataset.test.open("ids"))
    found = [part[column.name] for part in parts]
    return {str(value) for coded in found if isinstance(coded, Coded) for value in coded.values}


@pytest.mark.parametrize("case", _CLI, ids=lambda case: case.name)
def test_the_command_line_refuses_a_bad_table_without_a_traceback(case: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--no-plugins", "data", "inspect", str(case.write(tmp_path)), "--task", str(case.options.get("task", "recommend"))]
    for option, key in (("--role", "roles"), ("--kind", "kinds")):
        for column, value in case.options.get(key, {}).items():
            words += [option, f"{column}={value}"]
    for option, key in (("--protocol", "protocol"), ("--positive-threshold", "positive_threshold")):
        if key in case.options:
            words += [option, str(case.options[key])]
    assert main(words) == case.code
    told = capsys.readouterr()
    assert case.phrase in told.err.lower()
    assert "Traceback" not in told.err + told.out


@pytest.mark.parametrize("case", build.GOOD[::5], ids=lambda case: case.name)
def test_the_command_line_explains_an_odd_table(case: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--no-plugins", "data", "inspect", str(case.write(tmp_path)), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["problem"] is None
    assert told["protocol"]["split"] == (case.split or told["protocol"]["split"])
    assert all(column["reason"] for column in told["columns"])
