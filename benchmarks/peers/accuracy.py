"""What the accuracy workers share: the rows that both sides learn from, judging on the validation rows, and the best of several trainings.

A worker lives in its library's own environment, so this file needs numpy and what `worker.py` needs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from worker import cpu_seconds

__all__ = ["CHUNK", "Part", "Rows", "Trained", "fit", "serve"]

CHUNK = 256


class Rows:
    """The rows that both sides learn from; user and item rows are the project's, from 1."""

    def __init__(self, file: str) -> None:
        found = np.load(file)
        self.users, self.wanted, self.items = found["users"], found["valid"], int(found["items"])
        self.lists = np.split(found["history"], found["offsets"][1:-1])

    def known(self) -> list[tuple[int, np.ndarray]]:
        """Return each user with his history of the training part."""
        return list(zip(self.users, self.lists, strict=True))

    def ndcg(self, scores: np.ndarray) -> float:
        """Return NDCG@10 of the validation item among all items that are not in the history."""
        ranks = []
        for row, seen, item in zip(scores, self.lists, self.wanted, strict=True):
            above = row > row[item]
            above[seen], above[0] = False, False
            ranks.append(1 + int(above.sum()))
        place = np.array(ranks)
        return float(np.where(place <= 10, 1 / np.log2(place + 1), 0).mean())

    def longer(self) -> list[np.ndarray]:
        """Return the histories with the validation item behind them."""
        return [np.append(own, item) for own, item in zip(self.lists, self.wanted, strict=True)]


class Part:
    """A part of each pass: a library's batches are dealt out over several calls, so that a long epoch is judged more than once."""

    def __init__(self, loader: Any, parts: int) -> None:
        self.loader, self.shuffle, self.sampler = loader, False, None
        self.size, self.source = -(-len(loader) // parts), iter(())

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Any]:
        for number in range(self.size):
            batch = next(self.source, None)
            if batch is None:
                if number:
                    return
                self.source = iter(self.loader)
                batch = next(self.source)
            yield batch


class Trained(Protocol):
    """One model with one value of the option that is chosen on the validation rows."""

    network: Any
    closed: bool  # one call is all

    def part(self, number: int) -> None:
        """Train on the next part."""

    def restored(self) -> None:
        """Follow weights that were put back."""

    def scores(self, lists: list[np.ndarray]) -> np.ndarray:
        """Return float32 [users, items] for given histories."""


def fit(trained: Trained, rows: Rows, budget: float, patience: int) -> dict[str, Any]:
    """Train until the budget is spent or the validation value has not risen for `patience` judgements; keep the best weights."""
    begin, best, curve = cpu_seconds(), None, []
    while cpu_seconds() - begin < budget:
        trained.part(len(curve))
        curve.append((round(cpu_seconds() - begin, 2), round(rows.ndcg(trained.scores(rows.lists)), 5)))
        if best is None or curve[-1][1] > max(value for _, value in curve[:-1]):
            best = {name: tensor.clone() for name, tensor in trained.network.state_dict().items()}
        where = int(np.argmax([value for _, value in curve]))
        if trained.closed or len(curve) - 1 - where >= patience:
            break
    trained.network.load_state_dict(best)
    trained.restored()
    return {"valid": curve[where][1], "cpu_s": curve[-1][0], "best_at_cpu_s": curve[where][0], "judged": len(curve), "curve": curve}


def serve(prepare: Callable[[Rows, dict[str, Any]], Callable[[float], Trained]], **versions: str) -> None:
    """Train one model with every choice, judge on the validation rows, write the scores of the best.

    Args:
        prepare: Takes the rows and the options of the command line, and returns what makes a model with one choice.
    """
    import torch

    given = json.loads(sys.argv[1])
    sys.argv = sys.argv[:1]
    torch.set_num_threads(1)
    rows, told, best = Rows(given["rows"]), {}, None
    make = prepare(rows, given)
    for choice in given["choices"]:
        trained = make(choice)
        told[str(choice)] = fit(trained, rows, given["budget"], given["patience"] * given["parts"])
        if best is None or told[str(choice)]["valid"] > best[0]:
            best = (told[str(choice)]["valid"], choice, trained)
    np.save(given["out"] + ".npy", best[2].scores(rows.longer()))
    versions |= {"torch": torch.__version__, "numpy": np.__version__}
    answer = {"option": given["option"], "chosen": best[1], "valid": best[0], "trainings": told, "versions": versions}
    Path(given["out"] + ".json").write_text(json.dumps(answer))
