"""The gates' activation."""

import numpy as np


def sigmoid(a: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-a))``, written with tanh so that large ``-a`` cannot overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * a))
