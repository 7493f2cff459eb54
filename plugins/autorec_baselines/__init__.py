"""First-party baselines: strong simple models that every run tries first."""
