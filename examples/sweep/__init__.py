"""Hyperparameters of the character model by Optuna: ``python -m examples.sweep``."""
