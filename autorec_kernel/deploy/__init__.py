"""Trained model → compressed model → bundle."""
