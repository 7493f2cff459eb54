"""The free retriever: a cell over history and user, whose leaves are one user vector; items are a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from autorec_cells.cell import leaves_of
from autorec_cells.draft import HISTORY, Draft, Value
from autorec_cells.joining import as_vector
from autorec_cells.objectives import OBJECTIVES, Objective, loss_of
from autorec_cells.options import config_of
from autorec_cells.sentence import cell_of
from autorec_cells.sequences import SEQUENCES
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.space import Choice, Under

__all__ = ["FreeRetriever"]

_SOURCES = (HISTORY, "user")
_OPERATIONS = ("mlp", "cross", "product", "gate", "experts", *SEQUENCES)  # those among fields have none to relate here
_Width = Annotated[int, Choice(16, 32, 48, 64, 96, 128), Field(ge=1)]


class _Options(ComponentConfig):
    """Options that belong to no node."""

    cell: str = Field("", description="The nodes in their readable form, such as [LSTM-64, MLP-128]; it takes the place of their options.")
    item_dim: _Width = Field(64, description="Width of an item's embedding and of the user vector.")
    user: Annotated[Literal["history", "own", "profile"], Choice("history", "own", "profile")] = Field(
        "history", description="What nodes read as `user`: the history alone, an embedding of the user, or what is known of the user."
    )
    user_dim: Annotated[int, Choice(4, 8, 16, 32, 64, 128), Field(ge=1), Under("user", "own", "profile")] = Field(
        16, description="Embedding width of the user, or of what is known of the user."
    )
    length: Annotated[int, Choice(10, 20, 50), Field(ge=1)] = Field(50, description="Newest steps of the history that are read.")
    dropout: Annotated[float, Choice(0.0, 0.1, 0.2, 0.4), Field(ge=0, lt=1)] = Field(
        0.2, description="Share of units dropped while training."
    )
    reading: Annotated[Literal["last", "mean", "max"], Choice("last", "mean", "max")] = Field(
        "last", description="How a leaf that is a history becomes one vector, where not every step is a user vector."
    )
    loss: Annotated[Objective, Choice(*OBJECTIVES)] = Field(
        "auto", description="Training objective; auto = full softmax where it is quick."
    )


class FreeRetriever:
    """Up to six blocks over the history, the user's own vector and what is known of the user; every block fits behind every other one.

    Where every node looks back alone, each step of a history is a user vector that is trained on the next one, as in SASRec (Kang and
    McAuley 2018), which the cell is by default; otherwise each event is a row of its own, with the history before it.
    """

    role: ClassVar[Literal["retriever", "ranker"]] = "retriever"
    tasks: ClassVar[tuple[str, ...]] = ("recommend",)
    Config: ClassVar[type[ComponentConfig]] = config_of(
        "FreeRetrieverConfig", _SOURCES, _OPERATIONS, {"nodes": 1, "operation_1": "attention", "left_1": HISTORY, "layers_1": 2}, _Options
    )

    def __init__(self, config: ComponentConfig) -> None:
        self.config: Any = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is neither an ordered history nor a user.
            UsageError: `cell` is no cell.
        """
        config = cell_of(self.config)
        draft = Draft()
        sources = _Sources(draft, features, config)
        leaves = leaves_of(draft, config, sources, causal=True, widest=128)
        vocabulary = sources.items
        items = draft.source("items", "@table", {"table": vocabulary, "width": config.item_dim}, "table", config.item_dim)
        if all(leaf.stepwise for leaf in leaves):
            states = _states(draft, leaves, config.item_dim)
            user = draft.add("blocks/pool", [states], {"mode": "last"}, port="vector", width=states.width)
            loss = loss_of(draft, config.loss, states, items, features)
            return draft.finish({"user": user, "item": items}, [loss], "sequence")
        user = _user(draft, leaves, config)
        loss = loss_of(draft, config.loss, _suited(draft, user, vocabulary), items, features)
        return draft.finish({"user": user, "item": items}, [loss], "row")


class _Sources:
    """The sources of a retriever's cell; one that the data lacks is replaced by another.

    Raises:
        ContractError: There is neither an ordered history nor a user.
    """

    def __init__(self, draft: Draft, features: FeatureSchema, config: Any) -> None:
        self._draft, self._config = draft, config
        self._history = next(iter(features.of("history")), None) if features.ordered else None
        self._user = features[features.user] if features.user else None
        known = [feature for feature in features.of("id", "bag", "numeric", depends=("user",)) if feature.name != features.user]
        self._ids, self._numbers = [f for f in known if f.kind != "numeric"], [f for f in known if f.kind == "numeric"]
        if self._history is None and self._user is None:
            raise ContractError("a retriever's cell reads an ordered history (a time or position column and the history op) or a user")
        if self._history is None and not features.item:
            raise ContractError("a retriever's cell scores items, and the data has no item column")
        self.items = self._history.vocabulary if self._history else features[features.item].vocabulary

    def __call__(self, name: str) -> Value:
        """Return the value of a source."""
        wanted = self._config.user if name != HISTORY else HISTORY
        if wanted == "profile" and (self._ids or self._numbers):
            return self._profile()
        if self._history is not None and (wanted == HISTORY or self._user is None):
            return self._steps(self._history)
        return self._own()

    def _steps(self, history: Any) -> Value:
        config = {"columns": [history.name], "width": self._config.item_dim, "length": self._config.length}
        return self._draft.source(HISTORY, "@history", config, "sequence", self._config.item_dim)

    def _own(self) -> Value:
        user: Feature = self._user  # type: ignore[assignment]
        config = {"columns": [user.name], "width": self._config.user_dim}
        return self._draft.source("user", "@fields", config, "fields", self._config.user_dim, 1)

    def _profile(self) -> Value:
        width = self._config.user_dim
        parts = []
        if self._ids:
            config = {"columns": [feature.name for feature in self._ids], "width": width}
            parts.append(self._draft.source("profile", "@fields", config, "fields", width, len(self._ids)))
        if self._numbers:
            config = {"columns": [feature.name for feature in self._numbers]}
            parts.append(self._draft.source("numbers", "@numeric", config, "vector", sum(feature.width for feature in self._numbers)))
        if len(parts) == 1:
            return parts[0]
        return self._draft.add("blocks/concat", parts, port="vector", width=sum(part.flat for part in parts))


def _states(draft: Draft, leaves: Sequence[Value], width: int) -> Value:
    """Return one sequence of user vectors, one a step."""
    joined = leaves[0] if len(leaves) == 1 else draft.add("blocks/join-steps", leaves, port="sequence", width=sum(v.width for v in leaves))
    if joined.width == width:
        return joined
    return draft.add("blocks/project-steps", [joined], {"width": width}, port="sequence", width=width)


def _user(draft: Draft, leaves: Sequence[Value], config: Any) -> Value:
    """Return the user's vector, or vectors: a single leaf of several fields is several interests."""
    width = config.item_dim
    if len(leaves) == 1 and leaves[0].port == "fields" and leaves[0].fields > 1:
        fields = {"width": width, "hidden": 4 * leaves[0].width}
        return draft.add("blocks/project-fields", leaves, fields, port="fields", width=width, fields=leaves[0].fields)
    vectors = [_read(draft, leaf, config.reading) for leaf in leaves]
    joined = as_vector(draft, vectors)
    if joined.width == width and len(vectors) > 1:
        return joined
    return draft.add("blocks/linear", [joined], {"width": width}, port="vector", width=width)


def _read(draft: Draft, leaf: Value, reading: str) -> Value:
    """Return a leaf as a vector; the last step stands for all of them in histories alone."""
    if leaf.port != "sequence":
        return leaf
    mode = reading if leaf.line.startswith(HISTORY) or reading != "last" else "mean"
    return draft.add("blocks/pool", [leaf], {"mode": mode}, port="vector", width=leaf.width)


def _suited(draft: Draft, user: Value, vocabulary: str) -> Value:
    """Return what is trained: the user's vector, or the mix of interests that suits the wanted item (Li et al. 2019)."""
    if user.port != "fields":
        return user
    wanted = draft.source("wanted", "@target", {"table": vocabulary, "width": user.width}, "vector", user.width)
    return draft.add("blocks/label-attention", [user, wanted], {"power": 1.0}, port="vector", width=user.width)
