"""The search strategy that needs nothing: random search."""
