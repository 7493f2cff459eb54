"""The map of every hook: what a plugin may implement, grouped by lifecycle.

Declaration hooks are pure: called once when a kernel is built, they return `ComponentSpec` tuples and import nothing heavy. An
implementation that raises costs its own plugin those declarations and nobody else. An implementation takes the arguments it wants.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autorec_kernel.markers import hookspec
from autorec_kernel.registry.spec import ComponentSpec, ExtensionPoint

if TYPE_CHECKING:
    from autorec_kernel.records.trial import Trial

Components = tuple[ComponentSpec, ...]

# --- extension points: collected before everything else -------------------------------------------------------------------------


@hookspec
def autorec_extension_points() -> tuple[ExtensionPoint, ...]:  # type: ignore[empty-body]
    """Declare new kinds of component. Called once per kernel, first; each row gets listing, look-up, configs and checks."""


# --- components: once per kernel; the rows become `autorec plugins list` -----------------------------------------------------------


@hookspec
def autorec_readers() -> Components:  # type: ignore[empty-body]
    """Declare dataset readers. Called once per kernel; asked in order of id which of them accepts a source."""


@hookspec
def autorec_feature_ops() -> Components:  # type: ignore[empty-body]
    """Declare feature operations. Called once per kernel; each proposes where it applies when features are planned."""


@hookspec
def autorec_feature_selectors() -> Components:  # type: ignore[empty-body]
    """Declare feature selectors. Called once per kernel; the chosen one ranks the feature set once a run."""


@hookspec
def autorec_model_blocks() -> Components:  # type: ignore[empty-body]
    """Declare blocks, losses too. Called once per kernel; architectures name them."""


@hookspec
def autorec_blueprints() -> Components:  # type: ignore[empty-body]
    """Declare named architectures. Called once per kernel; each becomes a region of the search space."""


@hookspec
def autorec_search_strategies() -> Components:  # type: ignore[empty-body]
    """Declare search strategies. Called once per kernel; a run uses one."""


@hookspec
def autorec_evaluators() -> Components:  # type: ignore[empty-body]
    """Declare evaluators. Called once per kernel; a run uses one for all its trials."""


@hookspec
def autorec_executors() -> Components:  # type: ignore[empty-body]
    """Declare executors. Called once per kernel; a run sends its trials through one."""


@hookspec
def autorec_metrics() -> Components:  # type: ignore[empty-body]
    """Declare metrics. Called once per kernel; reports compute those that the task names."""


@hookspec
def autorec_compressors() -> Components:  # type: ignore[empty-body]
    """Declare compressors. Called once per kernel; each proposes its settings after the search."""


@hookspec
def autorec_planners() -> Components:  # type: ignore[empty-body]
    """Declare planners of the compression. Called once per kernel; a run asks one for its plan and for the certificate."""


@hookspec
def autorec_indexes() -> Components:  # type: ignore[empty-body]
    """Declare indexes of large catalogues. Called once per kernel; a bundle gets the first one that finds enough of its catalogue."""


@hookspec
def autorec_presets() -> Components:  # type: ignore[empty-body]
    """Declare presets: functions that return recipe options. Called once per kernel; `autorec run --preset` asks the one it names."""


# --- opening data ------------------------------------------------------------------------------------------------------------------


@hookspec
def autorec_open_dataset(path: Any, options: Mapping[str, Any]) -> Any:
    """Open a source as a table or frame, or return None to pass.

    Called whenever a dataset is opened, before the readers are asked; the first answer that is not None is used. A `DataError` ends
    the search for an opener; any other exception is logged and the next implementation is asked.
    """


# --- observers: an implementation that raises is logged and the run goes on ----------------------------------------------------------


@hookspec
def autorec_stage_started(stage: str, context: Mapping[str, Any]) -> None:
    """See a stage begin (data, features, search, evaluate, deploy). Called once a stage; the result is ignored."""


@hookspec
def autorec_stage_finished(stage: str, context: Mapping[str, Any]) -> None:
    """See a stage end, `context` holding its seconds and outcome. Called once a stage; the result is ignored."""


@hookspec
def autorec_trial_finished(trial: Trial) -> None:
    """See a trial end, whatever its status. Called once per (trial, rung) after it was journaled; the result is ignored."""


# --- after the run, and around it ----------------------------------------------------------------------------------------------------


@hookspec
def autorec_report_sections() -> Components:  # type: ignore[empty-body]
    """Declare report sections. Called once per kernel; each function is called by `Kernel.report_sections`, which no stage asks yet."""


@hookspec
def autorec_exporters() -> Components:  # type: ignore[empty-body]
    """Declare exporters. Called once per kernel; `autorec export --format NAME` of the export plugin, or a host, calls the one it names.

    `write(source: Path, out: Path)` writes a bundle or the folder of a run to `out`, a file or folder that is not there yet, and nothing
    else. What it cannot export it refuses with an `AutoRecError`. The command hands over a verified copy of a bundle.
    """


@hookspec
def autorec_signatures() -> Components:  # type: ignore[empty-body]
    """Declare kinds of signature. Called once per kernel; asked in order of id by every command that is given `--trust-key`.

    `signed(bundle: Path, keys: Sequence[Path]) -> str` returns the sha256 of the manifest's bytes if one of these keys signed them, and
    raises `BundleError` if not. Nothing of the bundle was parsed before; what is opened then must have that very manifest.
    """


@hookspec
def autorec_cli_commands() -> Components:  # type: ignore[empty-body]
    """Declare subcommands of `autorec`. Called once per kernel; the target is imported when its command runs."""
