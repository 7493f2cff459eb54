"""`Reranked`: retriever, shortlist and ranker as one graph, and so as one point of the search space and one file of a bundle."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from autorec_cascade.first import First, Form, first_scores, history_of
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Bool, Choice, Float, Under

__all__ = ["Reranked"]

_DECAYS = Choice(0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98)
_Penalty = Annotated[float, Float(1.0, 1000.0, log=True), Field(gt=0, le=1e9), Under("first", "auto", "directed", "ease")]


class Reranked:
    """A closed form names the best few of the catalogue, and a trained block puts these in order.

    The first stage counts which items go together, on all items, in no time; the second one looks at a hundred, each with what it is (its
    id and the static columns of items), what of the history resembles it, and what one or two closed forms say of it. It learns from
    events that these were solved without, or it would trust them more than they are worth on new ones (Wolpert 1992).
    """

    class Config(ComponentConfig):
        """Options."""

        first: Annotated[Form, Choice("auto", "directed", "ease", "neighbours", "factors")] = Field(
            "auto", description="The first stage; auto = directed where events have an order, else ease."
        )
        second: Annotated[Literal["none", "factors", "ease", "neighbours"], Choice("none", "factors", "ease", "neighbours")] = Field(
            "factors", description="A closed form whose scores of the shortlist are read beside those of the first."
        )
        regularisation: _Penalty = Field(50.0, description="Ridge penalty λ of the closed forms.")
        decay: Annotated[float, _DECAYS, Field(gt=0, lt=1)] = Field(
            0.8, description="Weight of a step relative to the one after it, in the closed forms."
        )
        backward: Annotated[float, Float(0.0, 1.0), Field(ge=0, le=1), Under("first", "auto", "directed")] = Field(
            0.2, description="Weight of a pair of items against its direction (directed)."
        )
        count: Annotated[int, Choice(50, 100, 200), Field(ge=2)] = Field(100, description="Items that the first stage hands over.")
        seen: Annotated[bool, Bool()] = Field(
            False, description="Whether items of the history may be shortlisted, for data in which users choose items again."
        )
        width: Annotated[int, Choice(16, 32, 64), Field(ge=1)] = Field(32, description="Dimension of an item vector.")
        length: Annotated[int, Choice(10, 20, 50), Field(ge=1)] = Field(20, description="Newest steps that candidates look at.")
        hidden: Annotated[int, Choice(32, 64, 128), Field(ge=1)] = Field(
            64, description="Width of the ranker's first layer; the second one has half of it."
        )
        dropout: Annotated[float, Float(0.0, 0.6), Field(ge=0, lt=1)] = Field(0.2, description="Share of units dropped while training.")

    role: ClassVar[Literal["retriever", "ranker"]] = "retriever"
    tasks: ClassVar[tuple[str, ...]] = ("recommend",)

    def __init__(self, config: Config) -> None:
        self.config = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no history, no item column, or no order and the directed form is asked for.
        """
        config, source = self.config, history_of(features)
        if not features.item or features.items < 3:
            raise ContractError("a cascade ranks the items of a column, two of them at least")
        forms = self._forms(features)
        every = Node("history", "@history", config={"columns": [source.name], "index": True})
        newest = Node("newest", "@history", config={"columns": [source.name], "index": True, "length": config.length})
        hidden = {"hidden_dims": (config.hidden, max(1, config.hidden // 2)), "dropout": config.dropout, "ordered": features.ordered}
        scores = [nodes[-1].id for nodes in forms]
        nodes = (
            every,
            *(node for nodes in forms for node in nodes),
            Node("shortlist", "cascade/shortlist", ("first", "history"), {"count": config.count, "seen": config.seen}),
            *_described("item", features, config.width),
            Node("candidates", "blocks/lookup", ("item", "shortlist")),
            newest,
            Node("steps", "cascade/step-rows", ("newest", "item")),
            *_user(features, config.width),
            Node("reranked", "cascade/rerank", ("candidates", "steps", "user", "shortlist", *scores), hidden),
            Node("score", "cascade/merge", ("first", "shortlist", "reranked")),
            Node("target", "@target", config={"index": True}),
            Node("loss", "cascade/list-loss", ("reranked", "shortlist", "target")),
        )
        return Architecture(nodes, {"score": "score"}, "row")

    def _forms(self, features: FeatureSchema) -> list[list[Node]]:
        """Return the nodes of each closed form, the first stage first."""
        config = self.config
        options = (config.regularisation, config.decay, config.backward)
        parts = [First("first", config.first, *options)]
        if config.second != "none":
            parts.append(First("second", config.second, *options))
        return [first_scores(part, "history", features) for part in parts]


def _user(features: FeatureSchema, width: int) -> list[Node]:
    """Return the user's vector `user`: the mean of the newest steps, and what side columns tell of users."""
    mean = Node("mean", "blocks/pool", ("steps",), {"mode": "mean"})
    side = _described("told", features, width, axis="user")
    return [mean, *side, Node("user", "blocks/add", ("mean", *(["told"] if side else [])))]


def _described(name: str, features: FeatureSchema, width: int, axis: Literal["item", "user"] = "item") -> list[Node]:
    """Return nodes whose last one, `name`, is the sum of what the static columns of a side tell, each embedded or mapped to `width`.

    Items are described by their id as well, one row an item of the catalogue; users, one a batch row, by their columns alone: who reads an
    id has nothing to say of strangers.
    """
    found = [one for one in features.of("id", "bag", "numeric", depends=(axis,)) if not one.dynamic and one.name != features.user]
    place = {"axis": axis} if axis == "item" else {}
    fields = [one.name for one in found if one.kind != "numeric"]
    numbers = [one.name for one in found if one.kind == "numeric"]
    nodes, parts = list[Node](), list[str]()
    if fields:
        embedded = {"columns": fields, "width": width, **place}
        parts.append(f"{name}_embedded")
        nodes += [Node(f"{name}_fields", "@fields", config=embedded), Node(parts[-1], "blocks/sum-fields", (f"{name}_fields",))]
    if numbers:
        parts.append(f"{name}_mapped")
        nodes += [
            Node(f"{name}_numbers", "@numeric", config={"columns": numbers, **place}),
            Node(parts[-1], "blocks/linear", (f"{name}_numbers",), {"width": width}),
        ]
    return [*nodes, Node(name, "blocks/add", tuple(parts))] if parts else []
