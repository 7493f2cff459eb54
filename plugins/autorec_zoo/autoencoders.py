"""Autoencoders: AutoRec reconstructs ratings of whole items or whole users, MultVAE the items of a whole history."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice, Float, Int, Ints
from autorec_zoo.parts import Rate, mlp

__all__ = ["ItemAutoRec", "MultDae", "MultVae", "UserAutoRec"]

_Hidden = Annotated[int, Int(64, 800, log=True), Field(ge=1)]
_Latent = Annotated[int, Int(16, 256, log=True), Field(ge=1)]
_Hiding = Annotated[float, Float(0.0, 0.8), Field(ge=0, lt=1)]

Function = Literal["identity", "sigmoid", "tanh", "relu", "gelu", "silu"]
_Inner = Annotated[Function, Choice("sigmoid", "tanh", "relu", "gelu", "silu", "identity")]
_Outer = Annotated[Function, Choice("identity", "sigmoid")]
_Layers = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Ints(Int(50, 1000, log=True), length=Int(1, 3))]


class _AutoRec:
    """Reconstruct the known ratings of one entity: h(r) = f(W g(V r + μ) + b), unknown ones 0 in r and left out of the loss.

    (Sedhain et al. 2015, equations 1 and 2; the penalty λ is the trainer's weight decay.) A rating is answered by the entity's hidden
    state, which depends on training ratings only and is stored, and the other side's row of W. A known rating of 0 counts in the loss.
    """

    class Config(ComponentConfig):
        """Options."""

        hidden_units: _Layers = Field((500,), min_length=1, description="Width of each hidden layer.")
        encoder_activation: _Inner = Field("sigmoid", description="The function g after each hidden layer.")
        decoder_activation: _Outer = Field("identity", description="The function f; a bounded one is spread over the range of the labels.")
        dropout: Rate = Field(0.05, description="Share of hidden units dropped while training.")
        initial_scale: float = Field(0.01, gt=0, description="Standard deviation of the first weights V and W.")

    side: ClassVar[Literal["user", "item"]]
    role: ClassVar[Literal["retriever", "ranker"]] = "ranker"
    tasks: ClassVar[tuple[str, ...]] = ("rate",)

    def __init__(self, config: Config) -> None:
        self.config = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no user, no item, or no label.
        """
        if not (features.user and features.item and features.tasks):
            raise ContractError("AutoRec reconstructs a matrix of ratings: it needs a user, an item and a label column")
        label = next(iter(features.tasks))
        output = _spread(self.config.decoder_activation, features.label_range[label])
        own, other = (features.item, features.user) if self.side == "item" else (features.user, features.item)
        nodes = (
            *self._encoder(),
            *self._decoder("user" if self.side == "item" else "item", features),
            Node("ratings_again", "blocks/table-scores", ("code", "decoder"), output),
            Node("observed", "@interactions", config={"of": self.side, "observed": True}),
            Node("loss", "blocks/masked-mse-loss", ("ratings_again", "ratings", "observed")),
            Node("own", "@fields", config={"columns": [own], "index": True}),
            Node("other", "@fields", config={"columns": [other], "index": True}),
            Node("own_code", "blocks/lookup", ("code", "own")),
            Node("other_weights", "blocks/lookup", ("decoder", "other")),
            Node("product", "blocks/product", ("own_code", "other_weights"), {"reduce": True}),
            Node("rating", "blocks/activate", ("product",), {"bias": False, **output}),
            Node("score", "blocks/sum-scores", ("rating",), {"task": label, "link": "value", "learned": False}),
        )
        return Architecture(nodes, {label: "score"}, self.side)

    def _encoder(self) -> list[Node]:
        config = self.config
        function = {"activation": config.encoder_activation}
        first = {"width": config.hidden_units[0], "bias": False, "initial_scale": config.initial_scale}
        nodes = [
            Node("ratings", "@interactions", config={"of": self.side}),
            Node("weighed", "blocks/linear", ("ratings",), first),
            Node("hidden", "blocks/activate", ("weighed",), {**function, "dropout": config.dropout}),
        ]
        if len(config.hidden_units) > 1:
            nodes.append(mlp("deeper", "hidden", config.hidden_units[1:], (config.dropout,), config.encoder_activation))
        return [*nodes, Node("code", "blocks/append-one", (nodes[-1].id,))]

    def _decoder(self, side: str, features: FeatureSchema) -> list[Node]:
        table = {"side": side, "rows": features.users if side == "user" else features.items}
        weights = {**table, "width": self.config.hidden_units[-1], "initial_scale": self.config.initial_scale}
        return [
            Node("weights", "blocks/table", (), weights),
            Node("offsets", "blocks/table", (), {**table, "width": 1, "initial_scale": 0.0}),
            Node("decoder", "blocks/join-tables", ("weights", "offsets")),
        ]


class ItemAutoRec(_AutoRec):
    """I-AutoRec: a row of the autoencoder is an item with the ratings of all users (Sedhain et al. 2015)."""

    side: ClassVar[Literal["user", "item"]] = "item"


class UserAutoRec(_AutoRec):
    """U-AutoRec: a row of the autoencoder is a user with the ratings of all items (Sedhain et al. 2015)."""

    side: ClassVar[Literal["user", "item"]] = "user"


def _spread(function: str, bounds: tuple[float, float, float]) -> dict[str, Any]:
    """Return the options of an output function: one with values in (0, 1) or (-1, 1) is stretched over the labels' range."""
    low, high, _ = bounds
    half = (high - low) / 2 or 1.0
    stretched = {"sigmoid": (2 * half, low), "tanh": (half, low + half)}
    scale, shift = stretched.get(function, (1.0, 0.0))
    return {"activation": function, "scale": scale, "shift": shift}


class _Bag(ABC):
    """What both autoencoders of histories share: the catalogue is scored by a decoder of a code of the history as a bag."""

    role: ClassVar[Literal["retriever", "ranker"]] = "retriever"
    tasks: ClassVar[tuple[str, ...]] = ("recommend",)

    def __init__(self, config: ComponentConfig) -> None:
        self.config: Any = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no history feature.
        """
        histories = features.of("history")
        if not histories:
            raise ContractError("it reads a history as a bag of items: enable the history op, and name a user and an item column")
        code, losses = self._code()
        nodes = (*self._reader(histories[0].name, histories[0].vocabulary), *code, *self._decoder(histories[0].vocabulary), *losses)
        return Architecture(nodes, {"user": "user", "item": "items"}, "user")

    @abstractmethod
    def _code(self) -> tuple[list[Node], list[Node]]:
        """Return the nodes from `hidden` to `code`, and losses beside the likelihood."""

    def _reader(self, history: str, items: str) -> list[Node]:
        config = self.config
        return [
            Node("history", "@history", config={"columns": [history], "index": True}),
            Node("read", "@table", config={"table": items, "width": config.hidden_dim, "tag": "encoder"}),
            Node("bag", "blocks/bag", ("history", "read"), {"power": 0.5, "dropout": config.dropout}),
            Node("hidden", "blocks/activate", ("bag",), {"activation": "tanh"}),
        ]

    def _decoder(self, items: str) -> list[Node]:
        config = self.config
        return [
            mlp("decoded", "code", (config.hidden_dim,), (), "tanh"),
            Node("user", "blocks/append-one", ("decoded",)),
            Node("weights", "@table", config={"table": items, "width": config.hidden_dim, "tag": "decoder"}),
            Node("offsets", "@table", config={"table": items, "width": 1, "tag": "decoder"}),
            Node("items", "blocks/join-tables", ("weights", "offsets")),
            Node("target", "@target", config={"index": True}),
            Node("likelihood", "blocks/multinomial-loss", ("user", "items", "target")),
        ]


class MultVae(_Bag):
    """Variational autoencoder with a multinomial likelihood over the catalogue (Liang et al. 2018).

    The history as a bag of unit length, thinned out in training, gives mean and log-variance of a Gaussian code; the decoder's last layer
    scores every item. The loss is the multinomial one plus β times the divergence of the code from the standard normal distribution;
    with `anneal_steps` β grows linearly to its value over that many updates (section 2.2.2).
    """

    class Config(ComponentConfig):
        """Options."""

        hidden_dim: _Hidden = Field(600, description="Width of the hidden layers on both sides.")
        latent_dim: _Latent = Field(200, description="Width of the code.")
        dropout: _Hiding = Field(0.5, description="Share of the history's items hidden while training.")
        beta: Annotated[float, Float(0.01, 1.0, log=True), Field(gt=0)] = Field(0.2, description="Weight β of the divergence.")
        anneal_steps: int = Field(0, ge=0, description="Updates over which β grows from 0; 0 = it is the same from the start.")

    def _code(self) -> tuple[list[Node], list[Node]]:
        width = {"width": self.config.latent_dim}
        nodes = [
            Node("mean", "blocks/linear", ("hidden",), width),
            Node("log_variance", "blocks/linear", ("hidden",), width),
            Node("code", "blocks/reparameterise", ("mean", "log_variance")),
        ]
        weight = {"weight": self.config.beta} | ({"anneal_steps": self.config.anneal_steps} if self.config.anneal_steps else {})
        return nodes, [Node("divergence", "blocks/kl-loss", ("mean", "log_variance"), weight)]


class MultDae(_Bag):
    """Denoising autoencoder with a multinomial likelihood over the catalogue: nothing in the code is drawn (Liang et al. 2018)."""

    class Config(ComponentConfig):
        """Options."""

        hidden_dim: _Hidden = Field(600, description="Width of the hidden layers on both sides.")
        latent_dim: _Latent = Field(200, description="Width of the code.")
        dropout: _Hiding = Field(0.5, description="Share of the history's items hidden while training.")

    def _code(self) -> tuple[list[Node], list[Node]]:
        return [mlp("code", "hidden", (self.config.latent_dim,), (), "tanh")], []
