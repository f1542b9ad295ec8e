"""Cells: one recurrence each. ``rnnjax.NAME(...)`` is ``layer(cells.NAME(...))``."""

from rnnjax.cells._clockwork import ClockworkCarry, clockwork
from rnnjax.cells._gru import gru
from rnnjax.cells._linear import lru, min_gru, rg_lru
from rnnjax.cells._lstm import LSTMCarry, lstm
from rnnjax.cells._simple import simple

__all__ = [
    "ClockworkCarry",
    "LSTMCarry",
    "clockwork",
    "gru",
    "lru",
    "lstm",
    "min_gru",
    "rg_lru",
    "simple",
]
