"""Where a kernel may run: on a TPU, or interpreted, where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rnnjax._compat import target_device, whole_on_each_device

PASSED: frozenset[str] = frozenset()
"""Kinds of devices on which the kernels' tests have passed, on record in
``benchmarks/results``. "auto" takes a kernel there and nowhere else."""

_interpreting: ContextVar[bool] = ContextVar("interpreting", default=False)


@contextmanager
def interpret() -> Iterator[None]:
    """Inside, ``backend="pallas"`` runs by Pallas' interpreter, on any device.

    It computes what the kernel computes, slowly: for tests of kernels and for looking
    into them. Without it a kernel is compiled, which only a TPU can do. What decides is
    where a function is traced; `jax.jit` keeps what it has traced.

    Example:
      >>> import jax, rnnjax
      >>> from rnnjax import Schedule, kernels
      >>> rnn = rnnjax.gru(4, schedule=Schedule(backend="pallas"))
      >>> xs = jax.numpy.ones((10, 2, 3))
      >>> params = rnn.init(jax.random.key(0), xs[0])
      >>> with kernels.interpret():
      ...     h, hs = rnn.unroll(params, None, xs)
      >>> hs.shape
      (10, 2, 4)
    """
    token = _interpreting.set(True)
    try:
        yield
    finally:
        _interpreting.reset(token)


def interpreted() -> bool:
    """Whether kernels are interpreted here."""
    return _interpreting.get()


def why_not_here() -> str:
    """What keeps a kernel from running on the device traced for; "" for nothing."""
    platform, _ = target_device()
    if platform == "tpu" or interpreted():
        return ""
    return (
        f"the kernels are for TPUs and this is a {platform} (to try one out, slowly, "
        f"use it under rnnjax.kernels.interpret())"
    )


def why_not_by_itself() -> str:
    """What keeps "auto" from taking a kernel on a TPU; "" for nothing."""
    _, kind = target_device()
    if kind not in PASSED:
        return f"no passed run of the kernels on a {kind} is on record"
    if not whole_on_each_device():
        return "XLA splits no kernel over devices (inside jax.shard_map it need not)"
    return ""
