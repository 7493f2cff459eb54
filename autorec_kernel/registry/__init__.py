"""Who is there: component specs, extension points, guarded discovery and look-up. Importing it loads declarations only."""

from __future__ import annotations

from autorec_kernel.registry.rows import ComponentRow, PluginRow, Status
from autorec_kernel.registry.spec import ComponentSpec, ExtensionPoint

__all__ = ["ComponentRow", "ComponentSpec", "ExtensionPoint", "PluginRow", "Status"]
