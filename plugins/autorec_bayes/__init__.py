"""Bayesian optimisation: Optuna's tree-structured Parzen estimator behind ask and tell."""
