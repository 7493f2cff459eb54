"""Feature sets of the tiny data set, schemas of many shapes, and small trained networks made of the kit's own blocks (torch)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target, Trainer
from autorec_kernel.records.architecture import Architecture, Node, Port, TensorSpec
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.records.model import CompressedModel, TrainedModel
from autorec_kernel.testing.data import tiny_dataset

__all__ = ["TARGET", "context_for", "example_models", "features_for", "sample_of", "schemas"]

TARGET = Target("device", threads=1)


@lru_cache(maxsize=8)
def features_for(kernel: Any, task: str, clock: str = "time", further: bool = False) -> Any:
    """Return the feature set of the tiny data set, made by the kernel's feature ops (those that are installed when it has none).

    Those tagged `raw` or `plain` will do: a few features of every kind, static and point-in-time.

    Args:
        further: Whether it has three labels, `rating`, `like` and `minutes`, instead of the first alone.
    """
    from autorec_kernel.features import build_features, feature_ops
    from autorec_kernel.kernel import Kernel

    able = kernel if any(row.usable for row in kernel.components("feature-op")) else Kernel.discover()
    few = {**feature_ops(able, "raw"), **feature_ops(able, "plain")}
    return build_features(tiny_dataset(task=task, clock=clock, further=further), few or able, task=task, history_length=8)  # type: ignore[arg-type]


def schemas() -> dict[str, FeatureSchema]:
    """Return schemas of many shapes by name: with and without history, side features, numbers, users and items."""
    user = Feature("user_id", "id", "user", vocabulary="user", size=21, family="id", op="kit/id")
    item = Feature("item_id", "id", "item", vocabulary="item", size=31, family="id", op="kit/id")
    history = Feature("history", "history", "user", True, "item", 31, family="history", op="kit/history")
    side = (
        Feature("device", "id", "row", vocabulary="device", size=4, family="id", op="kit/id"),
        Feature("genres", "bag", "item", vocabulary="genres", size=7, width=4, family="bag", op="kit/bag"),
        Feature("price", "numeric", "row", width=2, family="scale", op="kit/scale"),
        Feature("item.count", "numeric", "item", True, family="aggregate", op="kit/counts"),
    )
    sizes: dict[str, Any] = {"user": "user_id", "item": "item_id", "users": 21, "items": 31, "events": 400}
    click: dict[str, Any] = {"tasks": {"rating": "logit"}, "label_range": {"rating": (0.0, 1.0, 0.4)}}
    rate: dict[str, Any] = {"tasks": {"rating": "value"}, "label_range": {"rating": (1.0, 5.0, 3.2)}}
    several: dict[str, Any] = {
        "tasks": {"rating": "logit", "like": "logit", "minutes": "value"},
        "label_range": {"rating": (0.0, 1.0, 0.4), "like": (0.0, 1.0, 0.2), "minutes": (0.5, 40.0, 12.0)},
        "implies": {"rating": (), "like": ("rating",)},
    }
    mixed: dict[str, Any] = {"tasks": rate["tasks"] | {"like": "logit"}, "label_range": several["label_range"] | rate["label_range"]}
    return {
        "recommend, everything": FeatureSchema((user, item, history, *side), **sizes, **click, ordered=True),
        "recommend, ids only": FeatureSchema((user, item), **sizes, **click),
        "recommend, unordered history": FeatureSchema((user, item, history), **sizes, **click),
        "click, everything": FeatureSchema((user, item, history, *side), **sizes, **click, ordered=True),
        "click, ids only": FeatureSchema((user, item), **sizes, **click),
        "click, no users or items": FeatureSchema(side[:3], **click, events=400),
        "rate, everything": FeatureSchema((user, item, history, *side), **sizes, **rate, ordered=True),
        "rate, ids only": FeatureSchema((user, item), **sizes, **rate),
        "click, three labels": FeatureSchema((user, item, history, *side), **sizes, **several, ordered=True),
        "rate, two labels": FeatureSchema((user, item, *side), **sizes, **mixed),
        "recommend, three labels": FeatureSchema((user, item, history, *side), **sizes, **several, ordered=True),
    }


def example_models(kernel: Any, form: str) -> list[tuple[TrainedModel, CompressedModel, Any]]:
    """Return (trained model, what a compressor of this form is handed, feature set): a ranker and a factorised retriever."""
    found = []
    for task, architecture in _SHAPES.items():
        features = features_for(kernel, task)
        graph = architecture(features.schema)
        network = _network(graph, features.schema, kernel)
        trained = TrainedModel(graph, network, features.schema, {"auc": 0.5}, {"seed": 0})
        found.append((trained, CompressedModel(trained, _exported(kernel, task) if form == "graph" else None), features))
    return found


def sample_of(network: Any, features: Any, rows: int = 16) -> dict[str, np.ndarray]:
    """Return serving inputs of a few training rows."""
    inputs: dict[str, np.ndarray] = features.row_inputs(network.inputs, np.arange(rows))
    return inputs


def context_for(model: TrainedModel, features: Any, seed: int = 0, kernel: Any = None) -> CompressionContext:
    """Return a context whose `fine_tune` hands back a copy with slightly moved weights.

    Args:
        kernel: What networks are built with; its trainer has no time, and the model itself teaches. None = there is no trainer.
    """
    trainer = None if kernel is None else Trainer(_WithKit(kernel), _no_time, lambda: [(model, 1.0)])  # type: ignore[arg-type]
    sample, rng = sample_of(model.module, features), np.random.default_rng(seed)
    return CompressionContext(TARGET, features, sample, _fine_tuned, rng, {"bytes": 1e6}, trainer)


def _no_time(genotype: Mapping[str, Any], features: Any, epochs: int, begin: Any = None) -> TrainedModel:
    raise NotApplicable(f"{epochs} epochs are more than the time that is left")


def _fine_tuned(model: TrainedModel, share: float) -> TrainedModel:
    module = copy.deepcopy(model.module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.0 - 1e-3 * share)
    return TrainedModel(model.architecture, module.eval(), model.features, model.metrics, model.provenance)


def _ranker(schema: FeatureSchema) -> Architecture:
    ids = [feature.name for feature in schema.features if feature.kind in ("id", "bag")]
    task = next(iter(schema.tasks))
    nodes = (
        Node("fields", "@fields", config={"columns": ids, "width": 16}),
        Node("deep", "kit/tower", ("fields",), {"hidden_dims": [96, 64]}),
        Node("head", "kit/scorer", ("deep",), {"task": task}),
    )
    return Architecture(nodes, {task: "head"})


def _retriever(schema: FeatureSchema) -> Architecture:
    nodes = (
        Node("user", "@fields", config={"columns": [schema.user], "width": 32}),
        Node("tower", "kit/tower", ("user",), {"hidden_dims": [96, 32]}),
        Node("items", "@table", config={"table": schema[schema.item].vocabulary, "width": 32}),
    )
    return Architecture(nodes, {"user": "tower", "item": "items"})


_SHAPES = {"click": _ranker, "recommend": _retriever}


def _network(architecture: Architecture, schema: FeatureSchema, kernel: Any) -> Any:
    from autorec_kernel.models import build_network

    return build_network(architecture, schema, _WithKit(kernel), seed=3).eval()  # type: ignore[arg-type]


@lru_cache(maxsize=8)
def _exported(kernel: Any, task: str) -> bytes:
    from autorec_kernel.deploy.export import export_onnx

    features = features_for(kernel, task)
    network = _network(_SHAPES[task](features.schema), features.schema, kernel)
    return export_onnx(network, sample_of(network, features))


class _WithKit:
    """A kernel that knows the kit's two blocks as well."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel

    def create(self, kind: str, name: str, /, **config: Any) -> Any:
        own = {"kit/tower": Tower, "kit/scorer": Scorer}.get(name)
        return own(own.Config(**config)) if own is not None else self.kernel.create(kind, name, **config)


class Tower:
    """Affine layers with a rectifier between them."""

    class Config(ComponentConfig):
        """Options."""

        hidden_dims: tuple[int, ...] = Field((32,), description="Width of each layer.")

    accepts: ClassVar[tuple[Port, ...]] = ("vector",)
    variadic: ClassVar[bool] = False
    arrays: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Config) -> None:
        self.config = config

    def output(self, specs: Any) -> TensorSpec:
        """Return a vector as wide as the last layer."""
        return TensorSpec("vector", specs[0].axis, width=self.config.hidden_dims[-1])

    def build(self, specs: Any, arrays: Mapping[str, np.ndarray]) -> torch.nn.Module:
        """Return the layers."""
        sizes = (specs[0].width, *self.config.hidden_dims)
        layers = [part for a, b in pairwise(sizes) for part in (torch.nn.Linear(a, b), torch.nn.ReLU())]
        return torch.nn.Sequential(*layers[:-1])


class Scorer(Tower):
    """One affine layer to the logit of a task."""

    class Config(ComponentConfig):
        """Options."""

        task: str = Field("label", description="Name of the predicted label.")

    def __init__(self, config: Any) -> None:
        self.config = config

    def output(self, specs: Any) -> TensorSpec:
        """Return scores [A, 1]."""
        return TensorSpec("scores", specs[0].axis, tasks=(self.config.task,), link="logit")  # type: ignore[attr-defined]

    def build(self, specs: Any, arrays: Mapping[str, np.ndarray]) -> torch.nn.Module:
        """Return the layer."""
        return torch.nn.Linear(specs[0].width, 1)
