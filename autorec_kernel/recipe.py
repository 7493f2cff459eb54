"""`Recipe`: everything a run depends on besides the data and the plugins; a TOML file, command-line options or keywords."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from autorec_kernel.config import ComponentConfig, parse_config
from autorec_kernel.deploy.targets import read_profile, target_named
from autorec_kernel.errors import UsageError
from autorec_kernel.search.objectives import Objective

__all__ = ["Recipe", "over", "parse_budget", "read_recipe"]

_UNITS = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_NAMED = ("fixed", "roles", "kinds")
DEFAULT_BUDGET = 180.0  # seconds, when neither a budget nor a number of trials is given


class Recipe(ComponentConfig):
    """What to do.

    Two runs with equal recipes on equal data are equal when the budget is a number of trials and the device is the CPU.
    """

    task: Literal["recommend", "rate", "click"] = Field("recommend", description="What to predict.")
    target: str = Field("cloud", description="Where the model will run: device, edge, cloud, or a profile file; sets the bundle's limits.")
    profile: dict[str, Any] | None = Field(None, description="Limits of a target of one's own; read from the file that `target` names.")
    budget: float | None = Field(None, gt=0, description="Seconds for the whole run.")
    trials: int | None = Field(None, ge=0, description="Candidates besides the baselines, instead of a budget.")
    strategy: str = Field("auto", description="Search strategy; auto = what an adviser picks by the data and the budget.")
    strategy_options: dict[str, Any] = Field(default_factory=dict, description="Options of the strategy, e.g. startup.")
    evaluator: str = Field("auto", description="How candidates are judged; auto = the installed one that calls itself the default.")
    executor: str = Field("auto", description="Where candidates are evaluated; auto = the installed one that calls itself the default.")
    evaluator_options: dict[str, Any] = Field(default_factory=dict, description="Options of the evaluator, e.g. epochs.")
    search_space: Literal["narrow", "wide", "full"] = Field(
        "wide", description="narrow = the first blueprints with few options; wide = all blueprints; full = free cells too."
    )
    blueprints: tuple[str, ...] = Field((), description="Blueprints to consider besides the baselines; empty = all that fit.")
    defaults: dict[str, Any] = Field(default_factory=dict, description="Gene → value that candidates start from, e.g. training options.")
    fixed: dict[str, Any] = Field(
        default_factory=dict, description='Option of a blueprint → value of all its candidates, e.g. "zoo/sasrec.loss" = "gbce".'
    )
    metric: str = Field("", description="What to optimise; empty = ndcg@10, rmse or auc, by task.")
    objectives: tuple[Objective, ...] = Field(
        ("metric",), description="What trials are compared by: metric, then any of latency, bytes, parameters (a Pareto front)."
    )
    weights: dict[Objective, float] = Field(
        default_factory=dict, description="One reward instead: the metric less latency, bytes and parameters, each times its weight."
    )
    rungs: tuple[float, ...] = Field((0.34, 1.0), description="Shares of a full training at which candidates are compared, up to 1.")
    eta: int = Field(3, ge=2, le=100, description="Of each rung the best 1/eta go on to the next.")
    schedule: Literal["halving", "hyperband"] = Field(
        "halving", description="Whether all batches climb all rungs, or each starts a rung higher."
    )
    protocol: Literal["given", "temporal", "leave-one-out", "random"] | None = Field(None, description="Split; empty = by the data.")
    shares: tuple[float, float, float] | None = Field(
        None, description="Training, validation and test shares of a random split; empty = 0.8, 0.1, 0.1."
    )
    test_users: int = Field(
        50_000, ge=0, description="Users of the test part that lists are judged for at most, drawn by the seed; 0 = all."
    )
    positive_threshold: float | None = Field(None, description="Labels at or above it are positive.")
    deduplicate: Literal["none", "last"] | None = Field(None, description="What happens to repeated (user, item) pairs.")
    roles: dict[str, str] = Field(default_factory=dict, description="Column → role, where the inference is wrong.")
    kinds: dict[str, str] = Field(default_factory=dict, description="Column → kind, where the inference is wrong.")
    features: Literal["auto", "raw"] = Field("auto", description="auto = every feature op that pays; raw = the columns as they are.")
    selector: str = Field("auto", description="Feature selector; auto = the default one for `rate` and `click`; none = keep all.")
    accept_leak: tuple[str, ...] = Field((), description="Columns that may explain the label alone: known when an answer is needed.")
    live: bool = Field(False, description="Whether the bundle keeps what later events are folded into.")
    seed: int = Field(0, ge=0, description="Of everything random.")
    workers: int = Field(0, ge=0, description="Processes that evaluate candidates; 0 = one a core, at most 4.")
    threads: int = Field(1, ge=1, description="Threads a candidate uses; changes the last bits of weights.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where networks train.")
    batch: int = Field(4, ge=1, description="Proposals asked for at a time; not the number of workers.")
    max_params: float = Field(0.0, ge=0, description="Hard limit on parameters; 0 = none.")
    max_bytes: float = Field(0.0, ge=0, description="Hard limit on the serving model; 0 = the target's.")
    max_latency_ms: float = Field(0.0, ge=0, description="Hard limit on the latency of one request; 0 = the target's.")
    max_drop: float | None = Field(
        None, ge=0, lt=1, description="Largest loss by compression, a share of the metric; empty = the target's."
    )
    serve_threads: int = Field(0, ge=0, description="Threads of one answer; 0 = the target's.")
    serve_batch: int = Field(0, ge=0, description="Rows of a call that is timed and limited; 0 = the target's.")
    planner: str = Field("auto", description="Planner of the compression; auto = the installed one that calls itself the default.")
    planner_options: dict[str, Any] = Field(default_factory=dict, description="Options of the planner.")

    @model_validator(mode="before")
    @classmethod
    def _read_target(cls, values: Any) -> Any:
        stated = values.get("target") if isinstance(values, dict) else None
        if not isinstance(stated, str) or values.get("profile"):
            return values
        if stated.endswith(".toml"):
            profile = read_profile(Path(stated))
            return {**values, "target": profile["name"], "profile": profile}
        return {**values, "target": target_named(stated).name}

    @field_validator("budget", mode="before")
    @classmethod
    def _read_budget(cls, value: Any) -> Any:
        return parse_budget(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_budget(self) -> Recipe:
        if self.budget is not None and self.trials is not None:
            raise ValueError("a run has either a budget or a number of trials, not both")
        if self.weights and len(self.objectives) > 1:
            raise ValueError("a run has either weights of one reward or several objectives, not both")
        return self

    @field_validator("objectives")
    @classmethod
    def _metric_first(cls, names: tuple[Objective, ...]) -> tuple[Objective, ...]:
        if names[:1] != ("metric",) or len(set(names)) < len(names):
            raise ValueError("the metric comes first, and each objective once, such as metric, latency")
        return names

    @field_validator("weights")
    @classmethod
    def _no_bonus(cls, weights: dict[Objective, float]) -> dict[Objective, float]:
        if any(not math.isfinite(weight) or weight < 0 for weight in weights.values()):
            raise ValueError("weights are numbers of 0 or more: a reward takes costs off")
        return weights

    @field_validator("rungs")
    @classmethod
    def _rising(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        if not rungs or rungs[-1] != 1 or rungs[0] <= 0 or any(low >= high for low, high in pairwise(rungs)):
            raise ValueError("rungs rise to 1, such as 0.11, 0.33, 1")
        return rungs

    @field_validator("shares")
    @classmethod
    def _whole(cls, shares: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
        if shares is not None and (min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6):
            raise ValueError("three positive shares that add up to 1 are needed, such as 0.7, 0.1, 0.2")
        return shares

    @property
    def seconds(self) -> float | None:
        """Return the time budget in seconds; None when the budget is a number of trials."""
        if self.trials is not None:
            return None
        return self.budget if self.budget is not None else DEFAULT_BUDGET


def parse_budget(text: str) -> float:
    """Return seconds of `90`, `90s`, `5min` or `1.5h`.

    Raises:
        UsageError: It is none of these.
    """
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-z]*)\s*", text.lower())
    unit = _UNITS.get(found[2] or "s") if found else None
    if found is None or unit is None or float(found[1]) <= 0:
        raise UsageError(f"budget {text!r} is not a time", hint="write 90s, 5min or 1h")
    return float(found[1]) * unit


def read_recipe(path: Path | None, values: Mapping[str, Any], preset: Mapping[str, Any] | None = None) -> Recipe:
    """Return the recipe of a TOML file with `values` on top, both on top of a preset's options.

    Raises:
        UsageError: The file cannot be read, or a key or value is wrong.
    """
    stated: dict[str, Any] = {}
    if path is not None:
        try:
            stated = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"cannot read the recipe: {error}", where=str(path)) from error
    told = over(dict(preset or {}), stated)
    return parse_config(Recipe, over(told, values), where=str(path) if path else "recipe")


def over(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of which the upper ones win; a budget takes the place of a number of trials, and the other way round.

    What is named one by one (`fixed`, `roles`, `kinds`) is put together.
    """
    limited = not {"budget", "trials"}.isdisjoint(upper)
    kept = {key: value for key, value in lower.items() if not (limited and key in ("budget", "trials"))}
    named = {
        key: {**kept[key], **upper[key]} for key in _NAMED if isinstance(kept.get(key), Mapping) and isinstance(upper.get(key), Mapping)
    }
    return {**kept, **upper, **named}
