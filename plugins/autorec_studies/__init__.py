"""What is done with a search that has ended: run it again, compare, export it, or search alone on features that are there."""
