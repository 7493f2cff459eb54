"""`NASRec`: arrays of users, items and ratings in, a searched recommender out."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from autorec_kernel.errors import UsageError
from autorec_kernel.estimator import AutoRec
from autorec_kernel.kernel import Kernel
from autorec_kernel.pipeline import run
from autorec_kernel.recipe import read_recipe
from autorec_kernel.stages.workplace import Silent
from autorec_nasrec.file import Facts, read_file, write_file
from autorec_nasrec.options import options

__all__ = ["NASRec"]


class NASRec:
    """A recommender from explicit ratings that searches its own architecture.

    Args:
        name: What it is called.
        search_space: narrow | wide | full: how much is searched.
        search_iterations: Architectures that are tried, besides the simple models that every run is compared with; known good ones first.
        epochs_per_arch: Passes over the training rows that each architecture of the search gets.
        max_params: Hard limit on parameters, embeddings included; what exceeds it is not trained.
        max_latency_ms: Hard limit on the predicted milliseconds of one request.
        epochs: Passes that the best of them get, and the known good ones; the best epoch counts.
        batch_size, learning_rate: Of every training.
        verbose: Whether progress is shown on stderr.
        seed: Of everything random.
        out: Folder of the run, with its journal and result; None = a temporary one that goes with the model.
        plugins: A `Kernel`, or names of the only plugins to load; None = all that are installed.

    Attributes:
        result_: What `result.json` of the run holds; None after `load`.

    Stability: parameters and public methods are stable for callers; the class is not meant to be subclassed.
    """

    def __init__(
        self,
        name: str = "NASRec",
        search_space: Literal["narrow", "wide", "full"] = "wide",
        search_iterations: int = 200,
        epochs_per_arch: int = 10,
        max_params: float = 5e6,
        max_latency_ms: float = 50,
        epochs: int = 20,
        batch_size: int = 256,
        learning_rate: float = 0.001,
        verbose: bool = False,
        *,
        seed: int = 0,
        out: str | Path | None = None,
        plugins: Any = None,
    ) -> None:
        self.name = name
        self.search_space = search_space
        self.search_iterations = search_iterations
        self.epochs_per_arch = epochs_per_arch
        self.max_params = max_params
        self.max_latency_ms = max_latency_ms
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.verbose = verbose
        self.seed = seed
        self.out = out
        self.plugins = plugins
        self.result_: dict[str, Any] | None = None
        self._model: AutoRec | None = None
        self._facts = Facts(name, (-np.inf, np.inf), False)

    def fit(self, user_ids: Any, item_ids: Any, ratings: Any) -> Self:
        """Search on ratings; return the model.

        Args:
            user_ids, item_ids: [n] numbers or texts.
            ratings: [n] numbers, larger is better.

        Raises:
            UsageError: The arrays have different lengths, or an argument of the model is wrong.
            AutoRecError: The ratings cannot be used, or no architecture could be trained.
        """
        frame = _frame(user_ids, item_ids, ratings)
        recipe = read_recipe(None, {**self._options(), "seed": self.seed})
        kernel = self.plugins if isinstance(self.plugins, Kernel) else Kernel.discover(allowed=self.plugins)
        folder = Path(tempfile.mkdtemp(prefix="nasrec-")) if self.out is None else Path(self.out)
        if self.out is None:
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        with self._reporting() as reporter:
            self.result_ = run(frame, recipe, kernel, folder, reporter=reporter)
        self._model = AutoRec.load(folder / str(self.result_["bundle"]["path"]))
        whole, held_out = (
            frame["item_id"].dtype.kind in "iu",
            _pairs(frame.iloc[np.load(folder / "splits" / "test.npy", allow_pickle=False)]),
        )
        self._facts = Facts(self.name, (float(frame["rating"].min()), float(frame["rating"].max())), whole, held_out)
        return self

    def predict(self, user_id: Any, item_id: Any) -> float:
        """Return the predicted rating, inside the range of the training ratings; unknown ids are answered like any other."""
        return float(self.batch_predict([(user_id, item_id)])[0])

    def batch_predict(self, pairs: Sequence[tuple[Any, Any]]) -> np.ndarray:
        """Return float64 [n], what `predict` returns for each (user, item)."""
        low, high = self._facts.span
        found: np.ndarray = np.clip(self._fitted().predict([(user, item) for user, item in pairs]), low, high)
        return found

    def recommend(self, user_id: Any, top_k: int = 10, exclude_seen: bool = True) -> list[Any]:
        """Return the ids of the items with the highest predicted rating, best first, without those that the user has rated.

        Ids are whole numbers if all of training were, else texts.
        """
        user = _text(user_id)
        held_out = self._facts.held_out.get(user, ()) if exclude_seen else ()
        (answer,) = self._fitted().recommender_.recommend([user], k=top_k, exclude_seen=exclude_seen, exclude=held_out)
        return [int(item) if self._facts.whole_items else item for item in answer.items]

    def save(self, path: str | Path) -> Path:
        """Write the model to one file, whatever its ending; a file that is there is replaced. Nothing is pickled."""
        write_file(Path(path), self._facts, self._fitted().bundle_path_)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the model of a file that `save` wrote; it answers bit for bit as the saved one.

        Raises:
            BundleError: The file is damaged, or holds something else.
        """
        folder = Path(tempfile.mkdtemp(prefix="nasrec-"))
        try:
            facts, bundle = read_file(Path(path), folder)
            model = cls(facts.name)
            model._model, model._facts = AutoRec.load(bundle), facts
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)
        return model

    def _options(self) -> dict[str, Any]:
        return options(
            self.search_space,
            self.search_iterations,
            self.epochs_per_arch,
            self.max_params,
            self.max_latency_ms,
            self.epochs,
            self.batch_size,
            self.learning_rate,
        )

    def _reporting(self) -> Any:
        from autorec_kernel.cli.progress import reporting

        return reporting("rmse", None) if self.verbose else nullcontext(Silent())

    def _fitted(self) -> AutoRec:
        if self._model is None:
            raise UsageError(f"{self.name} is not fitted yet", hint="fit(user_ids=…, item_ids=…, ratings=…) first, or NASRec.load(path)")
        return self._model


def _frame(user_ids: Any, item_ids: Any, ratings: Any) -> pd.DataFrame:
    columns = {"user_id": user_ids, "item_id": item_ids, "rating": ratings}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise UsageError(f"the arrays have different lengths: {lengths}", hint="give one user, item and rating a row")
    return pd.DataFrame({name: np.asarray(values) for name, values in columns.items()})


def _pairs(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Return user → items of ratings, as texts."""
    found: dict[str, list[str]] = {}
    for user, item in zip(rows["user_id"].tolist(), rows["item_id"].tolist(), strict=True):
        found.setdefault(_text(user), []).append(_text(item))
    return found


def _text(value: Any) -> str:
    """Return an id as the table's reader writes it: whole numbers without a fraction."""
    return str(int(value)) if isinstance(value, float | np.floating) and float(value).is_integer() else str(value)
