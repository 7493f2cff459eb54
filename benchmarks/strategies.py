"""Search strategies against random search on synthetic problems: regret, planted optimum, profiles, front and time per proposal."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from autorec_kernel.kernel import Kernel
from autorec_kernel.records.trial import Trial
from autorec_kernel.space import Choice, Float, Gene, Genotype, Int, SearchSpace
from autorec_search.landscape import Landscape

IDS = {
    "tpe": "bayes/tpe",
    "evolution": "evolution/evolution",
    "reinforce": "reinforce/controller",
    "progressive": "progressive/progressive",
}
TRIALS = {"tpe": 100, "evolution": 100, "reinforce": 200, "progressive": 100}
PLANTED = SearchSpace(Gene(f"g{i}", Choice(*"abcd"), "a") for i in range(5))  # 1,024 points
NUMBERS = SearchSpace([*(Gene(f"x{i}", Float(0, 1), 0.5) for i in range(5)), Gene("n", Int(1, 256, log=True), 8)])
DEPTH = 6
LAYERS = [
    gene
    for i in range(DEPTH)
    for gene in (
        Gene(f"{i}.op", Choice(*range(5)), 0, "depth", tuple(range(i + 1, DEPTH + 1))),
        Gene(f"{i}.width", Int(1, 8), 4, "depth", tuple(range(i + 1, DEPTH + 1))),
    )
]
KINDS = ((Int(1, 256, log=True), 8), (Float(0, 1), 0.5), (Choice(*range(5)), 2), (Choice("a", "b"), "a"))
WIDE = SearchSpace(Gene(f"g{i}", *KINDS[i % 4]) for i in range(60))
BRANCHES = SearchSpace(
    [
        Gene("model", Choice(*"abcd"), "a"),
        *(Gene(f"g{i}", *KINDS[i % 4]) for i in range(11)),
        *(Gene(f"{model}.g{i}", *KINDS[i % 4], "model", (model,)) for model in "abcd" for i in range(12)),
    ]
)
GROWING = SearchSpace([Gene("depth", Int(1, DEPTH), 1), *LAYERS])

Objectives = Callable[[Genotype], tuple[float, ...]]


@cache
def kernel() -> Kernel:
    """Return the installed plugins."""
    return Kernel.discover()


def strategy(name: str, **options: Any) -> Any:
    """Return a strategy by its short name."""
    return kernel().create("search-strategy", IDS.get(name, name), **options)


def search(chosen: Any, space: SearchSpace, objectives: Objectives, trials: int, seed: int, batch: int = 4) -> list[Trial]:
    """Run the strategy for `trials` null evaluations, in batches as the search loop's."""
    session = chosen.start(space, ("value", "second")[: len(objectives(space.default()))])
    told: list[Trial] = []
    while len(told) < trials:
        asked = session.ask(min(batch, trials - len(told)), np.random.default_rng((seed, len(told))))
        now = [
            Trial(number, p.genotype, "complete", objectives(p.genotype), parent=p.parent, reason=p.reason)
            for number, p in enumerate(asked, len(told))
        ]
        session.tell(now)
        told += now
    return told


def sign_test(wins: int, losses: int) -> float:
    """Return the two-sided p of the sign test, ties left out."""
    count = wins + losses
    tail = sum(math.comb(count, k) for k in range(max(wins, losses), count + 1)) / 2**count
    return min(1.0, 2 * tail)


def compared(ours: Sequence[float], other: Sequence[float]) -> dict[str, Any]:
    """Return medians and the sign test of paired regrets, smaller is better."""
    wins, losses = (sum(a < b for a, b in zip(*pair, strict=True)) for pair in ((ours, other), (other, ours)))
    mine, theirs = float(np.median(ours)), float(np.median(other))
    told = {"regret": round(mine, 4), "other": round(theirs, 4), "ratio": round(mine / theirs, 3) if theirs else None}
    means = round(float(np.mean(ours) / np.mean(other)), 3) if np.mean(other) else None
    return {**told, "ratio_of_means": means, "wins": wins, "losses": losses, "p": sign_test(wins, losses)}


def regrets(name: str, trials: int, seeds: Sequence[int], shares: tuple[float, float], **options: Any) -> list[float]:
    """Return what is missing to the best cell after `trials`, one landscape a seed, in standard deviations of the cells."""
    found = []
    for seed in seeds:
        land = landscape(seed, shares)
        offset = 100_000 if name == "search/random" else 0
        found.append(
            land.best
            - max(t.value for t in search(strategy(name, **options), land.space, lambda g, land=land: (land(g),), trials, seed + offset))
        )
    return found


@cache
def landscape(seed: int, shares: tuple[float, float]) -> Landscape:
    """Return a landscape; `shares` are those of pairs and rest."""
    return Landscape(seed, pairs=shares[0], rest=shares[1])


def tables(seeds: Sequence[int]) -> dict[str, Any]:
    """Compare every strategy with random search at equal evaluations, on usual and on rough landscapes."""
    rows: dict[str, Any] = {}
    for kind, shares in {"usual": (0.35, 0.2), "rough": (0.45, 0.35)}.items():
        drawn = {count: regrets("search/random", count, seeds, shares) for count in sorted(set(TRIALS.values()))}
        for name, count in TRIALS.items():
            rows[f"{name}, {kind}"] = compared(regrets(name, count, seeds, shares), drawn[count])
    return rows


def planted(seeds: Sequence[int]) -> dict[str, Any]:
    """Count how often one point of 1,024 is found in 100 (REINFORCE 200) evaluations; the value is the share of right genes."""
    rows = {}
    for name, count in {**TRIALS, "search/random": 100}.items():
        found = 0
        for seed in seeds:
            target = PLANTED.sample(np.random.default_rng((7, seed)))
            hits = lambda g, t=target: (sum(g[k] == t[k] for k in PLANTED) / 5,)  # noqa: E731
            found += any(trial.value == 1.0 for trial in search(strategy(name), PLANTED, hits, count, seed))
        rows[name] = {"found": found, "of": len(seeds), "evaluations": count}
    return rows


def bowl(seed: int) -> Objectives:
    """Return a quadratic of six numbers with a random top and pairs that interact; its largest value is 0."""
    rng = np.random.default_rng(seed)
    top, mix = rng.uniform(0.15, 0.85, 6), np.eye(6) + 0.3 * rng.standard_normal((6, 6))

    def value(g: Genotype) -> tuple[float, ...]:
        away = mix @ (np.array([*(float(g[f"x{i}"]) for i in range(5)), math.log(float(g["n"])) / math.log(256)]) - top)  # type: ignore[arg-type]
        return (-float(away @ away),)

    return value


def stack(seed: int) -> Objectives:
    """Return a value of stacked layers: an op and a width fit a layer or hurt it, later layers count less; most ops hurt."""
    rng = np.random.default_rng(seed)
    quality, best = rng.normal(-0.3, 1.0, (DEPTH, 5)), rng.integers(1, 9, DEPTH)

    def value(g: Genotype) -> tuple[float, ...]:
        layers = range(int(g["depth"]))  # type: ignore[arg-type]
        gains = (quality[i, int(g[f"{i}.op"])] - 0.1 * abs(int(g[f"{i}.width"]) - best[i]) for i in layers)  # type: ignore[arg-type]
        return (float(sum(0.8**i * gain for i, gain in enumerate(gains))),)

    return value


def mixture(seed: int) -> Objectives:
    """Return a value of sixty genes, each with a weight and a top of its own."""
    rng = np.random.default_rng(seed)
    weights, tops = rng.exponential(size=len(WIDE)), [gene.domain.sample(rng) for gene in WIDE.genes]

    def part(gene: Gene, top: Any, value: Any) -> float:
        domain = gene.domain
        return -abs(domain.unit(value) - domain.unit(top)) if isinstance(domain, (Int, Float)) else 0.5 * (value == top)

    return lambda g: (float(sum(w * part(gene, top, g[gene.name]) for w, gene, top in zip(weights, WIDE.genes, tops, strict=True))),)


def profiles(seeds: Sequence[int]) -> dict[str, Any]:
    """Measure every decision of `auto` against the other two and random search: means of the best value, higher is better."""
    contenders: dict[str, tuple[str, dict[str, Any]]] = {
        "numbers": ("tpe", {"sampler": "gp"}),
        "wide": ("evolution", {}),
        "layers": ("tpe", {}),
        "progressive": ("progressive", {}),
        "random": ("search/random", {}),
    }
    problems = {"numbers": (NUMBERS, bowl, 40), "wide": (WIDE, mixture, 100), "layers": (GROWING, stack, 100)}
    rows: dict[str, Any] = {}
    for problem, (space, make, trials) in problems.items():
        best = {
            name: [max(t.value for t in search(strategy(of, **given), space, make(seed), trials, seed)) for seed in seeds]
            for name, (of, given) in contenders.items()
        }
        chosen = strategy("search/auto").start(space, ("a",)).decision
        row: dict[str, Any] = {"trials": trials, "chosen": chosen.strategy, "options": dict(chosen.options), "why": chosen.reason}
        for name, values in best.items():
            wins, losses = (sum(a > b for a, b in zip(*pair, strict=True)) for pair in ((best[problem], values), (values, best[problem])))
            row[f"{contenders[name][0]} {contenders[name][1].get('sampler', '')}".strip()] = {
                "mean": round(float(np.mean(values)), 4),
                "beaten": wins,
                "beats": losses,
            }
        rows[problem] = row
    return rows


def volume(pairs: Sequence[tuple[float, ...]], corner: tuple[float, float]) -> float:
    """Return the area that two maximised objectives dominate above `corner`."""
    total, height = 0.0, corner[1]
    for first, second in sorted(set(pairs), reverse=True):
        if second > height and first > corner[0]:
            total, height = total + (first - corner[0]) * (second - height), second
    return total


def front(seeds: Sequence[int]) -> dict[str, Any]:
    """Compare the hypervolume of value against size with that of random search at 100 evaluations."""

    def area(name: str, seed: int) -> float:
        land = landscape(seed, (0.35, 0.2))
        trials = search(strategy(name), land.space, lambda g: (land(g), -land.size(g)), 100, seed)
        return volume([trial.objectives for trial in trials], (-3.0, -12.0))

    drawn = [area("search/random", seed) for seed in seeds]
    rows = {}
    for name in ("evolution", "tpe", "progressive"):
        mine = [area(name, seed) for seed in seeds]
        wins, losses = (sum(a > b for a, b in zip(*pair, strict=True)) for pair in ((mine, drawn), (drawn, mine)))
        rows[name] = {"mean": round(float(np.mean(mine)), 3), "random": round(float(np.mean(drawn)), 3), "wins": wins, "losses": losses}
    return rows


def speed(told: int, flat: bool) -> dict[str, Any]:
    """Measure milliseconds of CPU time a proposal, telling included, after `told` random trials over sixty mixed genes.

    Either all sixty are active (`flat`), or twelve and those of one of four blueprints, as in the kernel's own space.
    """
    space = WIDE if flat else BRANCHES
    rng = np.random.default_rng(0)
    trials = [Trial(n, space.sample(rng), "complete", (float(rng.random()), float(rng.random()))) for n in range(told)]
    rows = {}
    for name in (*IDS, "search/random", "tpe, two objectives", "evolution, two objectives"):
        count = 1 + name.endswith("objectives")
        session = strategy(name.split(",")[0]).start(space, ("a", "b")[:count])
        one = [Trial(t.number, t.genotype, t.status, t.objectives[:count], reason="controller draw") for t in trials]
        for begin in range(0, told, 4):
            session.tell(one[begin : begin + 4])
        session.ask(4, np.random.default_rng(0))
        began = time.process_time()
        for batch in range(5):
            session.ask(4, np.random.default_rng(batch))
            session.tell(
                [Trial(told + 4 * batch + i, space.sample(rng), "complete", (0.5,) * count, reason="controller draw") for i in range(4)]
            )
        rows[name] = round(1000 * (time.process_time() - began) / 20, 2)
    return rows


def main() -> None:
    """Print one JSON line a part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="tables, planted, profiles, front, 'speed, branches', 'speed, flat'; none = all")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=1000, help="first seed; the defaults were fixed on seeds below 1000")
    parser.add_argument("--told", type=int, default=1000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(given.first, given.first + given.seeds)
    known: dict[str, Callable[[], dict[str, Any]]] = {
        "tables": lambda: tables(seeds),
        "planted": lambda: planted(seeds),
        "profiles": lambda: profiles(seeds),
        "front": lambda: front(seeds),
        "speed, branches": lambda: speed(given.told, flat=False),
        "speed, flat": lambda: speed(given.told, flat=True),
    }
    for part in given.parts or known:
        for name, row in known[part]().items():
            print(json.dumps({"part": part, "name": name, "row": row}), flush=True)


if __name__ == "__main__":
    main()
