"""Two-tower retrievers: a network on user features and one on item features, whose inner product is the score."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Bool, Choice, Float
from autorec_zoo.factorisation import pairwise, user_and_item
from autorec_zoo.parts import Columns, Rates, Units, mlp
from autorec_zoo.sequential.common import Objective, objective
from autorec_zoo.tower_parts import TaskTypes, in_batch, label_losses, read, side_features, tower, varied

__all__ = ["Dssm", "FaceBookDssm", "YouTubeDnn"]

_Final = Annotated[int, Choice(16, 32, 64, 128), Field(ge=1)]
_Field = Annotated[int, Choice(16, 32, 64), Field(ge=1)]
_Negatives = Annotated[int, Choice(1, 4, 16), Field(ge=1)]
_Temperature = Annotated[float, Float(0.02, 1.0, log=True), Field(gt=0)]
_ENDS = {"user": "user", "item": "items"}


class _Towers:
    """A retriever of two towers."""

    role: ClassVar[Literal["retriever", "ranker"]] = "retriever"
    tasks: ClassVar[tuple[str, ...]] = ("recommend",)

    def __init__(self, config: Any) -> None:
        self.config = config

    def _users(self, features: FeatureSchema) -> list[Node]:
        """Return the user tower `user`."""
        user_and_item(features, "a two-tower model")
        return tower("user", side_features(features, self.config.user_features, "user", "user_features"), self.config)

    def _items(self, features: FeatureSchema) -> list[Node]:
        """Return the item tower `items` over the catalogue."""
        return tower("items", side_features(features, self.config.item_features, "item", "item_features"), self.config, axis="item")

    def _chosen(self, features: FeatureSchema) -> list[Node]:
        """Return the item tower once more, `chosen`, on the items of the batch's rows."""
        return tower("chosen", side_features(features, self.config.item_features, "item", "item_features"), self.config, shares="items")


class Dssm(_Towers):
    """Two networks, one vector a user and one an item, and their inner product (Huang et al. 2013).

    Vectors of items depend on item features only, so they are computed ahead. Trained on the softmax over the items of a batch,
    corrected for how often each comes into one (Yi et al. 2019), or pairwise against items drawn from the catalogue.
    """

    class Config(ComponentConfig):
        """Options."""

        user_features: Columns = Field(None, description="Features of the user tower; None = all steady ones of users.")
        item_features: Columns = Field(None, description="Features of the item tower; None = all steady ones of items.")
        hidden_units: Units = Field((128,), description="Layers of each tower.")
        dropout_rates: Rates = Field((), description="Share of units dropped after each layer while training; the last repeats.")
        embedding_dim: _Final = Field(64, description="Width of the final vectors.")
        field_dim: _Field = Field(64, description="Width of a feature's embedding.")
        loss: Annotated[Literal["in-batch", "bpr"], Choice("in-batch", "bpr")] = Field("in-batch", description="Training objective.")
        negatives: _Negatives = Field(4, description="Negatives a pair (bpr).")
        cosine: Annotated[bool, Bool()] = Field(True, description="Whether both vectors have unit length: scores are cosines.")
        temperature: _Temperature = Field(0.1, description="Cosines are divided by it.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The data has no user or no item column, or a named feature is not of that side.
        """
        nodes = [*self._users(features), *self._items(features)]
        if self.config.loss == "bpr":
            nodes += pairwise("user", "items", self.config.negatives)
        else:
            nodes += [*self._chosen(features), *in_batch(features)]
        return Architecture(tuple(nodes), _ENDS, "row")


class FaceBookDssm(_Towers):
    """Two towers that learn several things at once: which item was chosen, and each label of the row (a click, a purchase, a rating).

    The main task is recall, on the softmax over a batch's items or pairwise (a smooth form of the ranking loss of Huang et al. 2020,
    section 2.2). The other tasks have a head each on the product of both vectors, in training only: they shape the vectors. They are
    learned on all training rows, recall on those with a target. Under the task `recommend` these are the same: rows that are no
    positives are dropped when the data is opened, and its first label is 1 on all others. So what is learned there are further labels of
    chosen items, such as bought or not, or stars (`--role click=label --role buy=label`). Labels that never differ are left out; where
    no other is there, the model is that of `dssm` and is refused, unless `num_tasks=0` asks for it.
    """

    class Config(ComponentConfig):
        """Options."""

        user_features: Columns = Field(None, description="Features of the user tower; None = all steady ones of users.")
        item_features: Columns = Field(None, description="Features of the item tower; None = all steady ones of items.")
        hidden_units: Units = Field((128,), description="Layers of each tower.")
        num_tasks: int | None = Field(
            None, ge=0, description="Labels beside recall, in the data's order; 0 = none; not given = all that differ."
        )
        task_types: TaskTypes = Field(None, description="What each of them is; none named = what the label's values say.")
        dropout_rates: Rates = Field((), description="Share of units dropped after each layer while training; the last repeats.")
        embedding_dim: _Final = Field(64, description="Width of the final vectors.")
        field_dim: _Field = Field(64, description="Width of a feature's embedding.")
        pairwise: Annotated[bool, Bool()] = Field(False, description="Whether recall is learned from pairs instead of batches.")
        negatives: _Negatives = Field(4, description="Negatives a pair (pairwise).")
        task_weight: Annotated[float, Float(0.01, 1.0, log=True)] = Field(0.1, gt=0, description="Weight of each label's loss.")
        cosine: Annotated[bool, Bool()] = Field(True, description="Whether both vectors have unit length: scores are cosines.")
        temperature: _Temperature = Field(0.1, description="Cosines are divided by it.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The data has no user or no item column, a named feature is not of that side, or a label is missing.
        """
        config = self.config
        if config.num_tasks is None and not varied(features):
            told = f"no label besides {', '.join(features.tasks) or 'none'} varies; zoo/dssm is the same model"
            raise ContractError(told, hint="name a further label, --role COLUMN=label, or ask for recall alone with num_tasks=0")
        nodes = [*self._users(features), *self._items(features)]
        nodes += pairwise("user", "items", config.negatives) if config.pairwise else [*self._chosen(features), *in_batch(features)]
        losses = label_losses(features, config.num_tasks, config.task_types, "joint", config.task_weight)
        if losses and config.pairwise:  # where the target is missing, the label is still one of the row's own item
            nodes += tower("row", side_features(features, config.item_features, "item", "item_features"), config, shares="items")
        if losses:
            nodes += [Node("joint", "blocks/product", ("user", "row" if config.pairwise else "chosen")), *losses]
        return Architecture(tuple(nodes), _ENDS, "row")


class YouTubeDnn(_Towers):
    """The mean of the newest items and the user's other features through a network, scored against item embeddings.

    (Covington et al. 2016, section 3.) The history reads the embeddings that it is scored against. An item's vector is the sum of the
    embeddings of its features, its id among them. Trained on the softmax over the catalogue, sampled where that is large; with a
    weight on the labels, each of them has a head of its own in training.
    """

    class Config(ComponentConfig):
        """Options."""

        user_features: Columns = Field(None, description="Features of users, histories among them; None = all.")
        item_features: Columns = Field(None, description="Categorical features of items; None = all.")
        hidden_units: Units = Field((128,), description="Layers of the network.")
        embedding_dim: _Final = Field(64, description="Width of embeddings and of the final vectors.")
        max_seq_len: Annotated[int, Choice(10, 20, 50, 100)] = Field(50, ge=1, description="Newest items of a history that are read.")
        dropout_rates: Rates = Field((), description="Share of units dropped after each layer while training; the last repeats.")
        loss: Annotated[Objective, Choice("auto", "softmax", "sampled")] = Field("auto", description="Training objective.")
        task_weight: Annotated[float, Float(0.0, 1.0)] = Field(0.0, ge=0, description="Weight of each label's loss; 0 = recall only.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The data has no user or no item column, or a named feature is not of that side.
        """
        config = self.config
        user_and_item(features, "YouTubeDNN")
        nodes = [*self._catalogue(features), *self._network(features)]
        nodes += objective(config.loss, "user", "items", features, config.embedding_dim)
        losses = label_losses(features, None, None, "joint", config.task_weight) if config.task_weight else []
        if losses:
            fields = {name: value for name, value in nodes[0].config.items() if name != "axis"}
            nodes += [
                Node("chosen_fields", "@fields", config=fields),
                Node("chosen", "blocks/sum-fields", ("chosen_fields",)),
                Node("joint", "blocks/product", ("user", "chosen")),
                *losses,
            ]
        return Architecture(tuple(nodes), _ENDS, "row")

    def _catalogue(self, features: FeatureSchema) -> list[Node]:
        found = side_features(features, self.config.item_features, "item", "item_features")
        columns = [feature.name for feature in found if feature.kind in ("id", "bag")]
        if not columns or (self.config.item_features is not None and len(columns) < len(found)):
            raise ContractError("an item of YouTubeDNN is the sum of embeddings: item_features takes categorical features only")
        fields = {"columns": columns, "width": self.config.embedding_dim, "axis": "item"}
        return [Node("item_fields", "@fields", config=fields), Node("items", "blocks/sum-fields", ("item_fields",))]

    def _network(self, features: FeatureSchema) -> list[Node]:
        config = self.config
        found = side_features(features, config.user_features, "user", "user_features")
        histories = [feature for feature in found if feature.kind == "history"]
        nodes: list[Node] = []
        for feature in histories:
            steps = {"columns": [feature.name], "index": True, "length": config.max_seq_len}
            name = f"history_of_{feature.name}"
            nodes += [Node(name, "@history", config=steps), Node(f"mean_of_{feature.name}", "blocks/bag", (name, "items"))]
        others = [feature for feature in found if feature.kind != "history"]
        parts = [node.id for node in nodes if node.block == "blocks/bag"]
        if others:
            nodes += read("user", others, config.embedding_dim)
            parts.append(nodes[-1].id)
        nodes += [
            Node("user_inputs", "blocks/concat", tuple(parts)),
            mlp("user_deep", "user_inputs", config.hidden_units, config.dropout_rates),
            Node("user", "blocks/linear", ("user_deep",), {"width": config.embedding_dim}),
        ]
        return nodes
