"""`linear_scan`: a linear recurrence, parallel in time where that is faster.

Its tangent ``dh_t = a_t dh_{t-1} + (da_t h_{t-1} + db_t)`` is a linear recurrence with
the same ``a``. As equations for all of ``dh`` at once that is a linear system, and it
is stated as one by `jax.lax.custom_linear_solve`: solved from the first step to the
last, and its transpose, the reverse pass, from the last to the first. So every
derivative is made of the backend that runs the recurrence, and keeps ``a`` and ``hs``
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax._checks import check_flags, describe
from rnnjax._compat import like_type, target_device
from rnnjax.base import LINEAR_BACKENDS, Array, Shape
from rnnjax.kernels._device import why_not_by_itself
from rnnjax.kernels._linear import linear_kernel, why_not_linear_kernel
from rnnjax.unroll._linear_backends import (
    associative,
    before,
    chunked,
    sequential,
    times,
)
from rnnjax.unroll._masking import select

BACKENDS: dict[str, Callable[..., Array]] = dict(
    zip(
        (*LINEAR_BACKENDS, "pallas"),
        (sequential, chunked, associative, linear_kernel),
        strict=True,
    )
)


def linear_scan(
    a: Any,
    b: Any,
    h0: Any = None,
    *,
    resets: Any = None,
    reverse: bool = False,
    backend: str = "auto",
) -> tuple[Array, Array]:
    """The linear recurrence ``h_t = a_t h_{t-1} + b_t``, real or complex.

    Args:
      a: of the rank of ``b``, ``[T, *batch, ...]``: the product is elementwise. Or of
        one rank more, ``[T, *batch, ..., n, n]``: small matrices that multiply the
        vectors ``[..., n]`` along the last axis of ``h`` (a block-diagonal ``a``). All
        axes but those of the matrices may have size 1 and hold along the axis of ``b``;
        ``a [1, ...]``, constant over time, is never repeated by the loop.
      b: ``[T, *batch, ...]``. A step to be left out is ``a = 1, b = 0``.
      h0: the state before the first step, ``[*batch, ...]``; None is zeros.
      resets: bool ``[T, *batch]``, the leading axes of ``b``; where true, the state is
        zero before the step: nothing finite that came earlier, ``h0`` included, goes
        on.
      reverse: from the last step to the first.
      backend: "sequential" is a loop over the steps; "chunked" runs ``sqrt(T)`` chunks
        side by side; "associative" is `jax.lax.associative_scan`; "pallas" is a loop in
        one kernel, on TPUs, for ``a`` of the rank of ``b``; "auto" chooses by device.
        All have the same results up to rounding.

    Returns:
      The last state in the order of processing, and ``hs [T, *batch, ...]``, in the
      dtype that ``a``, ``b`` and ``h0`` promote to. For a sum of low precision terms,
      give a wider ``h0``.

    Raises:
      TypeError: not floating point; ``resets`` not bool.
      ValueError: shapes that do not fit; a backend that is unknown, or cannot run here.

    Example: an exponential average.
      >>> import jax.numpy as jnp, rnnjax
      >>> last, hs = rnnjax.linear_scan(jnp.full(4, 0.5), jnp.ones(4))
      >>> hs.tolist()
      [1.0, 1.5, 1.75, 1.875]

    Reference: Blelloch, "Prefix Sums and Their Applications", 1990; Martin and Cundy,
    "Parallelizing Linear Recurrent Neural Nets Over Sequence Length", ICLR 2018.
    """
    if backend not in ("auto", *BACKENDS):
        raise ValueError(
            f"backend: expected 'auto' or one of {tuple(BACKENDS)}, got {backend!r}."
        )
    a, b, h0 = _as_operands(a, b, h0)
    if backend == "auto":
        backend, _ = choose_backend(lambda: [(a, b)])
    if resets is not None:
        lead = b.shape[: jnp.ndim(resets)]
        resets = check_flags("resets", resets, lead)
        a = select(resets, jnp.zeros((1,) * a.ndim, a.dtype), a)
    if not len(b):
        return h0, b
    hs = _recurrence(BACKENDS[backend], reverse, a, b, h0)
    return hs[0 if reverse else -1], hs


def choose_backend(
    operands: Callable[[], Iterable[tuple[Any, Any]]],
) -> tuple[str, str]:
    """What "auto" stands for on this device, and why.

    ``operands`` returns the ``a`` and ``b`` of each recurrence, arrays or their types;
    it is asked only where a kernel may be taken.

    Measured on 2 cores, T from 1024 to 131072 and 1 to 4096 channels: a step of the
    loop costs 10 ns to 1 us there, and the loop moves the fewest bytes, so that no
    other backend is faster by more than the noise, and mostly they are 1.3 to 4 times
    slower. Where every operation has to be launched, the one with the fewest is taken:
    that is not measured yet.
    """
    if target_device()[0] == "cpu":
        return "sequential", "on CPU the loop moves the fewest bytes, at every size"
    fewest = "the fewest operations to launch; not measured"
    if target_device()[0] != "tpu":
        return "associative", fewest
    no_kernel = why_not_by_itself()
    if not no_kernel:
        obstacles = (why_not_linear_kernel(a, b) for a, b in operands())
        no_kernel = next(filter(None, obstacles), "")
    if no_kernel:
        return "associative", f"{fewest}; {no_kernel}"
    return "pallas", "one kernel, which moves the fewest bytes"


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _recurrence(solve, reverse, a, b, h0):
    return solve(a, b, h0, reverse)


@_recurrence.defjvp
def _recurrence_jvp(solve, reverse, primals, tangents):
    (a, _, h0), (da, db, dh0) = primals, tangents
    hs = _recurrence(solve, reverse, *primals)
    added = times(da, before(hs, h0, reverse)) + db
    return hs, tangent_recurrence(solve, reverse, a, added, dh0)


def tangent_recurrence(solve, reverse, a, db, dh0):
    """``dh_t = a_t dh_{t-1} + db_t``, of which JAX makes the transpose as well."""
    zeros = jnp.zeros_like(db[0])
    first = -1 if reverse else 0
    return lax.custom_linear_solve(
        lambda dhs: dhs - times(a, before(dhs, zeros, reverse)),
        db.at[first].add(times(a[first], dh0)),
        solve=lambda _, db: solve(a, db, zeros, reverse),
        transpose_solve=lambda _, ct: solve(a, ct, zeros, not reverse, transpose=True),
    )


def _as_operands(a: Any, b: Any, h0: Any) -> tuple[Array, Array, Array]:
    """The operands checked, in one dtype, of the sharding and varying axes of ``h``."""
    a, b = jnp.asarray(a), jnp.asarray(b)
    if not b.ndim:
        raise ValueError(f"b: expected [T, *batch, ...], got {describe(b)}.")
    h0 = jnp.zeros_like(b, shape=b.shape[1:]) if h0 is None else jnp.asarray(h0)
    dtype = jnp.result_type(a, b, h0)
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(
            f"a and b: expected floating point arrays, got {describe(a)} and "
            f"{describe(b)}. Convert them with .astype(jnp.float32)."
        )
    if h0.shape != b.shape[1:]:
        raise ValueError(
            f"h0: expected the shape {b.shape[1:]} of one step of b, got {h0.shape}."
        )
    if not _fits(a.shape, b.shape):
        raise ValueError(
            f"a: expected the axes of b, {b.shape}, each of that size or 1, or for "
            f"matrices {(*b.shape, b.shape[-1])}, got {a.shape}."
        )
    matrix = a.shape[b.ndim :]
    a = jnp.broadcast_to(a, (len(a), *b.shape[1:], *matrix)).astype(dtype)
    b, h0 = b.astype(dtype), h0.astype(dtype)

    def result(a, b, h0):
        hs = times(a, h0[None]) + b
        return jnp.sum(hs, 0), hs

    last, hs = jax.eval_shape(result, a, b, h0)
    return a, like_type(b, hs), like_type(h0, last)


def _fits(a: Shape, b: Shape) -> bool:
    """Whether ``a`` has the axes of ``b``, or those of matrices over its last one."""
    if len(a) == len(b) + 1 and len(b) > 1 and a[-2:] == (b[-1], b[-1]):
        a, b = a[:-2], b[:-1]
    return len(a) == len(b) and all(
        have in (1, want) for have, want in zip(a, b, strict=True)
    )
