"""Declares `autorec export` and three forms of a bundle; nothing heavy is imported until one is written."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_cli_commands", "autorec_exporters"]


@hookimpl
def autorec_cli_commands() -> tuple[ComponentSpec, ...]:
    """Return the subcommand of this package."""
    return (ComponentSpec("export", "autorec_export.command:export", "Write a bundle or a run in another form."),)


@hookimpl
def autorec_exporters() -> tuple[ComponentSpec, ...]:
    """Return the exporters of this package."""
    return (
        ComponentSpec("onnx", "autorec_export.onnx_form:write_onnx", "The graph with its inputs explained, tables, and an example."),
        ComponentSpec("triton", "autorec_export.triton:write_triton", "A model repository of the Triton inference server."),
        ComponentSpec("docker", "autorec_export.docker:write_docker", "A Dockerfile with the bundle, pinned, for `autorec serve`."),
    )
