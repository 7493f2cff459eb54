"""Architecture → network: sources, adapters, assembly, closed forms, one fit loop, cost."""

from autorec_kernel.models.cost import DeviceProfile, estimate_cost, solving_seconds
from autorec_kernel.models.entities import BlankEntities, Entities
from autorec_kernel.models.fit import FitReport, FitSettings, NotFiniteError, fit
from autorec_kernel.models.network import Network, build_network
from autorec_kernel.models.products import by_hand, linear, product, unwatched
from autorec_kernel.models.scoring import evaluate_ranking, predict_rows, predict_tasks, row_metrics, task_metrics
from autorec_kernel.models.solve import solve_blocks
from autorec_kernel.models.specs import infer_specs, make_blocks
from autorec_kernel.models.train import seed_of, train

__all__ = [
    "BlankEntities",
    "DeviceProfile",
    "Entities",
    "FitReport",
    "FitSettings",
    "Network",
    "NotFiniteError",
    "build_network",
    "by_hand",
    "estimate_cost",
    "evaluate_ranking",
    "fit",
    "infer_specs",
    "linear",
    "make_blocks",
    "predict_rows",
    "predict_tasks",
    "product",
    "row_metrics",
    "seed_of",
    "solve_blocks",
    "solving_seconds",
    "task_metrics",
    "train",
    "unwatched",
]
