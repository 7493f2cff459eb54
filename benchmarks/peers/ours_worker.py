"""AutoRec kernel: the blueprint through the one fit loop's epoch, AdamW without weight decay."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path

import numpy as np
import torch

from autorec_kernel.features import FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.models.batches import to_tensors
from autorec_kernel.models.fit import FitSettings, fit
from autorec_kernel.models.network import Network, build_network
from benchmarks.peers.worker import Options, Session, serve


def blueprint(given: Options) -> tuple[str, dict[str, object]]:
    """Return the name and the options of our blueprint."""
    deep = {"embedding_dim": given.width, "hidden_units": given.hidden, "dropout_rates": (given.dropout,)}
    pairs = {"embedding_dim": given.width}
    return {
        "LR": ("lr", {}),
        "FM": ("fm", pairs),
        "PNN": ("pnn", deep),
        "NFM": ("nfm", deep),
        "xDeepFM": ("xdeepfm", {**deep, "cin_units": (64, 64)}),
        "FinalMLP": ("finalmlp", {**deep, "second_units": given.hidden, "gate_units": (64,), "num_heads": 2}),
        "WideDeep": ("widedeep", {**deep, "cross_buckets": 0}),
        "DeepFM": ("deepfm", deep),
        "DCN": ("dcn", {**deep, "cross_num": 3}),
        "DCNv2": ("dcnv2", {**deep, "cross_num": 3, "cross_parameterization": "matrix"}),
        "AFM": ("afm", {**pairs, "attention_units": given.attention[:1]}),
        "FiBiNET": ("fibinet", {**deep, "bilinear_type": "field_interaction", "reduction_ratio": 3}),
        "AutoInt": ("autoint", {**deep, "num_layers": 3, "num_heads": 2, "head_dim": 8}),
        "DIN": ("din", {**deep, "attention_units": given.attention, "max_length": 20, "activation": "relu"}),
    }[given.model]


class Training:
    """`fit` in a thread that waits between epochs until the next one is asked for."""

    def __init__(self, network: Network, features: FeatureSet, given: Options) -> None:
        self.turns, self.done = (threading.Semaphore(0) for _ in range(2))
        self.error: Exception | None = None
        settings = FitSettings(learning_rate=given.rate, batch_size=given.batch, epochs=10_000, patience=0)
        self.arguments = (network, features, settings)
        self.seed = given.seed
        self.thread: threading.Thread | None = None

    def epoch(self) -> None:
        """Train one epoch."""
        if self.thread is None:
            self.thread = threading.Thread(target=self._run, daemon=True)
            self.thread.start()
        else:
            self.turns.release()
        self.done.acquire()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            fit(*self.arguments, seed=np.random.SeedSequence(self.seed), validate=None, progress=self._wait)
        except Exception as error:
            self.error = error
            self.done.release()

    def _wait(self, *_: float) -> None:
        self.done.release()
        self.turns.acquire()


def build(given: Options) -> Session:
    """Return the session."""
    features, kernel = FeatureSet.load(Path(given.data) / "features"), Kernel.discover()
    name, options = blueprint(given)
    schema = features.schema if given.model == "DIN" else features.schema.without(("history",))
    network = build_network(kernel.create("blueprint", name, **options).architecture(schema), schema, kernel, seed=given.seed)
    training = Training(network, features, given)

    def scores(part: str = "test") -> np.ndarray:
        network.eval()
        network.settle()
        names, rows = list(network.inputs), features.rows(part)  # type: ignore[arg-type]
        with torch.no_grad():
            blocks = [rows[at : at + 4096] for at in range(0, len(rows), 4096)]
            inputs = [to_tensors(features.row_inputs(names, block, lengths=network.lengths), "cpu") for block in blocks]
            return torch.cat([network.serve(*(one[name] for name in names))[0] for one in inputs]).numpy()

    facts = {"rows": len(features.rows("train")), "parameters": sum(p.numel() for p in network.parameters())}
    return Session(training.epoch, scores, facts)


if __name__ == "__main__":
    ctypes.CDLL(None).mallopt(-8, 1)  # M_ARENA_MAX: the thread shares the main arena, where the peers' epochs run too
    serve(build)
