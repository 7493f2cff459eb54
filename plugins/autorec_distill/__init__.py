"""Distillation: a smaller model learns what the best models of a search say."""
