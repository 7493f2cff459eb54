"""Narrower SASRecs of the packaged MovieLens ratings: students with and without a teacher's lists, and the teacher itself cut in width.

Students are trained alike but for the teacher: same seed, same epochs, same order. Figures are those of the validation rows, compared user
by user; the test view stays shut. A student's size is that of its exported graph and of its item vectors.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import autorec_kernel.data
from autorec_kernel.contracts.deploy import CompressionContext, Trainer
from autorec_kernel.data import open_dataset
from autorec_kernel.deploy.export import export_onnx
from autorec_kernel.deploy.plan import FineTuner, serving_sample
from autorec_kernel.deploy.quality import Quality, gain, validation_quality
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import FitSettings, build_network, fit
from autorec_kernel.records.model import CompressedModel, TrainedModel
from autorec_kernel.search.genes import decode
from autorec_kernel.space import Genotype
from benchmarks.compressors import SEED, TARGET, USERS

EPOCHS, BATCH, WIDTH = 20, 32, 64
FEWEST = 5  # ratings below which an item is left out
_RATINGS = Path(autorec_kernel.data.__file__).parent / "movielens" / "ratings.csv.gz"
LOSSES = ("listwise", "pointwise", "pairwise")


def teacher_of(kernel: Kernel, features: FeatureSet) -> TrainedModel:
    """Return a SASRec of width 64, trained on its own loss."""
    blueprint = "zoo/sasrec"
    genes = {"pipeline": "retriever", "retriever": blueprint, f"{blueprint}.hidden_size": WIDTH, "retriever.training.batch_size": BATCH}
    candidate = decode(Genotype(genes), features.schema, kernel)
    network = build_network(candidate.architecture, candidate.features, kernel, seed=SEED)
    settings = FitSettings(epochs=EPOCHS, batch_size=BATCH, patience=0)
    fit(network, features, settings, seed=np.random.SeedSequence(SEED), validate=None)
    return TrainedModel(candidate.architecture, network.eval(), candidate.features, {}, {"genotype": genes})


def variants(seeds: int) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Yield (compressor, options, seed) of everything that is compared."""
    for sparsity in (0.5, 0.75):
        yield "prune/width", {"sparsity": sparsity}, 0
    for seed in range(seeds):
        for size in (0.5, 0.25):
            yield "distill/lists", {"size": size, "epochs": EPOCHS, "weight": 0.0}, seed
            for loss in LOSSES:
                yield "distill/lists", {"size": size, "epochs": EPOCHS, "loss": loss}, seed


def rows(kernel: Kernel, features: FeatureSet, seeds: int) -> Iterator[dict[str, Any]]:
    """Yield one row a model, the teacher first."""
    teacher = teacher_of(kernel, features)
    sample = serving_sample(teacher.module, features, 100)
    trainer = Trainer(kernel, lambda *_: teacher, lambda: [(teacher, 1.0)])

    def quality(network: Any) -> Quality:
        return validation_quality(network, features, "recommend", "ndcg@10", users=USERS, seed=SEED)

    tune = FineTuner(features, SEED, judge=quality)
    context = CompressionContext(TARGET, features, sample, tune, np.random.default_rng(SEED), trainer=trainer)
    before, alone = quality(teacher.module), dict[tuple[float, int], Quality]()
    yield {"compressor": "", "options": {}, "ndcg@10": round(before.value, 5), "bytes": _bytes(teacher, sample)}
    for name, options, seed in variants(seeds):
        began = time.process_time()
        own = replace(context, rng=np.random.default_rng(seed))
        model = kernel.create("compressor", name, **options).compress(CompressedModel(teacher), own).model
        taken = time.process_time() - began
        after = quality(model.module)
        row = {"compressor": name, "options": options, "seed": seed, "ndcg@10": round(after.value, 5), "bytes": _bytes(model, sample)}
        row |= {"cpu_seconds": round(taken, 1), "to_teacher": _told(after, before)}
        if name == "distill/lists":
            near = alone.setdefault((options["size"], seed), after)
            row |= {} if near is after else {"to_untaught": _told(after, near)}
        yield row


def _told(after: Quality, before: Quality) -> list[float] | None:
    found = gain(after, before, np.random.default_rng(SEED))
    return None if found is None else [round(value, 5) for value in (found.difference, found.low, found.high)]


def _bytes(model: TrainedModel, sample: Any) -> int:
    return len(export_onnx(model.module, sample))


def main() -> None:
    """Print one JSON line a model, and write them to a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="students of each kind")
    parser.add_argument("--out", type=Path, help="JSON lines are written here as well")
    stated = parser.parse_args()
    torch.set_num_threads(1)
    kernel = Kernel.discover()
    ratings = pd.read_csv(_RATINGS)
    often = ratings.groupby("item_id")["rating"].transform("size") >= FEWEST
    dataset = open_dataset(ratings[often], task="recommend", protocol="leave-one-out")
    features = build_features(dataset, kernel, task="recommend", history_length=50)
    lines = []
    for row in rows(kernel, features, stated.seeds):
        lines.append(json.dumps(row))
        print(lines[-1], flush=True)
        if stated.out is not None:
            stated.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
