"""Search strategies that need no package: random search, and `auto`, which picks among those that are installed."""
