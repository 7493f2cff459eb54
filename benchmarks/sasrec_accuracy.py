"""Accuracy of SASRec on a table of ordered choices: the curve of training, CPU seconds, and the test figures beside simple baselines.

Leave-one-out by position, the whole catalogue ranked, seen items left out. Weights are those of the epoch with the best validation value;
the test part is opened once, at the end. One JSON object a line: one an epoch, one a model. The figures of the note are made by

    sasrec_accuracy.py ml-1m/ratings.csv.gz --config '{"max_len": 200, "dropout_rate": 0.2, "loss": "softmax"}'
        --settings '{"epochs": 24, "patience": 5, "learning_rate": 0.002, "batch_size": 256, "schedule": "cosine", "warmup": 0.05}'
    sasrec_accuracy.py amazon-beauty/interactions.csv.gz --config '{"hidden_size": 128, "dropout_rate": 0.5, "loss": "softmax"}'
        --settings '{"epochs": 36, "patience": 8, "learning_rate": 0.002, "schedule": "cosine", "warmup": 0.03}'

With `--final` the validation rows join training, as in a run of the pipeline, and all epochs are trained: what was chosen on validation
rows before is refitted, then the test part is opened.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from autorec_kernel.data import open_dataset
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import FitSettings, Network, evaluate_ranking, train

METRICS = ("ndcg@10", "recall@10")
DECAYS = (0.5, 0.6, 0.7, 0.8, 0.9)
PLAIN = FitSettings(epochs=0)


def say(**values: Any) -> None:
    """Print one JSON line."""
    print(json.dumps(values), flush=True)


def judged(network: Network, features: FeatureSet, split: str) -> dict[str, float]:
    """Return the metrics of one split."""
    found = evaluate_ranking(network, features, features.evaluation(split), METRICS)  # type: ignore[arg-type]
    means = found.mean()
    return {name: round(float(means[name] or 0.0), 5) for name in METRICS}


class Curve:
    """Judges each epoch on the validation part and prints what it found.

    Args:
        features: The data.
        name: Of the model.
    """

    def __init__(self, features: FeatureSet, name: str) -> None:
        self.features, self.name, self.epoch, self.started = features, name, 0, time.process_time()

    def __call__(self, network: Network) -> float:
        """Return the validation NDCG@10."""
        self.epoch += 1
        before = time.process_time()
        found = judged(network, self.features, "valid")
        now = time.process_time()
        say(model=self.name, epoch=self.epoch, **found, cpu_seconds=round(now - self.started, 1), judging=round(now - before, 1))
        return found["ndcg@10"]


def learned(
    kernel: Kernel, features: FeatureSet, name: str, config: Mapping[str, Any], settings: FitSettings, seed: int, final: bool = False
) -> Network:
    """Train one blueprint and print how it went; `final`: all epochs, without a look at the validation rows."""
    graph = kernel.create("blueprint", name, **config).architecture(features.schema)
    curve = Curve(features, name)
    network, report = train(graph, features, features.schema, kernel, settings, seed=seed, trial=0, validate=None if final else curve)
    spent = round(time.process_time() - curve.started, 1)
    say(
        model=name,
        config=dict(config),
        loss=graph.readable(),
        best_epoch=report.best_epoch,
        stopped_by=report.stopped_by,
        cpu_seconds=spent,
    )
    say(model=name, losses=[round(loss, 4) for loss in report.losses])
    return network


def baselines(kernel: Kernel, features: FeatureSet) -> dict[str, Network]:
    """Return popularity and the recency-weighted closed form whose decay is the best on the validation part."""
    found: dict[str, tuple[float, Network]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, options in (("popularity", [{}]), ("recency-ease", [{"decay": decay} for decay in DECAYS])):
            for config in options:
                started = time.process_time()
                graph = kernel.create("blueprint", f"baselines/{name}", **config).architecture(features.schema)
                network, _ = train(graph, features, features.schema, kernel, PLAIN, seed=0, trial=0, cache=Path(folder))
                value = judged(network, features, "valid")
                say(model=name, config=config, **value, cpu_seconds=round(time.process_time() - started, 1))
                if name not in found or value["ndcg@10"] > found[name][0]:
                    found[name] = (value["ndcg@10"], network)
    return {name: network for name, (_, network) in found.items()}


def main() -> None:
    """Train, then open the test part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", help="events: user, item, position")
    parser.add_argument("--model", default="zoo/sasrec", help="blueprint")
    parser.add_argument("--config", type=json.loads, default={}, help="its options as JSON")
    parser.add_argument("--settings", type=json.loads, default={}, help="options of training as JSON")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", action="store_true", help="leave the baselines out")
    parser.add_argument("--final", action="store_true", help="refit: validation rows join training, all epochs are trained")
    parser.add_argument("--sealed", action="store_true", help="leave the test part closed")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    kernel = Kernel.discover()
    dataset = open_dataset(chosen.table, protocol="leave-one-out")
    features = build_features(dataset.final() if chosen.final else dataset, kernel)
    say(
        table=Path(chosen.table).parent.name,
        users=features.schema.users - 1,
        items=features.schema.items - 1,
        events=features.schema.events,
    )
    networks = {} if chosen.alone or chosen.final else baselines(kernel, features)
    settings = FitSettings(**{"epochs": 200, "patience": 10, **chosen.settings})
    networks[chosen.model] = learned(kernel, features, chosen.model, chosen.config, settings, chosen.seed, chosen.final)
    if not chosen.sealed:
        dataset.test.fix_plan("models and epochs are chosen")
        features.open_test(dataset.test.open("final figures"))
        for name, network in networks.items():
            valid = {} if chosen.final else {"valid": judged(network, features, "valid")}
            say(model=name, test=judged(network, features, "test"), **valid)


if __name__ == "__main__":
    main()
