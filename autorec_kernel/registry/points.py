"""The one table of the kernel's own kinds; plugins add rows through `autorec_extension_points`."""

from __future__ import annotations

from autorec_kernel.registry.spec import ExtensionPoint

__all__ = ["API_VERSION", "GROUP", "KERNEL_DISTRIBUTION", "KERNEL_POINTS"]

API_VERSION = 1
GROUP = "autorec.plugins"
KERNEL_DISTRIBUTION = "autorec-kernel"

_CONTRACTS, _LAWS = "autorec_kernel.contracts", "autorec_kernel.testing"

KERNEL_POINTS: tuple[ExtensionPoint, ...] = (
    ExtensionPoint("reader", "autorec_readers", f"{_CONTRACTS}.reader:Reader", "Opens a source of interactions."),
    ExtensionPoint("feature-op", "autorec_feature_ops", f"{_CONTRACTS}.features:FeatureOp", "Turns columns into features."),
    ExtensionPoint(
        "feature-selector", "autorec_feature_selectors", f"{_CONTRACTS}.selector:FeatureSelector", "Ranks features by their worth."
    ),
    ExtensionPoint("model-block", "autorec_model_blocks", f"{_CONTRACTS}.models:ModelBlock", "A word of the block language."),
    ExtensionPoint("blueprint", "autorec_blueprints", f"{_CONTRACTS}.models:Blueprint", "A named architecture."),
    ExtensionPoint("search-strategy", "autorec_search_strategies", f"{_CONTRACTS}.search:SearchStrategy", "Chooses the next candidates."),
    ExtensionPoint("evaluator", "autorec_evaluators", f"{_CONTRACTS}.evaluator:Evaluator", "Finds out how good a genotype is."),
    ExtensionPoint("executor", "autorec_executors", f"{_CONTRACTS}.evaluator:Executor", "Somewhere to run trials."),
    ExtensionPoint("metric", "autorec_metrics", f"{_CONTRACTS}.evaluator:Metric", "A figure of merit."),
    ExtensionPoint("compressor", "autorec_compressors", f"{_CONTRACTS}.deploy:Compressor", "Makes a model smaller or faster."),
    ExtensionPoint("planner", "autorec_planners", f"{_CONTRACTS}.deploy:Planner", "Decides which compressors, how strong, in which order."),
    ExtensionPoint("index", "autorec_indexes", f"{_CONTRACTS}.index:Index", "Finds the best items of a large catalogue quickly."),
    ExtensionPoint("preset", "autorec_presets", "", "A function that returns recipe options: a ready-made run."),
    ExtensionPoint("exporter", "autorec_exporters", "", "Writes a bundle or a run in another form.", f"{_LAWS}.exporters:check_exporter"),
    ExtensionPoint("signature", "autorec_signatures", "", "A function that refuses bundles which no trusted key signed."),
    ExtensionPoint("report-section", "autorec_report_sections", "", "A function (result: Mapping) that returns a Markdown section."),
    ExtensionPoint("cli-command", "autorec_cli_commands", "", "A Typer application or function: one more `autorec` subcommand."),
)
