from __future__ import annotations

from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from autorec_kernel.data import open_dataset
from autorec_kernel.features import FeatureSet, build_features, feature_ops
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import Entities, Network, build_network
from autorec_kernel.models.batches import to_tensors
from autorec_kernel.models.sources import EmbeddingStore
from autorec_training.carry import Carried, _placed, _tables, carry, followed, grown
from autorec_training.rows import RowMap

START = 1_600_000_000
RANKERS = ("zoo/deepfm", "zoo/din", "zoo/dcnv2")
RETRIEVERS = ("zoo/mf", "zoo/sasrec", "zoo/multvae", "zoo/dssm")


def log(seed: int, users: int, items: int, events: int, name: str) -> pd.DataFrame:
    """Return events of people and items whose ids hold a name; no pair twice, one event a minute."""
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(users * items)[:events]
    frame = pd.DataFrame({"user_id": pairs // items, "item_id": pairs % items}).map(lambda number: f"{name}{number:02d}")
    return frame.assign(rating=1.0 + pairs % 5, timestamp=START + 60 * np.arange(events), part="train")


OLD = log(1, 12, 15, 120, "n")
NEW = pd.concat([log(2, 9, 8, 60, "a"), OLD, log(3, 9, 8, 60, "z")], ignore_index=True)  # rows of all old ids have moved


def features_of(kernel: Kernel, frame: pd.DataFrame, task: str, plan: list[dict[str, Any]] | None = None) -> FeatureSet:
    end = {"user_id": "n00", "rating": 4.0, "timestamp": 2 * START}
    ends = pd.DataFrame([{**end, "item_id": "n00", "part": "valid"}, {**end, "item_id": "n01", "part": "test"}])
    whole, kinds = pd.concat([frame, ends], ignore_index=True), {"user_id": "id", "item_id": "id"}
    dataset = open_dataset(whole, task=task, protocol="given", roles={"part": "split"}, kinds=kinds, kernel=kernel)
    return build_features(dataset, feature_ops(kernel, "raw"), task=task, plan=plan)


def network_of(kernel: Kernel, name: str, features: FeatureSet, seed: int) -> tuple[Network, Callable[[Collection[str]], Network]]:
    """Return the network of a blueprint's defaults with every parameter moved away from its start, and what builds it larger."""

    def built(schema: Any) -> Network:
        graph = kernel.create("blueprint", name).architecture(schema)
        return build_network(graph, schema, kernel, seed=seed)

    network = built(features.schema).attach(Entities(features))
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.empty_like(parameter).normal_(0.0, 0.1, generator=random))
    network.settle()
    return network.eval(), lambda names: built(grown(features.schema, names))


def carried(kernel: Kernel, name: str, before: FeatureSet, after: FeatureSet, **options: Any) -> tuple[Network, Network, Carried]:
    old, _ = network_of(kernel, name, before, 1)
    new, rebuilt = network_of(kernel, name, after, 2)
    names = {feature.vocabulary for feature in after.schema.features if feature.vocabulary} | {"user", "item"}
    told = carry(old, before, new, after, followed(new, names, rebuilt), **options)
    return old, new.eval(), told


def texts(features: FeatureSet, entity: str) -> list[str]:
    known = getattr(features.entities, f"{entity}s")
    return list(known.ids_of(np.arange(known.size)))


def answers(network: Network, features: FeatureSet) -> dict[tuple[str, str], torch.Tensor]:
    """Return what the network says at each training row of the old log: a prediction, or the scores of the old items by text."""
    rows = features.rows("train")
    users, items = (texts(features, entity) for entity in ("user", "item"))
    kept = [row for row in rows if users[features.user_rows[row]].startswith("n")]
    inputs = to_tensors(features.row_inputs(network.inputs, np.array(kept)), "cpu")
    with torch.no_grad():
        found = network.train(False).serve(*(inputs[name] for name in network.inputs))[0]
        if network.serving_outputs == ("user",):
            vectors = network.item_vectors()
            found = torch.einsum("bd,nd->bn", found, vectors) if found.dim() == 2 else torch.einsum("bkd,nd->bkn", found, vectors).amax(1)
    old = [number for number, text in enumerate(items) if text.startswith("n")]
    found = found[:, sorted(old, key=items.__getitem__)] if found.dim() == 2 else found[:, None]
    return {(users[features.user_rows[row]], items[features.item_rows[row]]): value for row, value in zip(kept, found, strict=True)}


@pytest.mark.parametrize("name", [*RANKERS, *RETRIEVERS])
def test_a_network_says_of_old_ids_what_it_said_wherever_their_rows_are_now(kernel: Kernel, name: str) -> None:
    task = "rate" if name in RANKERS else "recommend"
    before = features_of(kernel, OLD, task)
    after = features_of(kernel, NEW, task, plan=before.plan)
    old, new, told = carried(kernel, name, before, after)
    was, now = answers(old, before), answers(new, after)
    assert was.keys() == now.keys() and len(was) == 120 and told.left == {}
    for pair, value in was.items():
        torch.testing.assert_close(now[pair], value, rtol=1e-4, atol=1e-5)
    assert told.vocabularies["item"] == {"carried": 15, "new": 16, "gone": 0}


def test_a_new_id_is_what_the_run_took_strangers_for(kernel: Kernel) -> None:
    before = features_of(kernel, OLD, "rate")
    after = features_of(kernel, NEW, "rate", plan=before.plan)
    old, new, _ = carried(kernel, "zoo/deepfm", before, after)
    (was,), (now,) = ([store.table("item") for store in one.embedding_stores() if store.weight.shape[1] > 1] for one in (old, new))
    for row, text in enumerate(texts(after, "item")):
        expected = was[texts(before, "item").index(text)] if text.startswith("n") else was[0]
        torch.testing.assert_close(now[row], expected, rtol=0, atol=0)
    torch.testing.assert_close(was[0], was[1:].mean(0))


def test_places_of_new_items_in_a_layer_have_the_mean_of_the_old_and_gone_ones_vanish(kernel: Kernel) -> None:
    before = features_of(kernel, NEW, "recommend")
    after = features_of(kernel, pd.concat([OLD, log(5, 9, 4, 30, "y")], ignore_index=True), "recommend", plan=before.plan)
    old, new, told = carried(kernel, "zoo/multvae", before, after)
    assert told.vocabularies["item"] == {"carried": 15, "new": 4, "gone": 16} and told.left == {}
    items = before.schema.items, after.schema.items
    pairs = [(value, new.state_dict()[key]) for key, value in old.state_dict().items() if items[0] in value.shape]
    assert pairs
    for was, now in pairs:
        along = list(was.shape).index(items[0])
        assert now.shape[along] == items[1]
        mean = was.narrow(along, 1, items[0] - 1).mean(along)
        for row, text in enumerate(texts(after, "item")):
            expected = was.select(along, texts(before, "item").index(text)) if not text.startswith("y") else mean
            torch.testing.assert_close(now.select(along, row), expected)


def test_what_is_unrelated_starts_as_a_stranger(kernel: Kernel) -> None:
    before = features_of(kernel, OLD, "rate")
    old, new, told = carried(kernel, "zoo/deepfm", before, before, unrelated=("user",))
    assert told.vocabularies == {"item": {"carried": 15, "new": 0, "gone": 0}, "user": {"carried": 0, "new": 12, "gone": 12}}
    assert "mean something else" in told.left["user"]
    was, now = (one.embedding_stores()[-1] for one in (old, new))
    assert torch.equal(now.table("item"), was.table("item"))
    assert torch.equal(now.table("user"), was.table("user")[:1].expand_as(now.table("user")))


def test_a_tensor_of_another_shape_is_left_and_that_is_said(kernel: Kernel) -> None:
    before = features_of(kernel, OLD, "rate")
    wider = OLD.assign(shop=["x", "y", "z"] * 40)
    after = features_of(kernel, wider, "rate")
    _, new, told = carried(kernel, "zoo/deepfm", before, after)
    assert told.left["shop of width 16"] == "the run has no embedding table of that vocabulary and width"
    assert any("its shape was" in reason for reason in told.left.values())
    assert all(torch.isfinite(value).all() for value in new.state_dict().values() if value.is_floating_point())


def test_a_row_behind_the_end_of_a_shorter_table_starts_as_a_stranger() -> None:
    old, new = EmbeddingStore({"item": 3}, 2), EmbeddingStore({"item": 4}, 2)
    found = RowMap(np.array([0, 3, 1, 2]), 3, 4)
    networks = [SimpleNamespace(embedding_stores=lambda store=store: [store]) for store in (old, new)]
    with torch.no_grad():
        _tables(*networks, lambda _: found, Carried())  # type: ignore[arg-type]
    assert torch.equal(new.table("item"), old.table("item")[[0, 0, 1, 2]])


def test_a_dimension_with_places_of_two_vocabularies_is_left() -> None:
    found = RowMap(np.array([0, 2, 1]), 2, 3)
    value = torch.arange(3.0)
    assert torch.equal(_placed(value, 0, 3, ("item",), lambda _: found), value[[0, 2, 1]])
    assert _placed(value, 0, 3, ("item", "user"), lambda _: found) is None
