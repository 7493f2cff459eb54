"""The encoder: mean pooling as the recipe says, whatever else is in the batch, and refusals that name the file and the fix."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from autorec_kernel.errors import PluginError, UsageError
from autorec_text.encoder import Encoder, encoder_of
from autorec_text.files import VARIABLE, files_of

TEXTS = ["Rocket moon", "the baker and the oven", "bread", "a star of the moon", "zebra now", "moon"]


def test_vectors_are_the_mean_of_all_tokens_at_length_one(fake: Any) -> None:
    found = Encoder(files_of(str(fake.folder)), 32).encode(TEXTS)
    expected = np.stack([fake.oracle(text.lower().split()) for text in TEXTS])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_text_has_the_same_bytes_alone_and_among_others(fake: Any) -> None:
    files = files_of(str(fake.folder))
    together = Encoder(files, 32).encode([*TEXTS, *(f"{text} now" for text in TEXTS)])
    alone = [Encoder(files, 32).encode([text])[0] for text in TEXTS]
    assert np.stack(alone).tobytes() == together[: len(TEXTS)].tobytes()


def test_the_batches_are_bounded_and_every_text_has_its_place(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    whole = Encoder(files_of(str(fake.folder)), 32).encode(TEXTS)
    monkeypatch.setattr("autorec_text.encoder._BATCH", 8)
    small = Encoder(files_of(str(fake.folder)), 32)
    run = small._run
    monkeypatch.setattr(small, "_run", lambda ids: sizes.append(ids.size) or run(ids))
    assert small.encode(TEXTS).tobytes() == whole.tobytes()
    assert max(sizes) <= 8


def test_long_texts_are_cut_and_padding_in_the_file_is_not_used(fake: Any) -> None:
    encoder = Encoder(files_of(str(fake.folder)), 8)
    long = " ".join(["moon"] * 100_000)
    np.testing.assert_allclose(encoder.encode([long])[0], fake.oracle(["moon"] * 6), atol=1e-6)  # [CLS] and [SEP] are two of the eight
    assert len(encoder._tokens("moon")) == 3


def test_texts_that_are_no_unicode_are_read_all_the_same(fake: Any) -> None:
    found = Encoder(files_of(str(fake.folder)), 32).encode(["\ud800 moon", "🚀 \x00", "moon"])
    assert np.isfinite(found).all()


def test_a_text_without_a_token_has_no_vector(fake: Any) -> None:
    import tokenizers

    bare = tokenizers.Tokenizer(tokenizers.models.WordLevel({"moon": 5, "[UNK]": 1}, unk_token="[UNK]"))
    bare.normalizer = tokenizers.normalizers.Replace("zebra", "")
    bare.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    bare.save(str(fake.folder / "tokenizer.json"))
    found = Encoder(files_of(str(fake.folder)), 32).encode(["zebra", "moon"])
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


@pytest.mark.parametrize("options", [{"inputs": ("input_ids", "attention_mask")}, {"inputs": ("input_ids",)}, {"kind": TensorProto.INT32}])
def test_graphs_with_other_inputs_give_the_same(make_encoder: Callable[..., Any], options: dict[str, Any]) -> None:
    one, two = make_encoder("one"), make_encoder("two", **options)
    found = [Encoder(files_of(str(fake.folder)), 32).encode(TEXTS) for fake in (one, two)]
    assert found[0].tobytes() == found[1].tobytes()


@pytest.mark.parametrize("hidden", [1, 3, 40])
def test_any_hidden_size_will_do(make_encoder: Callable[..., Any], hidden: int) -> None:
    assert Encoder(files_of(str(make_encoder(hidden=hidden).folder)), 32).encode(TEXTS).shape == (len(TEXTS), hidden)


def test_what_the_graph_pooled_itself_is_taken(make_encoder: Callable[..., Any]) -> None:
    fake = make_encoder(pooled=True)
    (found,) = Encoder(files_of(str(fake.folder)), 32).encode(["moon"])
    highest = np.tanh(fake.table[[2, 5, 3]]).max(axis=0)
    np.testing.assert_allclose(found, highest / np.linalg.norm(highest), atol=1e-6)


def test_the_graph_may_lie_in_a_folder_of_its_own(make_encoder: Callable[..., Any]) -> None:
    fake = make_encoder(inside="onnx")
    assert files_of(str(fake.folder)) == files_of(str(fake.folder / "onnx")).__class__(
        fake.folder / "onnx" / "model.onnx", fake.folder / "tokenizer.json"
    )
    assert files_of(str(fake.folder / "onnx")).tokenizer == fake.folder / "tokenizer.json"


def test_a_tokenizer_above_the_folder_belongs_to_another_model(make_encoder: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    fake = make_encoder()
    (fake.folder / "tokenizer.json").rename(fake.folder.parent / "tokenizer.json")
    with pytest.raises(UsageError, match=r"holds no tokenizer\.json"):
        files_of(str(fake.folder))
    monkeypatch.chdir(make_encoder("published", inside="onnx").folder / "onnx")
    assert files_of(".").tokenizer.parent.name == "published"


def test_the_digest_tells_another_model(make_encoder: Callable[..., Any]) -> None:
    one, same, other = (make_encoder(name, seed=seed) for name, seed in (("one", 0), ("same", 0), ("other", 1)))
    first = files_of(str(one.folder)).digest()
    assert first == files_of(str(same.folder)).digest() != files_of(str(other.folder)).digest()


def test_the_digest_tells_another_tokenizer(fake: Any) -> None:
    first = files_of(str(fake.folder)).digest()
    path = fake.folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"rocket"', '"racket"'))
    assert files_of(str(fake.folder)).digest() != first


def test_weights_under_any_name_are_part_of_the_digest_the_size_and_the_cache(make_encoder: Callable[..., Any]) -> None:
    fake, other = make_encoder("one", beside="weights.bin"), make_encoder("other", beside="weights.bin", seed=1)
    files = files_of(str(fake.folder))
    planned = files.digest()
    first = encoder_of(files, 32, planned).encode(TEXTS)
    assert files.weights == (fake.folder / "weights.bin",)
    assert files.bytes > fake.table.nbytes
    (fake.folder / "weights.bin").write_bytes((other.folder / "weights.bin").read_bytes())  # the graph stays as it was
    assert files_of(str(fake.folder)).digest() == files_of(str(other.folder)).digest() != planned
    assert not np.allclose(encoder_of(files, 32, files.digest()).encode(TEXTS), first)


def test_files_that_the_graph_does_not_read_are_no_part_of_the_digest(fake: Any) -> None:
    planned = files_of(str(fake.folder)).digest()
    (fake.folder / "model.onnx.bak").write_bytes(b"an older graph")
    assert files_of(str(fake.folder)).digest() == planned


def test_weights_within_nodes_and_branches_are_found(fake: Any) -> None:
    model = onnx.load(fake.folder / "model.onnx")
    branch = helper.make_graph([helper.make_node("Constant", [], ["far"], value=outside("far.bin"))], "branch", [], [])
    model.graph.node.append(helper.make_node("Constant", [], ["near"], value=outside("near.bin")))
    model.graph.node.append(helper.make_node("If", ["near"], ["both"], then_branch=branch, else_branch=branch))
    (fake.folder / "model.onnx").write_bytes(model.SerializeToString())
    for name in ("far.bin", "near.bin"):
        (fake.folder / name).write_bytes(b"\x00" * 4)
    assert [path.name for path in files_of(str(fake.folder)).weights] == ["far.bin", "near.bin"]


def outside(location: str) -> TensorProto:
    """Return a tensor whose values lie in another file."""
    found = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    found.external_data.add(key="location", value=location)
    return found


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("../secret.bin", "outside its folder"),
        ("/etc/passwd", "outside its folder"),
        ("lost.bin", "which is not there"),
        ("a" * 300, "which is not there"),
    ],
)
def test_weights_elsewhere_are_refused_unread(fake: Any, location: str, told: str) -> None:
    (fake.folder.parent / "secret.bin").write_bytes(b"\x00" * 4)
    model = onnx.load(fake.folder / "model.onnx")
    model.graph.initializer.append(outside(location))
    (fake.folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match=told) as caught:
        files_of(str(fake.folder))
    assert location[:200] in caught.value.message
    assert caught.value.where == str(fake.folder / "model.onnx")
    assert "beside the graph" in caught.value.hint


def test_the_last_encoder_stays_loaded_and_does_not_read_a_text_twice(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_of(str(fake.folder))
    encoder = encoder_of(files, 32, files.digest())
    first = encoder.encode(TEXTS)
    again = encoder_of(files, 32, files.digest())
    assert again is encoder
    monkeypatch.setattr(again, "_vectors", None)  # would raise
    assert again.encode(TEXTS[::-1]).tobytes() == first[::-1].tobytes()


def test_no_more_vectors_are_kept_than_the_bound_allows(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Encoder(files_of(str(fake.folder)), 32).encode(TEXTS)
    monkeypatch.setattr("autorec_text.encoder._KEPT", 3)
    encoder = Encoder(files_of(str(fake.folder)), 32)
    for _ in range(2):
        assert encoder.encode(TEXTS).tobytes() == whole.tobytes()
        assert len(encoder._known) == 3


def test_one_thread_is_used(fake: Any) -> None:
    options = Encoder(files_of(str(fake.folder)), 32)._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("no folder", "is no folder"),
        ("model.onnx", "holds no model.onnx"),
        ("tokenizer.json", "holds no tokenizer.json"),
    ],
)
@pytest.mark.parametrize("where", [VARIABLE, "option model"])
def test_a_folder_that_holds_no_encoder_is_refused_with_the_fix(
    fake: Any, broken: str, told: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fake.folder / "elsewhere" if broken == "no folder" else fake.folder
    if broken != "no folder":
        (fake.folder / broken).unlink()
    monkeypatch.setenv(VARIABLE, str(folder) if where == VARIABLE else "/elsewhere")
    with pytest.raises(UsageError, match=told) as caught:
        files_of(str(folder))
    assert str(folder) in caught.value.message
    assert caught.value.where == where
    assert f"set {where} to" in caught.value.hint
    assert "model.onnx" in caught.value.hint
    assert "tokenizer.json" in caught.value.hint


@pytest.mark.parametrize("folder", ["~who is that/x", "/" + "a" * 5_000, "/nowhere/\0"])
def test_a_folder_that_cannot_be_looked_up_is_refused_with_the_fix(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autorec_text.files.stated_folder", lambda: folder)  # an environment holds no zero byte
    with pytest.raises(UsageError, match="is no folder") as caught:
        files_of(folder)
    assert repr(folder[:200]) in caught.value.message
    assert len(caught.value.message) < 400
    assert caught.value.where == VARIABLE
    assert "tokenizer.json" in caught.value.hint


def test_files_that_are_damaged_are_refused_by_name(fake: Any) -> None:
    for name, damaged, told in (
        ("model.onnx", b"{}", "the graph cannot be read"),
        ("model.onnx", b"", "cannot load the graph"),
        ("tokenizer.json", b"{}", "tokenizer cannot be read"),
    ):
        kept = (fake.folder / name).read_bytes()
        (fake.folder / name).write_bytes(damaged)
        with pytest.raises(UsageError, match=told) as caught:
            Encoder(files_of(str(fake.folder)), 32)
        assert caught.value.where == str(fake.folder / name)
        (fake.folder / name).write_bytes(kept)


def test_a_graph_that_is_no_sentence_encoder_is_refused(make_encoder: Callable[..., Any]) -> None:
    for name, options, told in (
        ("floats", {"kind": TensorProto.FLOAT, "inputs": ("attention_mask",)}, "cannot load|inputs"),
        ("pixels", {"inputs": ("input_ids", "pixel_values")}, "pixel_values"),
        ("number", {"rank": 1}, "none is"),
        ("scores", {"named": "logits"}, "logits.*none is"),
        ("vocabulary", {"hidden": 4_097}, "at most 4,096 dimensions"),
    ):
        with pytest.raises(UsageError, match=told):
            Encoder(files_of(str(make_encoder(name, **options).folder)), 32)


def test_beside_scores_the_vectors_are_taken(make_encoder: Callable[..., Any]) -> None:
    one, both = make_encoder("one", pooled=True), make_encoder("both", named="logits", pooled=True)
    found = [Encoder(files_of(str(fake.folder)), 32).encode(TEXTS) for fake in (one, both)]
    assert found[0].tobytes() == found[1].tobytes()
    assert Encoder(files_of(str(make_encoder("widest", hidden=4_096).folder)), 32).width == 4_096


def test_a_tokenizer_of_another_model_is_refused(fake: Any) -> None:
    import tokenizers

    words = {"moon": 5, "[UNK]": 1, "far": 400}
    tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]")).save(str(fake.folder / "tokenizer.json"))
    with pytest.raises(UsageError, match="cannot read 1 texts of 1 tokens") as caught:
        Encoder(files_of(str(fake.folder)), 32).encode(["far"])
    assert "tokenizer.json" in caught.value.hint


def test_a_tokenizer_that_cannot_read_a_text_is_named(fake: Any) -> None:
    import tokenizers

    tokenizers.Tokenizer(tokenizers.models.WordLevel({"moon": 5})).save(str(fake.folder / "tokenizer.json"))  # no word for the unknown
    with pytest.raises(UsageError, match="cannot read a text") as caught:
        Encoder(files_of(str(fake.folder)), 32)
    assert caught.value.where == str(fake.folder / "tokenizer.json")


def test_without_the_package_the_extra_is_named(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(PluginError) as caught:
        Encoder(files_of(str(fake.folder)), 32)
    assert 'pip install "autorec-kernel[text]"' in caught.value.hint


def test_nothing_asks_a_network(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a socket was asked for")

    monkeypatch.setattr("socket.socket", refused)
    monkeypatch.setattr("socket.getaddrinfo", refused)
    assert np.isfinite(Encoder(files_of(str(Path(fake.folder))), 32).encode(TEXTS)).all()
