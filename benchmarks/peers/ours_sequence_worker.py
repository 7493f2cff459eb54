"""AutoRec kernel: retrievers trained by the steps of the one fit loop; a call trains a number of batches, or one whole epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from autorec_kernel.features import FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.models.batches import Batch
from autorec_kernel.models.batching import batches_for
from autorec_kernel.models.fit import FitSettings
from autorec_kernel.models.network import Network, build_network
from autorec_kernel.models.prefetch import delivered
from autorec_kernel.models.products import quick_products
from autorec_kernel.models.solve import solve_blocks
from autorec_kernel.models.sparse import sparse_lookups
from autorec_kernel.models.stepping import Stepper
from benchmarks.peers.sequence_models import LENGTH, STEPS, batches_of_a_call
from benchmarks.peers.worker import Options, Session, serve


def blueprint(given: Options) -> tuple[str, dict[str, object], int]:
    """Return the name, the options and the batch size in the unit of its batching; `given.batch` counts scored positions."""
    hidden = given.hidden[0]
    attention = {"hidden_size": given.width, "max_len": LENGTH, "num_layers": 2, "num_heads": 2}
    return {
        "SASRec": ("sasrec", {**attention, "dropout_rate": given.dropout, "loss": "softmax"}, given.batch // LENGTH * 8),
        "GRU4Rec": (
            "gru4rec",
            {"embedding_dim": given.width, "hidden_size": hidden, "dropout_rate": given.dropout, "loss": "softmax", "steps": STEPS},
            given.batch // STEPS,
        ),
        "BPR": ("bpr-mf", {"embedding_dim": given.width, "biases": False, "negatives": 1}, given.batch),
        "LightGCN": ("lightgcn", {"embedding_dim": given.width, "num_layers": 3, "loss": "bpr", "negatives": 1}, given.batch),
        "MultiVAE": ("multvae", {"hidden_dim": hidden, "latent_dim": given.width, "dropout": given.dropout, "beta": 0.2}, given.batch),
    }[given.model]


class Training:
    """Steps of the fit loop on an unending row of epochs.

    Args:
        size: Batch size in the unit of the network's batching: sessions, which count as eight rows, where they are its unit.
    """

    def __init__(self, network: Network, features: FeatureSet, given: Options, size: int) -> None:
        size = 8 * size if network.architecture.batching == "session" else size
        settings = FitSettings(learning_rate=given.rate, batch_size=size, clip_norm=0.0)
        self.batches, self.settings, self.network = batches_for(network, features, size), settings, network
        self.rng = np.random.default_rng(given.seed)
        self.count = batches_of_a_call(given.model, False, given.batch, len(self.batches))
        self.counted, self.told = _unit(network), np.zeros(3)
        self.stream = self._stream()
        with sparse_lookups(network, size, settings.sparse) as tables:
            self.stepper = Stepper(network, settings, tables, "cpu")

    def _stream(self) -> Iterator[Batch]:
        while True:
            yield from delivered(self.batches, self.rng, "cpu", self.settings.num_workers)

    def run(self) -> None:
        """Train; `told` is what was scored, the batches and the mean loss."""
        scored = 0
        with sparse_lookups(self.network, self.settings.batch_size, self.settings.sparse), quick_products(self.network):
            self.stepper.begin()
            for batch in islice(self.stream, self.count):
                self.stepper.step(batch, self.settings.learning_rate)
                scored += self.counted(batch)
            self.told = np.array([scored, self.count, self.stepper.end()])


def _unit(network: Network):  # type: ignore[no-untyped-def]
    """Return what counts a batch: users of an autoencoder, else scored positions or pairs."""
    if network.architecture.batching == "user":
        return lambda batch: len(batch["@target"])
    return lambda batch: int((batch["@target"] != 0).sum())


def build(given: Options) -> Session:
    """Return the session; its `scores` are what the last call scored, its batches and its mean loss."""
    features, kernel = FeatureSet.load(Path(given.data) / "features"), Kernel.discover()
    name, options, size = blueprint(given)
    graph = kernel.create("blueprint", name, **options).architecture(features.schema)
    arrays = solve_blocks(graph, features, kernel, seed=np.random.SeedSequence(given.seed))
    network = build_network(graph, features.schema, kernel, arrays, seed=given.seed)
    training = Training(network, features, given, size)
    facts = {"parameters": sum(p.numel() for p in network.parameters()), "batches_of_an_epoch": len(training.batches), "batch": size}
    return Session(training.run, lambda: training.told, facts)


if __name__ == "__main__":
    serve(build)
