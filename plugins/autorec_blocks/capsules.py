"""Several interests of one history: capsules found by routing, their projection, and the mix that a target picks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.base import Activation, Block, activation
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Choice, Float, Int

__all__ = ["Capsules", "LabelAttention", "ProjectFields", "squash"]

Steps = tuple[torch.Tensor, torch.Tensor]  # float32 [A, L, E], mask bool [A, L]
_START = 4.0  # fresh embeddings are short, and squash makes short capsules shorter still: routing would begin with nothing to tell apart


class Capsules(Block):
    """Interests of a history by dynamic routing of its steps (Sabour et al. 2017).

    Each iteration takes w_ij = softmax over interests j of the logits b_ij, c_j = Σ_i w_ij S_ij e_i, u_j = squash(c_j) and adds
    u_j · S_ij e_i to b_ij. No gradient runs through the logits; S learns in the last iteration. `one` matrix S for all pairs of step i
    and interest j: the logits start as fixed random numbers, without which all interests would be the same (MIND, Li et al. 2019,
    equations 5 to 8). A matrix for `each` pair: the logits start at zero (ComiRec-DR, Cen et al. 2020, section 3.2).
    First logits and matrices belong to a step's age, so padding changes nothing; steps older than `max_length` share the last ones.
    """

    class Config(ComponentConfig):
        """Options."""

        interests: Annotated[int, Int(2, 8), Field(ge=1)] = Field(4, description="Interests of a history.")
        iterations: Annotated[int, Int(1, 4), Field(ge=1)] = Field(3, description="Rounds of routing.")
        width: Annotated[int, Int(8, 256, log=True), Field(ge=1)] = Field(64, description="Dimension of an interest.")
        max_length: int = Field(50, ge=1, description="Ages that have first logits or matrices of their own.")
        maps: Annotated[Literal["one", "each"], Choice("one", "each")] = Field(
            "one", description="One matrix for all pairs of step and interest, or one for each pair of age and interest."
        )
        seed: int = Field(0, ge=0, description="Of the first logits.")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return one field an interest.

        Raises:
            ContractError: The steps are row indices.
        """
        if specs[0].index:
            raise ContractError("capsules take steps of numbers, got row indices")
        return TensorSpec("fields", specs[0].axis, fields=self.config.interests, width=self.config.width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, L, E] to [A, interests, width], each of length below 1; zeros for an empty history."""
        kind = _OwnMaps if self.config.maps == "each" else _Capsules
        return kind(specs[0].width, self.config)


class _Capsules(nn.Module):
    logits: torch.Tensor

    def __init__(self, width: int, config: Capsules.Config) -> None:
        super().__init__()
        self.iterations = config.iterations
        self.map = nn.Linear(width, config.width, bias=False)
        nn.init.normal_(self.map.weight, 0.0, _START / width**0.5)
        drawn = np.random.default_rng(config.seed).standard_normal((config.max_length, config.interests))
        self.register_buffer("logits", torch.from_numpy(drawn.astype(np.float32)))

    def forward(self, value: Steps) -> torch.Tensor:
        steps, mask = value
        mapped = self.map(steps.masked_fill(~mask.unsqueeze(-1), 0.0))
        logits = nn.functional.embedding(_ages(mask).clamp(0, self.logits.shape[0] - 1), self.logits)  # [A, L, K]
        fixed = mapped.detach()
        for _ in range(self.iterations - 1):
            interests = _interests(logits, fixed, mask)
            logits = logits + fixed @ interests.transpose(1, 2)
        return _interests(logits, mapped, mask)


def _interests(logits: torch.Tensor, mapped: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return [A, K, D] from logits [A, L, K] and mapped steps [A, L, D]."""
    weights = torch.softmax(logits, 2).masked_fill(~mask.unsqueeze(-1), 0.0)
    return squash(weights.transpose(1, 2) @ mapped)


def _ages(mask: torch.Tensor) -> torch.Tensor:
    """Return int64 [A, L], how many real steps follow a real one."""
    flags = mask.to(torch.int64)
    return flags.sum(1, keepdim=True) - flags.cumsum(1)


class _OwnMaps(nn.Module):
    """Routing through a matrix a pair of age and interest, on steps ordered by age: a product an age, not a matrix a step."""

    def __init__(self, width: int, config: Capsules.Config) -> None:
        super().__init__()
        self.iterations, self.interests = config.iterations, config.interests
        self.maps = nn.Parameter(torch.empty(config.max_length, width, config.interests * config.width))
        nn.init.normal_(self.maps, 0.0, _START / width**0.5)

    def forward(self, value: Steps) -> torch.Tensor:
        steps, mask = value
        age, places = _ages(mask), torch.arange(mask.shape[1], device=mask.device)
        ordered = ((age.unsqueeze(1) == places[:, None]) & mask.unsqueeze(1)).to(steps.dtype)  # [A, L, L], of each age at most one step
        aged = (ordered @ steps.masked_fill(~mask.unsqueeze(-1), 0.0)).transpose(0, 1)  # [L, A, E], the newest first
        maps = self.maps.index_select(0, places.clamp(max=self.maps.shape[0] - 1))
        products = aged @ maps
        mapped = products.view(*products.shape[:2], self.interests, -1).permute(1, 2, 0, 3)  # [A, K, L, D]
        real, fixed = (places < mask.sum(1, keepdim=True)).unsqueeze(1), mapped.detach()
        logits = fixed.new_zeros(fixed.shape[:3])
        for _ in range(self.iterations - 1):
            logits = logits + (fixed @ _own_interests(logits, fixed, real).unsqueeze(-1)).squeeze(-1)
        return _own_interests(logits, mapped, real)


def _own_interests(logits: torch.Tensor, mapped: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Return [A, K, D] from logits [A, K, L], steps as each interest sees them [A, K, L, D] and which are real [A, 1, L]."""
    weights = torch.softmax(logits, 1).masked_fill(~real, 0.0)
    return squash((weights.unsqueeze(2) @ mapped).squeeze(2))


def squash(vectors: torch.Tensor) -> torch.Tensor:
    """Return vectors of the same direction and of length n²/(1 + n²) < 1, n = their length (Sabour et al. 2017, equation 1)."""
    squares = vectors.square().sum(-1, keepdim=True)
    return vectors * squares.clamp(min=1e-12).sqrt() / (1 + squares)


class ProjectFields(Block):
    """A network of one hidden layer applied to every field alike; no hidden layer with `hidden` = 0."""

    class Config(ComponentConfig):
        """Options."""

        width: Annotated[int, Int(4, 512, log=True), Field(ge=1)] = Field(64, description="Output dimension of a field.")
        hidden: int = Field(0, ge=0, description="Units of the hidden layer; 0 = none.")
        activation: Activation = Field("relu", description="Function after the hidden layer.")
        bias: bool = Field(True, description="Whether offsets are learned.")

    accepts: ClassVar[tuple[Port, ...]] = ("fields",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return as many fields, of `width`.

        Raises:
            ContractError: The fields are row indices.
        """
        if specs[0].index:
            raise ContractError("fields of numbers are projected, got row indices")
        return TensorSpec("fields", specs[0].axis, fields=specs[0].fields, width=self.config.width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, F, E] to [A, F, width]."""
        config, before = self.config, self.config.hidden or specs[0].width
        last = nn.Linear(before, config.width, bias=config.bias)
        if not config.hidden:
            return last
        return nn.Sequential(nn.Linear(specs[0].width, before, bias=config.bias), activation(config.activation, before), last)


class LabelAttention(Block):
    """The mix of fields that a target picks: softmax over fields of (field · target)^p (Li et al. 2019, section 4.4).

    The power keeps the sign; a large p prefers the best field, and `hard`, its limit, takes that alone (Cen et al. 2020).
    """

    class Config(ComponentConfig):
        """Options."""

        power: Annotated[float, Float(1.0, 4.0)] = Field(1.0, ge=1, description="p: how sharply the best field is preferred.")
        hard: bool = Field(False, description="Whether the best field is taken alone, whatever p is.")

    accepts: ClassVar[tuple[Port, ...]] = ("fields", "vector")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector as wide as a field.

        Raises:
            ContractError: Fields and target differ in width, or one of them is a row index.
        """
        if specs[0].width != specs[1].width or specs[0].index or specs[1].index:
            raise ContractError(f"a target of width {specs[1].width} cannot pick among fields of width {specs[0].width}")
        return TensorSpec("vector", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: fields [A, F, E] and target [A, E] to [A, E]."""
        return _BestField() if self.config.hard else _LabelAttention(self.config.power)


class _LabelAttention(nn.Module):
    def __init__(self, power: float) -> None:
        super().__init__()
        self.power = power

    def forward(self, fields: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        scores = (fields * target.unsqueeze(1)).sum(2)
        raised = scores if self.power == 1.0 else torch.sign(scores) * scores.abs().pow(self.power)
        return (torch.softmax(raised, 1).unsqueeze(-1) * fields).sum(1)


class _BestField(nn.Module):
    def forward(self, fields: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        best = (fields * target.unsqueeze(1)).sum(2).argmax(1)
        return fields.gather(1, best[:, None, None].expand(-1, 1, fields.shape[2])).squeeze(1)
