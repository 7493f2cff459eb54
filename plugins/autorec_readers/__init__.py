"""Readers of what the kernel does not read itself: MovieLens and Amazon as they are shipped, RecBole atomic files, narwhals' frames."""
