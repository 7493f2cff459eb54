"""First-party blueprints: published models as graphs of blocks."""
