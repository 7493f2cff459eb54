"""Search strategies against random search, on synthetic problems and on tables of trained cells; time per proposal."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from autorec_kernel.kernel import Kernel
from autorec_kernel.records.trial import Trial
from autorec_kernel.space import Choice, Float, Gene, Genotype, Int, SearchSpace
from autorec_search.compare import compared, regrets, search
from autorec_search.landscape import Landscape
from autorec_search.problems import CORNER, planted, stack, stacked, volume
from autorec_search.tabular import TABLES, Table

IDS = {
    "tpe": "bayes/tpe",
    "evolution": "evolution/evolution",
    "reinforce": "reinforce/controller",
    "progressive": "progressive/progressive",
}
TRIALS = {"tpe": 100, "evolution": 100, "reinforce": 200, "progressive": 100}
NUMBERS = SearchSpace([*(Gene(f"x{i}", Float(0, 1), 0.5) for i in range(5)), Gene("n", Int(1, 256, log=True), 8)])
DEPTH = 6
KINDS = ((Int(1, 256, log=True), 8), (Float(0, 1), 0.5), (Choice(*range(5)), 2), (Choice("a", "b"), "a"))
WIDE = SearchSpace(Gene(f"g{i}", *KINDS[i % 4]) for i in range(60))
BRANCHES = SearchSpace(
    [
        Gene("model", Choice(*"abcd"), "a"),
        *(Gene(f"g{i}", *KINDS[i % 4]) for i in range(11)),
        *(Gene(f"{model}.g{i}", *KINDS[i % 4], "model", (model,)) for model in "abcd" for i in range(12)),
    ]
)
GROWING = stacked(DEPTH)

Objectives = Callable[[Genotype], tuple[float, ...]]


@cache
def kernel() -> Kernel:
    """Return the installed plugins."""
    return Kernel.discover()


def strategy(name: str, **options: Any) -> Any:
    """Return a strategy by its short name."""
    return kernel().create("search-strategy", IDS.get(name, name), **options)


@cache
def landscape(seed: int, shares: tuple[float, float]) -> Landscape:
    """Return a landscape; `shares` are those of pairs and rest."""
    return Landscape(seed, pairs=shares[0], rest=shares[1])


def told(ours: Sequence[float], other: Sequence[float]) -> dict[str, Any]:
    """Return a comparison of regrets as plain rounded values."""
    return {name: value if name == "p" else round(value, 5) for name, value in asdict(compared(ours, other)).items()}


def tables(seeds: Sequence[int]) -> dict[str, Any]:
    """Compare every strategy with random search at equal evaluations, on usual and on rough landscapes, one a seed."""
    rows: dict[str, Any] = {}
    for kind, shares in {"usual": (0.35, 0.2), "rough": (0.45, 0.35)}.items():

        def missed(name: str, count: int, shares: tuple[float, float] = shares) -> list[float]:
            return [regrets(strategy(name), landscape(seed, shares), count, [_drawn(name, seed)])[0] for seed in seeds]

        drawn = {count: missed("search/random", count) for count in sorted(set(TRIALS.values()))}
        rows |= {f"{name}, {kind}": told(missed(name, count), drawn[count]) for name, count in TRIALS.items()}
    return rows


def tabular(name: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Compare every strategy with random search at equal evaluations on a table of trained cells."""
    table, random = Table.load(name), strategy("search/random")
    drawn = {n: regrets(random, table, n, [_drawn("search/random", seed) for seed in seeds]) for n in sorted(set(TRIALS.values()))}
    return {of: told(regrets(strategy(of), table, count, seeds), drawn[count]) for of, count in TRIALS.items()}


def _drawn(name: str, seed: int) -> int:
    """Return the seed of a search; random search draws apart from the first draws of the others."""
    return seed + (100_000 if name == "search/random" else 0)


def corner(seeds: Sequence[int]) -> dict[str, Any]:
    """Count how often one point of 1,024 is found in 100 (REINFORCE 200) evaluations; the value is the share of right genes."""
    rows = {}
    for name, count in {**TRIALS, "search/random": 100}.items():
        found = sum(any(trial.value == 1.0 for trial in search(strategy(name), CORNER, planted(seed), count, seed)) for seed in seeds)
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
    problems = {"numbers": (NUMBERS, bowl, 40), "wide": (WIDE, mixture, 100), "layers": (GROWING, lambda seed: stack(seed, DEPTH), 100)}
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


def few(seeds: Sequence[int]) -> dict[str, Any]:
    """Measure short searches that begin with ten known good candidates (the best of sixty draws): what `auto` picks below 48 trials.

    Regrets in standard deviations of the cells, on usual and on rough landscapes, after 12, 24 and 48 evaluations.
    """
    contenders: dict[str, tuple[str, dict[str, Any]]] = {
        "random": ("search/random", {}),
        "tpe": ("tpe", {}),
        "evolution": ("evolution", {}),
        "evolution, startup 1": ("evolution", {"startup": 1}),
    }
    rows: dict[str, Any] = {}
    for kind, shares in {"usual": (0.35, 0.2), "rough": (0.45, 0.35)}.items():
        for count in (12, 24, 48):
            found = {
                name: [_continued(strategy(of, **given), landscape(seed, shares), count, seed) for seed in seeds]
                for name, (of, given) in contenders.items()
            }
            rows[f"{kind}, {count}"] = {name: [round(float(np.median(v)), 3), round(float(np.mean(v)), 3)] for name, v in found.items()}
    return rows


def _continued(chosen: Any, land: Landscape, count: int, seed: int) -> float:
    """Return the regret of a search that is told ten candidates before it asks."""
    rng = np.random.default_rng((7, seed))
    first = sorted((land.space.sample(rng) for _ in range(60)), key=land, reverse=True)[:10]
    session, told = (
        chosen.start(land.space, ("value",)),
        [Trial(n, g, "complete", (land(g),), reason="blueprint") for n, g in enumerate(first)],
    )
    session.tell(told)
    while len(told) < 10 + count:
        asked = session.ask(4, np.random.default_rng((seed, len(told))))
        now = [
            Trial(n, p.genotype, "complete", (land(p.genotype),), parent=p.parent, reason=p.reason) for n, p in enumerate(asked, len(told))
        ]
        session.tell(now)
        told += now
    return land.best - max(trial.value for trial in told)


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
    parser.add_argument("parts", nargs="*", metavar="PART", help="such as tables or 'tabular, ml-100k'; all where none is named")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=1000, help="first seed; the defaults were fixed on seeds below 1000")
    parser.add_argument("--told", type=int, default=1000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(given.first, given.first + given.seeds)
    known: dict[str, Callable[[], dict[str, Any]]] = {
        "tables": lambda: tables(seeds),
        **{f"tabular, {name}": partial(tabular, name, seeds) for name in TABLES},
        "planted": lambda: corner(seeds),
        "profiles": lambda: profiles(seeds),
        "front": lambda: front(seeds),
        "few": lambda: few(seeds),
        "speed, branches": lambda: speed(given.told, flat=False),
        "speed, flat": lambda: speed(given.told, flat=True),
    }
    for part in given.parts or known:
        for name, row in known[part]().items():
            print(json.dumps({"part": part, "name": name, "row": row}), flush=True)


if __name__ == "__main__":
    main()
