"""Linear recurrences three ways: step by step, in chunks, and as a tree.

Each is ``(a, b, h0, reverse, transpose) -> ys`` over ``T >= 1`` steps ``[T, ...]``, and
computes ``y_t = h_t`` of

``h_t = a_t h_{t-1} + b_t``

or, with ``transpose``, what the reverse pass solves from the last step to the first:

``y_t = b_t + h_{t-1}``, ``h_t = a_t^T y_t``

``a`` has one step if it is constant over time. A run of steps acts on the state as one
step does, ``h -> a h + s``; ``(a, s)`` and then ``(a', s')`` are ``(a' a, a' s + s')``.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import lax

from rnnjax.base import Array


def sequential(
    a: Array, b: Array, h0: Array, reverse: bool = False, transpose: bool = False
) -> Array:
    """One step after another: ``T`` short ones, and nothing is read or stored twice."""
    a = _oriented(a, b, transpose)
    constant = len(a) < len(b)

    def step(h, inputs):
        a_t, b_t = (a[0], inputs) if constant else inputs
        return _step(a_t, b_t, h, transpose)

    return lax.scan(step, h0, b if constant else (a, b), reverse=reverse)[1]


def chunked(
    a: Array, b: Array, h0: Array, reverse: bool = False, transpose: bool = False
) -> Array:
    """About ``sqrt(T)`` chunks side by side: some ``3 sqrt(T)`` wider steps.

    The first pass finds what each chunk does to a state, a loop over the chunks then
    the state that each starts from, and the second pass fills them in. ``a`` and ``b``
    are read twice; what is kept beside the result is one step a chunk.
    """
    a = _every_step(_oriented(a, b, transpose), b)
    blocks = a.ndim > b.ndim
    length, size = len(b), math.isqrt(len(b))
    count = -(-length // size)
    missing = count * size - length

    def split(x):
        pad = (missing, 0) if reverse else (0, missing)
        x = jnp.pad(x, [pad] + [(0, 0)] * (x.ndim - 1)) if missing else x
        return x.reshape(count, size, *x.shape[1:])

    a, b = split(a), split(b)

    def index(k):
        return size - 1 - k if reverse else k

    def step(k, h):
        a_k, b_k = (lax.dynamic_index_in_dim(x, index(k), 1, False) for x in (a, b))
        return a_k, *_step(a_k, b_k, h, transpose)

    def summarise(k, run):
        a_k, s, _ = step(k, run[1])
        return _product(a_k, run[0], blocks), s

    def link(h, run):
        return times(run[0], h) + run[1], h

    def fill(k, state):
        _, h, y = step(k, state[0])
        return h, lax.dynamic_update_index_in_dim(state[1], y, index(k), 1)

    first = step(0, jnp.zeros_like(b[:, 0]))[:2]
    runs = lax.fori_loop(1, size, summarise, first)
    starts = lax.scan(link, h0, runs, reverse=reverse)[1]
    ys = lax.fori_loop(0, size, fill, (starts, jnp.zeros_like(b)))[1]
    ys = ys.reshape(count * size, *ys.shape[2:])
    return ys[missing:] if reverse else ys[:length]


def associative(
    a: Array, b: Array, h0: Array, reverse: bool = False, transpose: bool = False
) -> Array:
    """`jax.lax.associative_scan`: about ``2 log2(T)`` operations on many steps each."""
    a = _every_step(_oriented(a, b, transpose), b)
    blocks = a.ndim > b.ndim
    first = -1 if reverse else 0

    def join(run, then):
        return _product(then[0], run[0], blocks), times(then[0], run[1]) + then[1]

    s = times(a, b) if transpose else b
    s = s.at[first].add(times(a[first], h0))
    h = lax.associative_scan(join, (a, s), reverse=reverse)[1]
    return b + before(h, h0, reverse) if transpose else h


def times(a: Array, h: Array) -> Array:
    """``a h``: elementwise, or matrices ``[..., n, n]`` by vectors ``[..., n]``.

    The product is written as a sum: XLA:CPU fuses that, and calls a routine for each
    small product otherwise.
    """
    return a * h if a.ndim == h.ndim else jnp.sum(a * h[..., None, :], -1)


def before(hs: Array, h0: Array, reverse: bool) -> Array:
    """The state before each step: that of the step processed before, first ``h0``."""
    parts = (hs[1:], h0[None]) if reverse else (h0[None], hs[:-1])
    return jnp.concatenate(parts)


def _step(a: Array, b: Array, h: Array, transpose: bool) -> tuple[Array, Array]:
    """The next state and the output of one step."""
    if transpose:
        y = b + h
        return times(a, y), y
    h = times(a, h) + b
    return h, h


def _product(later: Array, earlier: Array, blocks: bool) -> Array:
    """``later earlier``: what two steps multiply the state by."""
    if not blocks:
        return later * earlier
    return times(later[..., None, :, :], earlier.mT).mT


def _oriented(a: Array, b: Array, transpose: bool) -> Array:
    """``a``, its matrices transposed where asked for."""
    return a.mT if transpose and a.ndim > b.ndim else a


def _every_step(a: Array, b: Array) -> Array:
    """``a`` with as many steps as ``b``."""
    return jnp.broadcast_to(a, (len(b), *a.shape[1:]))
