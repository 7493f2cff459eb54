"""A template for plugins of AutoRec kernel."""
