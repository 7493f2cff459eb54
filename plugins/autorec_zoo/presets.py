"""Ready-made runs: recipes that reproduce the configuration of a published project."""

from __future__ import annotations

from typing import Any

__all__ = ["deepfm_rec"]


def deepfm_rec() -> dict[str, Any]:
    """Return the options of DeepFM-Rec: ratings, one DeepFM, early stopping on the validation MAE.

    Its figures: split 0.7 / 0.1 / 0.2 at random with seed 42, batch 1,024, embedding 16, network 128-64-32 without dropout; the learning
    rate is halved after a plateau of more than 5 epochs in which the MAE fell by less than 0.001, and training stops after 5 such epochs at
    the lower rate. The weights of the epoch with the least MAE come back. MSE (as its root)
    and MAE are measured together after every epoch. Baselines run beside it, as in every run.
    """
    training = "ranker.training"
    return {
        "task": "rate",
        "protocol": "random",
        "shares": [0.7, 0.1, 0.2],
        "seed": 42,
        "trials": 1,
        "blueprints": ["zoo/deepfm"],
        "defaults": {
            "zoo/deepfm.hidden_units": [128, 64, 32],
            "zoo/deepfm.dropout_rates": [],
            "zoo/deepfm.embedding_dim": 16,
            f"{training}.batch_size": 1024,
            f"{training}.learning_rate": 1e-3,
            f"{training}.weight_decay": 1e-6,
            f"{training}.id_dropout": 0.0,
        },
        "evaluator": "training/full",
        "evaluator_options": {
            "optimiser": "adam",
            "stop_on": "mae",
            "patience": 5,
            "min_delta": 1e-3,
            "schedule": "plateau",
            "plateau_factor": 0.5,
            "plateau_patience": 5,
        },
    }
