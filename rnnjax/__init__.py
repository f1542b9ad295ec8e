"""Recurrent networks in JAX: cells as equations, run as hand-tuned kernels are.

A `Cell` is one recurrence in pure functions; `layer` makes an `RNN` of it, which is
unrolled over time-major sequences, stepped for streaming, and composed.
"""

from importlib.metadata import version as _version

from rnnjax import cells, initializers
from rnnjax._aliases import clockwork, gru, lru, lstm, min_gru, rg_lru, simple
from rnnjax._explain import explain
from rnnjax._summary import summary
from rnnjax.base import (
    RNN,
    Cell,
    Explanation,
    Schedule,
    StepKey,
    StepKeys,
    step_keys,
)
from rnnjax.combinators import (
    attend,
    batch_major,
    bidirectional,
    dense,
    dropout,
    embed,
    hierarchical,
    last_step,
    layer,
    max_pool,
    mean_pool,
    norm,
    residual,
    stack,
    truncate,
    variational_dropout,
    with_carries,
    zoneout,
)
from rnnjax.unroll import NewtonInfo, linear_scan, newton_scan, scan

__version__ = _version("rnnjax")

__all__ = [
    "RNN",
    "Cell",
    "Explanation",
    "NewtonInfo",
    "Schedule",
    "StepKey",
    "StepKeys",
    "attend",
    "batch_major",
    "bidirectional",
    "cells",
    "clockwork",
    "dense",
    "dropout",
    "embed",
    "explain",
    "gru",
    "hierarchical",
    "initializers",
    "last_step",
    "layer",
    "linear_scan",
    "lru",
    "lstm",
    "max_pool",
    "mean_pool",
    "min_gru",
    "newton_scan",
    "norm",
    "residual",
    "rg_lru",
    "scan",
    "simple",
    "stack",
    "step_keys",
    "summary",
    "truncate",
    "variational_dropout",
    "with_carries",
    "zoneout",
]
