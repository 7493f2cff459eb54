"""Readers of what the kernel does not read itself: RecBole atomic files and the frames that narwhals knows."""
