"""Fusion of retrievers: one graph holds the parts of two, and their scores of the catalogue are standardised and added."""
