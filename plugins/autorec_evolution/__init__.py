"""Evolutionary search with DEAP's selection operators."""
