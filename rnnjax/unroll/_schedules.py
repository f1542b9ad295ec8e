"""What ``"auto"`` means: the choice of a schedule by size and device, in the open."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import Params, Schedule

# Measured on 2 cores (AVX2): accumulating a weight gradient step by step costs the
# traffic of the accumulator, which shows once it leaves the cache; deferring it costs
# one more forward product over all steps, which shows once the batch is large.
_CACHE_BYTES = 2 * 2**20
_SMALL_BATCH = 16


class Choice(NamedTuple):
    """A resolved schedule and one sentence a field on why."""

    schedule: Schedule
    reasons: tuple[str, ...]


def choose(schedule: Schedule, weights: Params, batch: int) -> Choice:
    """Resolves every "auto" of a schedule.

    Args:
      schedule: as asked for.
      weights: what is constant over the sequence, mostly ``params["recurrent"]``.
      batch: number of rows that one step computes.
    """
    gradient, why = schedule.gradient, "asked for"
    if gradient == "auto":
        gradient, why = _gradient(weights, batch)
    backend = "scan"
    reasons = (
        f"backend {backend}: "
        + ("asked for" if schedule.backend != "auto" else "the only one registered"),
        f"gradient {gradient}: {why}",
        "input products: "
        + (
            f"hoisted, blocks of {schedule.block} steps"
            if schedule.block
            else "hoisted, all steps at once"
        ),
        f"remat {schedule.remat}",
    )
    return Choice(Schedule(gradient, backend, schedule.remat, schedule.block), reasons)


def _gradient(weights: Params, batch: int) -> tuple[str, str]:
    size = sum(
        np.prod(leaf.shape) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(weights)
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
    )
    if jax.default_backend() != "cpu":
        return "deferred", "the weight gradient is one product outside the loop"
    if size >= _CACHE_BYTES and batch <= _SMALL_BATCH:
        return "deferred", (
            f"{size / 2**20:.1f} MiB of recurrent weights and a batch of {batch}: on "
            f"CPU their accumulator would cost more than the products deferral repeats"
        )
    return "autodiff", (
        f"{size / 2**20:.1f} MiB of recurrent weights and a batch of {batch}: on CPU "
        f"deferral pays from {_CACHE_BYTES / 2**20:.0f} MiB and up to a batch of "
        f"{_SMALL_BATCH}"
    )
