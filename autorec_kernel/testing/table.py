"""Which laws a kind of component is held to: the one table behind the pytest classes, `--autorec-certify` and `plugins check`."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["CHECKS", "HOMES", "ONCE"]

_CONFIG = ("check_config_is_frozen_and_strict", "check_defaults_lie_in_domains", "check_constructor_is_cheap")
_LAWS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "feature-op": {
        "feature_ops": (
            "check_proposals_are_sound",
            "check_fit_leaves_inputs_alone",
            "check_fit_is_deterministic",
            "check_fits_share_nothing",
            "check_features_are_as_declared",
            "check_unknown_reads_as_row_zero",
            "check_many_rows_equal_one_by_one",
            "check_program_is_data",
            "check_program_repeats_in_another_process",
        ),
        "feature_leaks": (
            "check_future_changes_no_past",
            "check_own_future_changes_no_past",
            "check_folding_changes_no_past",
            "check_unused_values_teach_nothing",
        ),
    },
    "feature-selector": {"selectors": ("check_ranking_is_complete", "check_ranking_is_deterministic")},
    "model-block": {
        "block_shapes": (
            "check_block_declares_ports",
            "check_output_allocates_nothing",
            "check_module_gives_what_output_says",
            "check_values_are_finite",
            "check_module_leaves_inputs_alone",
            "check_padding_changes_nothing",
            "check_rows_are_independent",
            "check_eval_is_deterministic",
        ),
        "block_learning": ("check_gradient_reaches_every_parameter", "check_gradient_reaches_every_input"),
        "block_options": ("check_options_matter",),
        "block_storage": ("check_state_survives_safetensors", "check_solve_is_deterministic", "check_exports_to_onnx"),
    },
    "blueprint": {
        "blueprints": (
            "check_blueprint_declares_role_and_tasks",
            "check_architecture_is_data",
            "check_outputs_fit_the_role",
            "check_blocks_are_known_and_build",
            "check_network_trains_and_serves",
            "check_digest_repeats_in_another_process",
        ),
        "blueprint_networks": ("check_network_survives_storage", "check_padding_changes_no_answer"),
    },
    "search-strategy": {
        "strategies": (
            "check_ask_gives_exactly_what_is_asked",
            "check_proposals_are_legal",
            "check_failures_are_data",
            "check_proposals_are_explained",
            "check_sessions_are_pure",
            "check_sessions_share_nothing",
            "check_ask_uses_no_global_state",
            "check_trials_stay_as_they_were",
            "check_proposals_repeat_in_another_process",
        ),
    },
    "evaluator": {
        "evaluators": (
            "check_subspace_is_legal",
            "check_evaluation_is_plain_data",
            "check_evaluation_is_pure",
            "check_evaluator_keeps_its_deadline",
            "check_models_come_back",
        ),
    },
    "executor": {
        "executors": (
            "check_results_do_not_depend_on_workers",
            "check_bad_tasks_become_statuses",
            "check_submit_returns_at_once",
            "check_executor_closes",
        ),
    },
    "compressor": {
        "compressors": (
            "check_compressor_proposes_its_settings",
            "check_compressor_leaves_the_model_alone",
            "check_compression_makes_it_smaller",
            "check_compression_keeps_the_interface",
            "check_compression_is_deterministic",
        ),
    },
    "index": {
        "indexes": (
            "check_build_gives_plain_arrays",
            "check_build_repeats",
            "check_candidates_are_rows",
            "check_effort_pays",
            "check_index_repeats_in_another_process",
            "check_damaged_arrays_are_refused",
        ),
    },
    "planner": {
        "planners": (
            "check_taken_steps_can_be_applied_again",
            "check_plan_leaves_the_model_alone",
            "check_plan_repeats",
            "check_failing_compressors_cost_their_own_steps",
            "check_limits_are_kept_or_told",
            "check_deadline_ends_the_planning",
        ),
    },
    "metric": {
        "metrics": (
            "check_metric_is_plain",
            "check_metric_is_permutation_invariant",
            "check_metric_is_bounded_by_the_oracle",
            "check_metric_heeds_k",
        ),
    },
    "reader": {"readers": ("check_reader_declines_politely", "check_reader_is_quick_to_answer")},
}
CHECKS: Mapping[str, tuple[str, ...]] = {
    kind: (*_CONFIG, *(name for names in rooms.values() for name in names)) for kind, rooms in _LAWS.items()
}
HOMES: Mapping[str, str] = {
    **dict.fromkeys((*_CONFIG, "check_implements"), "component"),
    **{name: room for rooms in _LAWS.values() for room, names in rooms.items() for name in names},
}
ONCE = frozenset(  # slow, and the same for every config: run with the first one
    {
        "check_defaults_lie_in_domains",
        "check_exports_to_onnx",
        "check_options_matter",
        "check_proposals_repeat_in_another_process",
        "check_program_repeats_in_another_process",
        "check_digest_repeats_in_another_process",
        "check_proposals_are_sound",
        *CHECKS["executor"][3:],
        *CHECKS["evaluator"][3:],
        *CHECKS["compressor"][3:],
    }
)
