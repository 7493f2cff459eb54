"""Fusions of two retrievers as points of the search space: which two, how each is built, and how much the first one weighs."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from autorec_fusion.solved import Part, Solved, history_of, solved_scores
from autorec_fusion.trained import Objective, Trained, Unit, trained_scores
from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice, Float, Int, Under

__all__ = ["LearnedFusion", "PopularFusion", "SolvedFusion"]

_FORMS = ("auto", "directed", "ease", "neighbours")
_FIRST = "A closed form; auto = directed where events have an order, else ease."
_DECAYS = Choice(0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98)
_Form = Annotated[Solved, Choice(*_FORMS)]
_Penalty = Annotated[float, Float(1.0, 1000.0, log=True), Field(gt=0, le=1e9), Under("first", "auto", "directed", "ease")]
_Decay = Annotated[float, _DECAYS, Field(gt=0, lt=1)]
_Backward = Annotated[float, Float(0.0, 1.0), Field(ge=0, le=1), Under("first", "auto", "directed")]


class _Fusion:
    Config: ClassVar[type[ComponentConfig]]
    role: ClassVar[Literal["retriever", "ranker"]] = "retriever"
    tasks: ClassVar[tuple[str, ...]] = ("recommend",)

    def __init__(self, config: ComponentConfig) -> None:
        self.config: Any = config

    def _part(self, name: str, kind: Solved, length: int = 0) -> Part:
        config = self.config
        return Part(name, kind, config.regularisation, config.decay, config.backward, length)


class SolvedFusion(_Fusion):
    """Two closed forms: neither learns by gradient, so that the fusion is as quick as they are."""

    class Config(ComponentConfig):
        """Options."""

        first: _Form = Field("auto", description=_FIRST)
        second: Annotated[Solved, Choice("factors", "ease", "neighbours")] = Field("factors", description="The other closed form.")
        weight: Annotated[float, Float(0.1, 10.0, log=True), Field(gt=0)] = Field(
            2.0, description="Weight of the first one's scores where the second one's weigh 1, both standardised."
        )
        regularisation: _Penalty = Field(50.0, description="Ridge penalty λ of both, where they have one.")
        decay: _Decay = Field(0.8, description="Weight of a step relative to the one after it; without an order nothing fades.")
        backward: _Backward = Field(0.2, description="Weight of a pair of items against its direction (directed).")

    config: Config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no history, or no order and the directed form is asked for.
        """
        parts = (self._part("first", self.config.first), self._part("second", self.config.second))
        nodes = [node for part in parts for node in solved_scores(part, features)]
        blend = Node("score", "fusion/blend-scores", ("first", "second"), {"weights": (self.config.weight, 1.0)})
        return Architecture((*nodes, blend), {"score": "score"}, "user")


class PopularFusion(SolvedFusion):
    """A closed form and popularity: what a short history says little of is ordered by what most users choose."""

    class Config(SolvedFusion.Config):
        """Options."""

        second: Annotated[Solved, Choice("popularity")] = Field("popularity", description="The other part.")
        weight: Annotated[float, Float(0.1, 10.0, log=True), Field(gt=0)] = Field(
            2.0, description="Weight of the first one's scores where popularity weighs 1, both standardised."
        )

    config: Config


class LearnedFusion(_Fusion):
    """A closed form and a sequence model: the closed form counts which items go together, the model reads the order of a history.

    The model is trained by itself, on what follows each step; what stops its training is how well the fusion ranks. The closed form
    takes no part in the loss: it has seen the events that the model is trained on, and would look surer of them than it is of new ones.
    Its scores are standardised, the model's stay logits: while it has learned little, these are all alike, and the closed form decides.
    """

    class Config(ComponentConfig):
        """Options."""

        first: _Form = Field("auto", description=_FIRST)
        second: Annotated[Unit, Choice("convolution", "attention", "gru", "lstm")] = Field(
            "convolution", description="What the sequence model reads a history with."
        )
        weight: Annotated[float, Float(0.05, 5.0, log=True), Field(gt=0)] = Field(
            0.6, description="What a deviation of the first one's scores adds to the logits of the second one."
        )
        regularisation: _Penalty = Field(50.0, description="Ridge penalty λ of the closed form.")
        decay: _Decay = Field(0.8, description="Weight of a step relative to the one after it, in the closed form.")
        backward: _Backward = Field(0.2, description="Weight of a pair of items against its direction (directed).")
        width: Annotated[int, Choice(32, 48, 64, 96, 128), Field(ge=1)] = Field(64, description="Dimension of an item vector.")
        states: Annotated[int, Choice(32, 64, 96, 128, 192), Field(ge=1), Under("second", "gru", "lstm")] = Field(
            64, description="Width of a recurrent state."
        )
        layers: Annotated[int, Int(1, 3), Field(ge=1)] = Field(2, description="Layers of the sequence model.")
        heads: Annotated[int, Choice(1, 2, 4), Field(ge=1), Under("second", "attention")] = Field(2, description="Attention heads.")
        kernel: Annotated[int, Int(2, 5), Field(ge=1), Under("second", "convolution")] = Field(
            3, description="Steps that one convolution reads."
        )
        length: Annotated[int, Choice(20, 50, 100, 200), Field(ge=1)] = Field(20, description="Newest steps that both read.")
        dropout: Annotated[float, Float(0.0, 0.6), Field(ge=0, lt=1)] = Field(0.2, description="Share of units dropped while training.")
        loss: Annotated[Objective, Choice("auto", "softmax", "sampled", "gbce")] = Field(
            "auto", description="Training objective; auto = full softmax, or sampled where that takes too long."
        )
        temperature: Annotated[float, Float(0.1, 1.0, log=True), Field(gt=0), Under("loss", "auto", "softmax", "sampled")] = Field(
            0.3, description="What scores are divided by in a softmax: below 1 the first epochs teach more."
        )

    config: Config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no history, or events have no order.
        """
        config, source = self.config, history_of(features, ordered=True)
        trained = Trained(
            "second",
            config.second,
            config.width,
            config.states,
            config.layers,
            config.heads,
            config.kernel,
            config.length,
            config.dropout,
            config.loss,
            config.temperature,
        )
        first = solved_scores(self._part("first", config.first, config.length), features)
        scale = 1.0 / trained.temperature if trained.has_temperature else 1.0
        blending = {"weights": (config.weight, scale), "standardise": (True, False)}
        blend = Node("score", "fusion/blend-scores", ("first", "second"), blending)
        return Architecture((*first, *trained_scores(trained, source, features), blend), {"score": "score"}, "sequence")
