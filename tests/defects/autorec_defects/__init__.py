"""Planted defects and their sound twins."""
