"""Evaluators that cost less than full training: inherited weights, a weight-sharing supernet, zero-cost proxies."""
