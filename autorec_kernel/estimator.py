"""`AutoRec`: the whole road in scikit-learn manners. Parameters are stored as given; what is learnt ends in an underscore."""

from __future__ import annotations

import inspect
import json
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from autorec_kernel.errors import InfrastructureError, InterruptedRun, UnknownNameError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from autorec_kernel.kernel import Kernel
    from autorec_kernel.recipe import Recipe
    from autorec_kernel.serving import Recommender

__all__ = ["AutoRec"]

_NOT_RECIPE = ("out", "resume", "plugins")


class AutoRec:
    """A recommender that finds its own architecture.

    Args:
        task: recommend (rank a catalogue) | rate (predict a number) | click (predict a probability).
        target: device | edge | cloud: the limits of the bundle.
        budget: Time for `fit`: seconds, or text such as `"5min"`; 3 minutes when neither it nor `trials` is given.
        trials: Candidates besides the baselines, instead of a time; then equal seeds give equal results.
        seed: Of everything random.
        strategy: Id of a search strategy; auto = Bayesian optimisation if it is installed.
        workers: Processes that evaluate candidates; 0 = one a core, at most 4. Scripts that use more processes need the usual
            `if __name__ == "__main__":`.
        out: Folder of the run; None = a temporary one that goes when the estimator goes.
        resume: Go on with the run in `out`.
        plugins: None = all that are installed; names of the only ones to load; or a `Kernel`.
        metric, protocol, positive_threshold, deduplicate, roles, kinds: As in the recipe.
        evaluator_options, device, features, accept_leak: As in the recipe.

    Attributes:
        result_: What `result.json` holds (None after `load`).
        bundle_path_: Where the bundle stands.
        recommender_: What answers.

    Stability: parameters and public methods are stable for callers; the class is not meant to be subclassed.
    """

    def __init__(
        self,
        task: str = "recommend",
        target: str = "cloud",
        budget: float | str | None = None,
        trials: int | None = None,
        seed: int = 0,
        strategy: str = "auto",
        workers: int = 0,
        out: str | Path | None = None,
        resume: bool = False,
        plugins: Any = None,
        metric: str = "",
        protocol: str | None = None,
        positive_threshold: float | None = None,
        deduplicate: str | None = None,
        roles: Mapping[str, str] | None = None,
        kinds: Mapping[str, str] | None = None,
        evaluator_options: Mapping[str, Any] | None = None,
        device: str = "auto",
        features: str = "auto",
        accept_leak: Iterable[str] = (),
    ) -> None:
        self.task = task
        self.target = target
        self.budget = budget
        self.trials = trials
        self.seed = seed
        self.strategy = strategy
        self.workers = workers
        self.out = out
        self.resume = resume
        self.plugins = plugins
        self.metric = metric
        self.protocol = protocol
        self.positive_threshold = positive_threshold
        self.deduplicate = deduplicate
        self.roles = roles
        self.kinds = kinds
        self.evaluator_options = evaluator_options
        self.device = device
        self.features = features
        self.accept_leak = accept_leak

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name."""
        return {name: getattr(self, name) for name in _defaults()}

    def set_params(self, **parameters: Any) -> Self:
        """Change parameters.

        Raises:
            UnknownNameError: There is no such parameter; the nearest is offered.
        """
        for name in parameters:
            if name not in _defaults():
                raise UnknownNameError("parameter of AutoRec", name, _defaults())
        for name, value in parameters.items():
            setattr(self, name, value)
        return self

    def __sklearn_clone__(self) -> Self:
        parameters: dict[str, Any] = {name: dict(value) if type(value) is dict else value for name, value in self.get_params().items()}
        return type(self)(**parameters)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "recommender_")

    def __repr__(self) -> str:
        changed = [f"{name}={value!r}" for name, value in self.get_params().items() if value != _defaults()[name]]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __getstate__(self) -> dict[str, Any]:
        if self.__sklearn_is_fitted__():
            raise UsageError("a fitted AutoRec is not pickled or copied: its model is a bundle", hint="save(path), then AutoRec.load(path)")
        return dict(self.__dict__)

    def fit(self, frame: Any, users: Any = None, items: Any = None) -> Self:
        """Search, compress and verify a recommender.

        Args:
            frame: Interactions: a pandas frame, a path, or what a reader plugin opens. Column roles are inferred from names and values.
            users, items: Tables with one row a user, an item.

        Raises:
            AutoRecError: As the command line would say it; a parameter is wrong, the data cannot be used, nothing could be evaluated.
        """
        from autorec_kernel.pipeline import run
        from autorec_kernel.stages.log import Logged, log_to
        from autorec_kernel.stages.workplace import Silent

        recipe, kernel = self._recipe(), self._kernel()
        folder = self._folder()
        cleanup = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True) if self.out is None else None
        try:
            with log_to(folder, kernel) as log:
                found = run(frame, recipe, kernel, folder, users=users, items=items, resume=self.resume, reporter=Logged(Silent(), log))
            self._open(folder / str(found["bundle"]["path"]), json.loads(json.dumps(found)))  # lists, as in the file, not tuples
        except BaseException as error:
            if cleanup is not None:
                cleanup()
            if isinstance(error, InterruptedRun):
                raise self._interrupted(folder) from None
            raise
        self._forget_earlier(cleanup)
        return self

    def _recipe(self) -> Recipe:
        from autorec_kernel.recipe import read_recipe

        stated = {name: value for name, value in self.get_params().items() if name not in _NOT_RECIPE and value is not None}
        return read_recipe(None, stated)

    def _kernel(self) -> Kernel:
        from autorec_kernel.kernel import Kernel

        if isinstance(self.plugins, Kernel):
            return self.plugins
        if isinstance(self.plugins, str):
            raise UsageError(f"plugins={self.plugins!r} is not a list of names", hint=f"plugins=[{self.plugins!r}]")
        return Kernel.discover(allowed=self.plugins)

    def _folder(self) -> Path:
        if self.out is None:
            return Path(tempfile.mkdtemp(prefix="autorec-"))
        folder = Path(self.out)
        if (folder / "journal.jsonl").exists() and not self.resume:
            hint = "resume=True goes on with it; or choose another out"
            raise InfrastructureError("this folder holds a run already", where=str(folder), hint=hint)
        return folder

    def _interrupted(self, folder: Path) -> InterruptedRun:
        if self.out is None:
            return InterruptedRun("fit was stopped; its temporary folder is gone", hint="with out=FOLDER, what is finished would be kept")
        told = "fit was stopped; everything finished is kept"
        return InterruptedRun(told, where=str(folder), hint="set_params(resume=True), then fit again")

    def _open(self, bundle: Path, result: dict[str, Any] | None) -> None:
        from autorec_kernel.serving import Recommender

        recommender = Recommender.load(bundle)
        self.recommender_: Recommender = recommender
        self.bundle_path_ = bundle
        self.result_ = result

    def _forget_earlier(self, cleanup: weakref.finalize[Any, Any] | None) -> None:
        """Remove the temporary folder of an earlier `fit`."""
        earlier = self.__dict__.get("_cleanup")
        self._cleanup = cleanup
        if earlier is not None:
            earlier()

    def recommend(self, users: Any, k: int = 10) -> pd.DataFrame:
        """Return the best `k` unseen items of every user.

        Args:
            users: Ids (texts or numbers), or one id; unknown ones are answered too.
            k: Items a user; fewer when the catalogue is smaller.

        Returns:
            Columns user, item (ids as text), score (float), rank (from 1) and answered_by (model, fold-in or popularity).
        """
        import pandas as pd

        names = [_id(user) for user in ([users] if isinstance(users, str) or not isinstance(users, Iterable) else users)]
        answers = self._fitted().recommend(names, k=k)
        rows = [
            (answer.user, item, score, rank, answer.answered_by)
            for answer in answers
            for rank, (item, score) in enumerate(zip(answer.items, answer.scores, strict=True), start=1)
        ]
        return pd.DataFrame(rows, columns=["user", "item", "score", "rank", "answered_by"])

    def predict(self, pairs: Any, label: str = "") -> np.ndarray:
        """Return float64 [n]: the predicted label of every row (for `recommend`, the score of the item for the user).

        Args:
            pairs: A frame or file with the user and item columns of the training data, or (user, item) pairs.
            label: Which one, where several were learned; "" = the primary one.

        Raises:
            UnknownNameError: The model predicts no such label.
        """
        from autorec_kernel.deploy.rows import read_rows

        recommender = self._fitted()
        if isinstance(pairs, (list, tuple)):
            found = recommender.predict([_id(user) for user, _ in pairs], [_id(item) for _, item in pairs])
        else:
            rows = read_rows(pairs, recommender, kernel=self._kernel())
            found = recommender.predict(rows.users, rows.items, rows.columns)
        if label and label not in found.tasks:
            raise UnknownNameError("label", label, found.tasks)
        return found.tasks[label] if label else found.values

    def _fitted(self) -> Recommender:
        if not self.__sklearn_is_fitted__():
            raise UsageError("this AutoRec is not fitted yet", hint="fit(frame) first, or AutoRec.load(path)")
        return self.recommender_

    def save(self, path: str | Path) -> Path:
        """Write the bundle to a new folder, or to a file that ends in `.zip`; what was written is verified.

        Raises:
            UsageError: Something is there already, or the estimator is not fitted.
            InfrastructureError: It cannot be written.
        """
        from autorec_kernel.deploy.copy import copy_bundle

        digest = self._fitted().bundle.digest
        copy_bundle(self.bundle_path_, Path(path), require_digest=digest)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return an estimator that answers from a saved bundle.

        Raises:
            BundleError: The bundle is refused.
        """
        from autorec_kernel.serving import Recommender

        found = Recommender.load(path)
        model = cls(task=found.task, seed=int(found.bundle.manifest.get("seed", 0)))
        model.recommender_, model.bundle_path_, model.result_ = found, Path(path), None
        return model


def _defaults() -> dict[str, Any]:
    """Return parameter → default, in order."""
    return {name: one.default for name, one in inspect.signature(AutoRec.__init__).parameters.items() if name != "self"}


def _id(value: Any) -> str | None:
    """Return an id as the table's reader writes it: whole numbers without a fraction; None where it is missing."""
    if value is None or value != value:
        return None
    if not isinstance(value, str) and isinstance(number := getattr(value, "item", lambda: value)(), float) and number.is_integer():
        return str(int(number))
    return str(value)
