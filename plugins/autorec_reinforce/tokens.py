"""Genotypes as sequences of tokens: one token a scalar gene, a length and its items for a list, at most 16 bins a number."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from autorec_kernel.space import Bool, Choice, Domain, Float, Floats, Genotype, Int, Ints, SearchSpace, Value

if TYPE_CHECKING:
    import numpy as np

__all__ = ["BINS", "Choose", "Slot", "decode", "encode", "slots_of"]

BINS = 16
Choose = Callable[[str], int]  # slot name -> token


@dataclass(frozen=True, slots=True)
class Slot:
    """One decision of the controller: a scalar domain cut into tokens.

    Options and small ints are one token a value. Larger ranges are cut into bins of equal width on the domain's scale; the token
    of a value is its bin, and a value drawn from a token lies in that bin.
    """

    domain: Choice | Bool | Int | Float
    lows: tuple[int | float, ...] = ()  # first member of every bin, ascending; empty for options

    @classmethod
    def of(cls, domain: Domain) -> Slot:
        """Cut a scalar domain."""
        if isinstance(domain, (Choice, Bool)):
            return cls(domain)
        if not isinstance(domain, (Int, Float)):
            raise TypeError(f"a slot holds a scalar domain, not {domain!r}")
        if domain.size <= BINS:
            return cls(domain, tuple(domain.values()))
        return cls(domain, tuple(sorted({domain.at(k / BINS) for k in range(BINS)})))

    @property
    def tokens(self) -> int:
        """Return how many tokens there are."""
        return len(self.lows) or int(self.domain.size)

    def token(self, value: Value) -> int:
        """Return the token of a member."""
        if isinstance(self.domain, Choice):
            return self.domain.index(value)
        if isinstance(self.domain, Bool):
            return int(cast(bool, value))
        return max(0, bisect.bisect_right(self.lows, cast(float, value)) - 1)

    def value(self, token: int, rng: np.random.Generator) -> Value:
        """Draw a member of a token's bin, evenly; options have one member each."""
        if isinstance(self.domain, (Choice, Bool)):
            return tuple(self.domain.values())[token]
        low, last = self.lows[token], token + 1 == len(self.lows)
        if isinstance(self.domain, Int):
            high = self.domain.high + 1 if last else int(self.lows[token + 1])
            return int(low) + self.domain.step * int(rng.integers(-(-(high - int(low)) // self.domain.step)))
        below = self.domain.high if last else math.nextafter(self.lows[token + 1], -math.inf)
        drawn = self.domain.at((token + float(rng.random())) / BINS) if len(self.lows) > 1 else float(low)
        return min(max(drawn, float(low)), below)


def slots_of(space: SearchSpace) -> dict[str, Slot]:
    """Return every slot by name, in the order of the space; a list has `name#length` and one slot an item, `name#0` first."""
    slots: dict[str, Slot] = {}
    for name, gene in space.items():
        domain = gene.domain
        if isinstance(domain, (Ints, Floats)):
            slots[f"{name}#length"] = Slot.of(domain.length)
            slots.update({f"{name}#{i}": Slot.of(domain.item) for i in range(domain.length.high)})
        else:
            slots[name] = Slot.of(domain)
    return slots


def encode(space: SearchSpace, slots: Mapping[str, Slot], genotype: Genotype) -> tuple[tuple[str, int], ...]:
    """Return the (slot, token) pairs of a canonical genotype, in the order in which the controller decides."""
    pairs: list[tuple[str, int]] = []
    for name, value in genotype.items():
        if isinstance(space[name].domain, (Ints, Floats)):
            items = cast("tuple[int | float, ...]", value)
            pairs.append((f"{name}#length", slots[f"{name}#length"].token(len(items))))
            pairs += [(f"{name}#{i}", slots[f"{name}#{i}"].token(item)) for i, item in enumerate(items)]
        else:
            pairs.append((name, slots[name].token(value)))
    return tuple(pairs)


def decode(space: SearchSpace, slots: Mapping[str, Slot], choose: Choose, rng: np.random.Generator) -> Genotype:
    """Walk the space in order, ask `choose` for the token of every slot that is reached, and draw the values within the bins."""
    values: dict[str, Value] = {}
    for name, gene in space.items():
        if not space.awake(gene, values):
            continue
        if isinstance(gene.domain, (Ints, Floats)):
            length = cast(int, slots[f"{name}#length"].value(choose(f"{name}#length"), rng))
            items = [slots[f"{name}#{i}"].value(choose(f"{name}#{i}"), rng) for i in range(length)]
            values[name] = cast("tuple[int | float, ...]", tuple(items))
        else:
            values[name] = slots[name].value(choose(name), rng)
    return Genotype(values)
