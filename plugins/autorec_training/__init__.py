"""First-party evaluator: full training."""
