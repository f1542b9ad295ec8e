"""Kernels of our own for TPUs, written in Pallas.

``Schedule(backend="pallas")`` asks for them: simple, LSTM and GRU, and by
``linear_scan(backend="pallas")`` diagonal linear recurrences. What is public here is
how to run them without a TPU.
"""

from rnnjax.kernels._device import interpret

__all__ = ["interpret"]
