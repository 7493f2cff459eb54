"""The op: principal components of the encoder's vectors, found by hash; other texts by their words; and what it turns down."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autorec_features.plugin
import autorec_text.plugin
from autorec_kernel.contracts.features import DataProfile, RejectColumn
from autorec_kernel.errors import PluginError, UsageError
from autorec_kernel.features import build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.program import ReadContext, run_program
from autorec_kernel.records.schema import Column, Schema
from autorec_kernel.records.table import Coded, Table
from autorec_kernel.testing import check_plugin
from autorec_kernel.testing.checks.feature_ops import fits
from autorec_kernel.testing.data import coded
from autorec_kernel.testing.feature_cases import example_dataset, profiles
from autorec_text.encoder import Encoder
from autorec_text.files import VARIABLE, files_of
from autorec_text.meaning import Meaning

SPACE = ["Rocket to the Moon", "moon and star", "a star of the rocket", "rocket now", "the moon now"]
BREAD = ["Bread of the baker", "the baker and the oven", "a bread now", "oven, bread", "baker of bread"]
TEXTS = [*SPACE, *BREAD]


def fitted(column: Coded | np.ndarray, source: str = "items", **options: Any) -> Any:
    tables = {name: Table({"title": column}, len(column)) if name == source else Table() for name in ("events", "users", "items")}
    op = Meaning(Meaning.Config(source=source, **options))  # type: ignore[arg-type]
    return op.fit(tables.pop("events"), tables, np.random.default_rng(0))


def read(found: Any, texts: list[str | None], name: str = "items.title") -> np.ndarray:
    return np.asarray(run_program(found.program(), {name: coded(texts)}, ReadContext(len(texts)))[".out"])


def test_values_are_principal_components_of_mean_0_and_deviation_1(fake: Any) -> None:
    found = read(fitted(coded(TEXTS), model=str(fake.folder), width=4), TEXTS)
    words = [[word for word in text.lower().replace(",", " , ").split()] for text in TEXTS]
    vectors = np.stack([fake.oracle(tokens) for tokens in words])
    left, sizes, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    expected = left[:, :4] * np.sqrt(len(TEXTS))
    signs = np.sign((found * expected).sum(axis=0))
    assert sizes[3] - sizes[4] > 1e-3  # the four are told from the rest
    np.testing.assert_allclose(found, expected * signs, atol=1e-4)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(axis=0), 1, atol=1e-6)


def test_repeated_texts_count_once_and_their_order_does_not_matter(fake: Any) -> None:
    one = fitted(coded(TEXTS), model=str(fake.folder), width=4)
    other = fitted(coded([*TEXTS[::-1], *TEXTS[:3], None, "  "]), model=str(fake.folder), width=4)
    assert read(one, TEXTS).tobytes() == read(other, TEXTS).tobytes()


@pytest.mark.parametrize(("source", "name", "depends"), [("events", "title", "row"), ("users", "users.title", "user")])
def test_texts_of_every_table_are_read(fake: Any, source: str, name: str, depends: str) -> None:
    found = fitted(coded(TEXTS), source, model=str(fake.folder), width=4)
    (feature,) = found.outputs
    assert (feature.name, feature.kind, feature.depends, feature.width) == (f"{name}.meaning", "numeric", depends, 4)
    assert read(found, TEXTS, name).any(axis=1).all()


def test_an_unseen_text_is_read_by_its_known_words_and_lies_near_those_that_hold_them(fake: Any) -> None:
    found = fitted(coded(TEXTS), model=str(fake.folder), width=4)
    seen = read(found, TEXTS)
    rocket, again, bread = read(found, ["zebra rocket moon", "rocket, moon!", "baker bread oven"])
    assert np.array_equal(rocket, again)
    for unseen, near, far in ((rocket, seen[:5], seen[5:]), (bread, seen[5:], seen[:5])):
        assert (near @ unseen).mean() > (far @ unseen).mean() + 1


def test_the_words_are_a_ridge_regression_on_the_shares_of_a_text(fake: Any) -> None:
    found = fitted(coded(TEXTS), model=str(fake.folder), width=4)
    split = [text.lower().replace(",", " ").split() for text in TEXTS]
    words = sorted({word for text in split for word in text})
    shares = np.array([[text.count(word) / len(text) for word in words] for text in split])
    target = read(found, TEXTS).astype(np.float64)
    expected = np.linalg.solve(shares.T @ shares + 0.1 * np.eye(len(words)), shares.T @ target)
    np.testing.assert_allclose(read(found, [f"{word} zebra" for word in words]), expected, atol=1e-3)


def test_a_known_text_reads_its_own_vector_and_nothing_of_its_words(fake: Any) -> None:
    found = fitted(coded(TEXTS), model=str(fake.folder), width=4)
    program = found.program()
    rest = replace(program, arrays={**program.arrays, "vectors": program.arrays["vectors"] * 1000})
    columns = {"items.title": coded(TEXTS)}
    one, other = (run_program(one, columns, ReadContext(len(TEXTS)))[".out"] for one in (program, rest))
    assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def test_missing_blank_and_wholly_unknown_texts_read_as_the_mean(fake: Any) -> None:
    found = fitted(coded([*TEXTS, "", None, "   "]), model=str(fake.folder), width=4)
    assert not read(found, [None, "", "  ", "zebra", "\ud800", "!?"]).any()
    assert not np.asarray(run_program(found.program(), {}, ReadContext(3))[".out"]).any()


def test_no_text_is_stored_only_hashes_and_words(fake: Any) -> None:
    stored = fitted(coded(TEXTS), model=str(fake.folder), width=4).program().stored()
    data = b"".join(np.asarray(array).tobytes() for array in stored.values())
    assert not any(text.encode() in data for text in TEXTS if " " in text)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["one", "one", None], "holds 1 different texts"),
        ([None, ""], "holds 0 different texts"),
        (["moon", "MOON", "Moon"], "mean the same"),
    ],
)
def test_texts_that_tell_nothing_are_rejected(fake: Any, texts: list[str | None], told: str) -> None:
    with pytest.raises(RejectColumn, match=told):
        fitted(coded(texts), model=str(fake.folder))


def test_more_texts_than_the_limit_are_rejected_before_any_is_read(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Encoder, "encode", None)  # would raise
    with pytest.raises(RejectColumn, match=r"holds 10 different texts; at most 9 are encoded \(option max_texts\)"):
        fitted(coded(TEXTS), model=str(fake.folder), max_texts=9)


def test_as_many_texts_as_the_limit_says_are_encoded(fake: Any) -> None:
    assert read(fitted(coded(TEXTS), model=str(fake.folder), max_texts=len(TEXTS)), TEXTS).any()


def test_texts_are_known_by_62_bits_so_that_many_do_not_share_one(fake: Any) -> None:
    many = [f"{word} {number}" for number in range(400) for word in ("rocket", "moon", "star", "bread", "oven")]
    hashes = fitted(coded(many), model=str(fake.folder), width=2).program().arrays["hashes"]
    assert len(np.unique(hashes)) == len(many)
    assert 2**61 < hashes.max() < 2**62


def test_numbers_and_columns_that_are_not_there_are_rejected(fake: Any) -> None:
    with pytest.raises(RejectColumn, match=r"no column 'items\.title' of texts"):
        fitted(np.arange(3.0), model=str(fake.folder))
    with pytest.raises(RejectColumn, match="no column"):
        Meaning(Meaning.Config(model=str(fake.folder))).fit(Table(), {"users": Table(), "items": Table()}, np.random.default_rng(0))


def test_the_options_tell_the_encoder_and_another_one_is_refused(fake: Any, make_encoder: Callable[..., Any]) -> None:
    found = fitted(coded(TEXTS), model=str(fake.folder))
    assert found.config.digest == files_of(str(fake.folder)).digest()
    again = Meaning(found.config).fit(Table(), {"items": Table({"title": coded(TEXTS)}, 10)}, np.random.default_rng(1))
    assert read(again, TEXTS).tobytes() == read(found, TEXTS).tobytes()
    other = make_encoder("other", seed=3)
    with pytest.raises(UsageError, match="the features were planned with") as caught:
        fitted(coded(TEXTS), model=str(other.folder), digest=found.config.digest)
    assert f"option model: {str(other.folder)!r} holds another one" in caught.value.message


def test_an_encoder_that_was_moved_is_found_where_the_environment_says(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(fake.folder))
    found = fitted(coded(TEXTS))
    moved = fake.folder.rename(fake.folder.with_name("moved"))
    with pytest.raises(UsageError, match="is not found") as caught:
        fitted(coded(TEXTS), **found.config.model_dump(include={"model", "digest"}))
    assert f"{VARIABLE}: {str(fake.folder)!r} is no folder" in caught.value.message
    monkeypatch.setenv(VARIABLE, str(moved))
    again = fitted(coded(TEXTS), **found.config.model_dump(include={"model", "digest"}))
    assert again.config == found.config.model_copy(update={"model": str(moved)})
    assert read(again, TEXTS).tobytes() == read(found, TEXTS).tobytes()


def test_of_two_folders_that_fit_the_environments_is_taken(
    fake: Any, make_encoder: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = fitted(coded(TEXTS), model=str(fake.folder))
    monkeypatch.setenv(VARIABLE, str(make_encoder("copy").folder))
    again = fitted(coded(TEXTS), model=str(fake.folder), digest=found.config.digest)
    assert again.config.model == str(fake.folder.with_name("copy"))


def test_the_planned_folder_serves_while_the_environment_names_another_encoder(
    fake: Any, make_encoder: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = fitted(coded(TEXTS), model=str(fake.folder))
    other = make_encoder("other", seed=3).folder
    monkeypatch.setenv(VARIABLE, str(other))
    again = fitted(coded(TEXTS), model=str(fake.folder), digest=found.config.digest)
    assert again.config == found.config
    fake.folder.rename(fake.folder.with_name("moved"))
    with pytest.raises(UsageError, match="is not found") as caught:
        fitted(coded(TEXTS), model=str(fake.folder), digest=found.config.digest)
    assert f"{VARIABLE}: {str(other)!r} holds another one" in caught.value.message
    assert f"option model: {str(fake.folder)!r} is no folder" in caught.value.message


def test_without_a_folder_nothing_is_proposed_and_fitting_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert list(Meaning.propose(profile())) == []
    with pytest.raises(RejectColumn, match=f"set {VARIABLE} to the folder"):
        fitted(coded(TEXTS))


def test_the_folder_of_the_environment_is_proposed_for_every_text_with_its_cost(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(fake.folder))
    few, many, note = Meaning.propose(profile(1_000, 40_000))
    assert few.config == Meaning.Config(column="name", source="users", model=str(fake.folder))
    assert few.seconds < many.seconds
    assert (many.config.column, many.config.source) == ("title", "items")  # type: ignore[attr-defined]
    assert note.seconds < few.seconds  # 60,000 different notes are turned down unread
    assert many.bytes >= 40_000 * 32 * 4


def test_a_wrong_folder_is_told_where_there_is_text_to_encode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    assert list(Meaning.propose(DataProfile(Schema(), 1, 1, 1, "none", "rate"))) == []
    with pytest.raises(UsageError, match="is no folder"):
        list(Meaning.propose(profile()))


def profile(names: int = 10, titles: int = 10) -> DataProfile:
    columns = (
        Column("name", "feature", "text", "users", distinct=names),
        Column("title", "feature", "text", "items", distinct=titles),
        Column("genre", "feature", "categorical", "items", distinct=5),
        Column("note", "feature", "text", "items", distinct=60_000),
    )
    return DataProfile(Schema(columns), 10**6, 100_000, 100_000, "time", "click")


def test_the_plugin_lists_without_the_package_and_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    (row,) = Kernel.discover(allowed=["text"]).components("feature-op")
    assert not row.usable
    assert row.install == 'pip install "autorec-kernel[text]"'


def test_the_op_keeps_the_laws_of_feature_ops_where_a_folder_is_given(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(fake.folder))
    (case,) = fits(Meaning, next(iter(Meaning.propose(profiles()[0]))).config, 1)  # not turned down: there is something to judge
    assert case[2].features[0].width > 1
    results = check_plugin(Kernel({"text": autorec_text.plugin}), "text/encoder")
    assert len(results) > 10
    assert [str(result) for result in results if not result.ok] == []


def test_a_wrong_folder_costs_a_run_this_op_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    kernel = Kernel({"text": autorec_text.plugin, "features": autorec_features.plugin})
    features = build_features(example_dataset("time", "rate"), kernel, task="rate")
    (row,) = (row for row in features.plan if row["op"] == "text/encoder")
    assert not row["taken"]
    for told in (row["reason"], *(record.getMessage() for record in caplog.records if "text/encoder" in record.getMessage())):
        assert f"{VARIABLE}: {str(tmp_path / 'nowhere')!r} is no folder" in told
        assert "model.onnx" in told
        assert "tokenizer.json" in told
        assert told.isprintable()
    assert "text/encoder" in caplog.text


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_what_fitting_cannot_use_is_told_on_one_line_with_the_fix(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (fake.folder / "tokenizer.json").write_text("{\n}")
    with pytest.raises(UsageError, match="tokenizer cannot be read") as caught:
        fitted(coded(TEXTS), model=str(fake.folder))
    assert str(caught.value).isprintable()
    with monkeypatch.context() as broken, pytest.raises(UsageError, match="two lines; two more"):
        broken.setattr(Encoder, "__init__", raising(UsageError("two\nlines", hint="two\n  more")))
        fitted(coded(TEXTS), model=str(fake.folder), max_tokens=9)
    assert caught.value.message.startswith(str(fake.folder / "tokenizer.json"))
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(PluginError) as missing:
        fitted(coded(TEXTS), model=str(fake.folder))
    assert 'pip install "autorec-kernel[text]"' in missing.value.message
    assert str(missing.value).isprintable()


ASK = """
import sys
for name in ("autorec_text", "autorec_features", "autorec_kernel.features", "tokenizers", "onnxruntime", "torch", "pandas", "pydantic"):
    sys.modules[name] = None
import json, numpy as np
from autorec_kernel.records.serving_state import ServingState
folder = sys.argv[1]
state = ServingState.load(json.load(open(folder + "/meta.json")), dict(np.load(folder + "/state.npz", allow_pickle=False)))
rows = np.arange(int(sys.argv[2]))
found = state.inputs(["items.title.meaning"], users=rows * 0 + 1, items=rows, clock=1_500_000_000_000_000_000)
np.save(folder + "/found.npy", found["items.title.meaning"])
"""


def test_serving_gives_the_bytes_of_training_where_the_package_cannot_be_imported(
    fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(fake.folder))
    kernel = Kernel({"text": autorec_text.plugin, "features": autorec_features.plugin})
    data = example_dataset("time", "rate")
    features = build_features(data, kernel, task="rate")
    state = features.state()
    np.savez(tmp_path / "state.npz", **state.arrays())  # type: ignore[arg-type]
    (tmp_path / "meta.json").write_text(json.dumps(state.meta()))
    command = [sys.executable, "-c", ASK, str(tmp_path), str(state.items.size)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    served = np.load(tmp_path / "found.npy")
    trained = features.row_inputs(["items.title.meaning"], features.rows("train"))["items.title.meaning"]
    items = state.items.rows_of_column(data.train["item_id"])  # type: ignore[arg-type]
    assert trained.tobytes() == served[items].tobytes()
    assert served[1:].any(axis=1).all()
    assert not served[0].any()
