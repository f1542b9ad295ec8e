"""Runs a row of the registry: its inputs, its compiled functions, its slow oracle.

Compiling dominates the time of these tests. So one function a row and schedule gives
outputs and gradients, resets and mask are always its arguments, and the properties
evaluate it at different arguments.
"""

from __future__ import annotations

import functools
import itertools
import os
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

import rnnjax
from rnnjax import Schedule
from tests.conformance.registry import BY_NAME, B, T

PLATFORM = os.environ.get("RNNJAX_TEST_PLATFORM", "cpu")
DEFERRED = Schedule(gradient="deferred", backend="scan")
AUTODIFF = Schedule(gradient="autodiff", backend="scan")
COUNTER = itertools.count()
EXACT = {"rtol": 1e-9, "atol": 1e-9}


def compiled(function, traces=1):
    """`function` under jit; tracing it more often raises."""

    def named(*args):
        return function(*args)

    named.__name__ = f"{function.__name__}_{next(COUNTER)}"  # chex counts by name
    limited = chex.assert_max_traces(named, n=traces)
    return jax.jit(limited)


# --- trees with leaves of every kind -------------------------------------------------


def is_float(leaf):
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def is_key(leaf):
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def floats(tree):
    """The leaves that have a gradient, by name."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(k): leaf for k, leaf in leaves if is_float(leaf)}


def with_floats(tree, new):
    """`tree` with the leaves that have a gradient replaced."""

    def choose(path, leaf):
        return new.get(jax.tree_util.keystr(path), leaf)

    return jax.tree_util.tree_map_with_path(choose, tree)


def comparable(tree):
    """PRNG keys as their data, everything as NumPy, None kept."""

    def convert(leaf):
        return np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)

    return jax.tree.map(convert, tree)


def assert_close(actual, expected, **tolerance):
    chex.assert_trees_all_close(
        comparable(actual), comparable(expected), **(tolerance or EXACT)
    )


def assert_same(actual, expected):
    chex.assert_trees_all_equal(comparable(actual), comparable(expected))


def random_like(generator, tree, scale=1.0):
    """Random leaves of the shapes and dtypes of `tree`."""

    def draw(leaf):
        if is_key(leaf):
            seeds = generator.integers(0, 1000, leaf.shape)
            return jax.vmap(jax.random.key)(seeds.ravel()).reshape(leaf.shape)
        if is_float(leaf):
            return jnp.asarray(scale * generator.normal(size=leaf.shape), leaf.dtype)
        if leaf.dtype == jnp.bool_:
            return jnp.asarray(generator.random(leaf.shape) < 0.5)
        return jnp.asarray(generator.integers(0, 4, leaf.shape), leaf.dtype)

    return jax.tree.map(draw, tree)


def inner(a, b):
    """The pairing under which JAX transposes; complex numbers are not conjugated."""
    return sum(float(jnp.real(jnp.sum(a[name] * b[name]))) for name in a)


def select(flags, on_true, on_false):
    """``where(flags, ...)`` over leading axes; on_false may be a number."""

    def choose(a, b):
        shape = flags.shape + (1,) * (jnp.ndim(a) - flags.ndim)
        return jnp.where(flags.reshape(shape), a, b)

    if not isinstance(on_false, int | float):
        return jax.tree.map(choose, on_true, on_false)
    return jax.tree.map(
        lambda a: a if is_key(a) else choose(a, jnp.asarray(on_false, a.dtype)), on_true
    )


# --- one row -------------------------------------------------------------------------


class Arguments(NamedTuple):
    """What a row is run with."""

    params: Any
    carry: Any
    xs: Any
    resets: Any
    mask: Any
    key: Any

    def plain(self):
        """No resets, everything valid."""
        return self._replace(
            resets=jnp.zeros_like(self.resets), mask=jnp.ones_like(self.mask)
        )

    def flipped(self):
        """Backwards in time."""
        turn = functools.partial(jax.tree.map, lambda a: a[::-1])
        return self._replace(
            xs=turn(self.xs), resets=turn(self.resets), mask=turn(self.mask)
        )

    def padded(self, values):
        """Those values, in turn, where the mask is false."""
        generator = np.random.default_rng(3)

        def pad(leaf):
            if not is_float(leaf):
                return leaf
            noise = generator.choice(values, leaf.shape).astype(leaf.dtype)
            return select(self.mask, leaf, noise)

        return self._replace(xs=jax.tree.map(pad, self.xs))

    def blank(self):
        """Zeros where the mask is false."""
        return self._replace(xs=select(self.mask, self.xs, 0))


@functools.cache
def arguments(name, dtype="float64") -> Arguments:
    """Random parameters, carry, inputs, resets and mask for a row."""
    row, generator = BY_NAME[name], np.random.default_rng(0)
    rnn = layer(name, AUTODIFF, dtype)
    xs = jax.tree.map(jnp.asarray, row.inputs(generator, (T, B), dtype))
    params = rnn.init(jax.random.key(0), jax.tree.map(lambda a: a[0], xs))
    noise = random_like(generator, params, 0.3)
    params = with_floats(params, jax.tree.map(jnp.add, floats(params), floats(noise)))
    carry = random_like(generator, rnn.initial_carry(params, (B,)), 0.5)
    # Lengths 3, 5 and 0, and a hole just before the start of a segment; resets that
    # are first, next to each other, last, and at masked steps.
    mask = [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 0, 1, 1, 0]]
    resets = [[1, 0, 1, 1, 0], [0, 1, 1, 0, 1], [0, 1, 0, 0, 0], [0, 1, 1, 0, 0]]
    mask, resets = (jnp.asarray(np.array(a).T, bool) for a in (mask, resets))
    return Arguments(params, carry, xs, resets, mask, jax.random.key(1))


@functools.cache
def layer(name, schedule=DEFERRED, dtype="float64"):
    return BY_NAME[name].make(schedule, jnp.dtype(dtype))


def unroll(row, rnn, reverse=False):
    """``Arguments -> (carry, ys)`` of a row's layer."""

    def run(a):
        options = {"key": a.key} if row.has_key else {}
        return rnn.unroll(
            a.params,
            a.carry,
            a.xs,
            resets=a.resets,
            mask=a.mask,
            reverse=reverse,
            **options,
        )

    return run


def loop(row, rnn):
    """The slow oracle: Python loops of `step`, with the masks applied by hand."""
    if row.halves is not None:
        return both_ways(row)
    if not row.zeros:
        return lambda a: step_loop(row, rnn, a, carries=True)
    return lambda a: step_loop(row, rnn, a)


def step_loop(row, rnn, a, carries=False):
    length = a.mask.shape[0]
    keys = rnnjax.step_keys(a.key, length) if row.has_key else [None] * length
    carry, ys, step = a.carry, [], jax.jit(rnn.step)
    for t in range(length):
        x = jax.tree.map(lambda leaf, t=t: leaf[t], a.xs)
        reset = a.resets[t] & a.mask[t]
        if row.cut and t and t % row.cut == 0:
            carry = jax.tree.map(jax.lax.stop_gradient, carry)
        new, y = step(a.params, carry, x, reset=reset, key=keys[t])
        carry = select(a.mask[t], new, carry)
        # The layer under test is `with_carries`: its second output is the carry.
        ys.append(
            (select(a.mask[t], y[0], 0), carry) if carries else select(a.mask[t], y, 0)
        )
    return carry, jax.tree.map(lambda *leaves: jnp.stack(leaves), *ys)


def both_ways(row):
    """The oracle of a bidirectional: two loops, the second over flipped time."""
    *makers, merged = row.halves
    dtype = jnp.dtype("float64" if jax.config.jax_enable_x64 else "float32")
    forward, backward = (make(AUTODIFF, dtype) for make in makers)

    def run(a):
        keys = rnnjax.step_keys(a.key, a.mask.shape[0])

        def half(i, name):
            key = keys.fold_in(i)
            return a._replace(params=a.params[name], carry=a.carry[i], key=key)

        first, ys = step_loop(row, forward, half(0, "forward"))
        turned = half(1, "backward")._replace(resets=starts_from_behind(a))
        last, back = step_loop(row, backward, turned.flipped())
        back = jax.tree.map(lambda y: y[::-1], back)
        return (first, last), merged(ys, back)

    return run


def starts_from_behind(a):
    """Where the backward half starts anew: at the last valid step of each segment."""
    resets, mask = np.asarray(a.resets), np.asarray(a.mask)
    starts = np.zeros_like(resets)
    for example in np.ndindex(resets.shape[1:]):
        after = False  # whether the valid step after this one begins a segment
        for t in reversed(range(len(resets))):
            if mask[t][example]:
                starts[t][example] = after
                after = resets[t][example]
    return jnp.asarray(starts)


class Result(NamedTuple):
    """Outputs and gradients."""

    outputs: Any
    gradients: dict


def differentiated(run):
    """``(arguments, cotangents) -> Result``: gradients of params, carry and xs."""

    def result(a, cotangents):
        def of_floats(new):
            outputs = run(a._replace(**with_floats(a._asdict(), new)))
            return floats(outputs), outputs

        _, vjp, outputs = jax.vjp(of_floats, floats(a._asdict()), has_aux=True)
        return Result(outputs, vjp(cotangents)[0])

    return result


@functools.cache
def gradient(name, schedule=DEFERRED, reverse=False, dtype="float64"):
    """The compiled `differentiated` of a row; it may be traced once and no more."""
    row = BY_NAME[name]
    run = unroll(row, layer(name, schedule, dtype), reverse)
    return compiled(differentiated(run))


@functools.cache
def cotangents(name, dtype="float64"):
    """Random cotangents of a row's outputs."""
    row = BY_NAME[name]
    run = unroll(row, layer(name, AUTODIFF, dtype))
    outputs = jax.eval_shape(run, arguments(name, dtype))
    return random_like(np.random.default_rng(2), floats(outputs))


def evaluate(
    name, a, schedule=DEFERRED, *, reverse=False, dtype="float64", weights=None
):
    """Outputs of a row at those arguments, and gradients for those cotangents."""
    weights = cotangents(name, dtype) if weights is None else weights
    return gradient(name, schedule, reverse, dtype)(a, weights)


def evaluate_loop(name, a, dtype="float64"):
    """The same from the slow oracle."""
    row = BY_NAME[name]
    run = loop(row, layer(name, AUTODIFF, dtype))
    return differentiated(run)(a, cotangents(name, dtype))
