"""A layer by kernels beside the same layer by `lax.scan` and autodiff."""

from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np

import rnnjax
from rnnjax import Schedule, cells, kernels

F = 3
KERNELS = Schedule(backend="pallas")
ORACLE = Schedule(gradient="autodiff", backend="scan")
ON_TPU = jax.default_backend() == "tpu"
TOLERANCE = {"float32": 1e-3 if ON_TPU else 1e-5, "bfloat16": 2e-2}
CELLS = {
    "simple": cells.simple,
    "relu": lambda size, **k: cells.simple(size, activation=jax.nn.relu, **k),
    "lstm": cells.lstm,
    "gru": cells.gru,
    "gru_after": lambda size, **k: cells.gru(size, reset_after=True, **k),
}


def with_learned_start(cell):
    """The cell, its initial carry a parameter, so that resets have a gradient."""

    def initial_carry(params, batch_shape=()):
        def of_batch(leaf, like):
            return jnp.broadcast_to(leaf, like.shape).astype(like.dtype)

        zeros = cell.initial_carry(params, batch_shape)
        return jax.tree.map(of_batch, params["initial"], zeros)

    return cell._replace(initial_carry=initial_carry)


def example(cell, length, batch, size, *, mask=False, carry=True, dtype="float32"):
    """Parameters, a given carry and inputs, all of them random."""
    draw = np.random.default_rng(0)

    def normal(shape, scale=0.5):
        return jnp.asarray(draw.normal(size=shape) * scale, jnp.float32)

    xs = normal((length, *batch, F), 1.0)
    params = cell.init(jax.random.key(0), jax.ShapeDtypeStruct((F,), jnp.float32))
    # Not so large that a recurrence of many units turns chaotic: no two roundings have
    # the same gradient there.
    noise = lambda p: normal(p.shape, min(0.2, 0.5 * len(p) ** -0.5))  # noqa: E731
    params = jax.tree.map(lambda p: p + noise(p).astype(p.dtype), params)
    plain = cell.initial_carry(params, ())
    params["initial"] = jax.tree.map(lambda leaf: normal(leaf.shape), plain)
    if mask:
        params["recurrent"]["mask"] = normal((*batch, size)) + 1
    states = cell.initial_carry(params, batch)
    states = jax.tree.map(lambda s: normal(s.shape).astype(s.dtype), states)
    return params, states if carry else None, xs


def flags(length, batch, kinds):
    """Options of `unroll`: resets, and a mask or lengths."""
    draw = np.random.default_rng(1)
    options = {}
    if "resets" in kinds:
        options["resets"] = jnp.asarray(draw.random((length, *batch)) < 0.3)
    if "mask" in kinds:
        options["mask"] = jnp.asarray(draw.random((length, *batch)) < 0.7)
    if "lengths" in kinds:
        options["lengths"] = jnp.asarray(draw.integers(0, length + 1, batch))
    return options


def weighed(a):
    """A sum whose derivatives, of both signs, are bfloat16 numbers."""
    weights = jnp.cos(jnp.arange(a.size, dtype=jnp.float32)).astype(jnp.bfloat16)
    return jnp.sum(a.reshape(-1).astype(jnp.float32) * weights.astype(jnp.float32))


def results(cell, schedule, args, **options):
    """Values, and gradients of all that is given, of one schedule."""
    rnn = rnnjax.layer(with_learned_start(cell), schedule)

    def loss(params, carry, xs):
        last, ys = rnn.unroll(params, carry, xs, **options)
        leaves = [ys, *jax.tree.leaves(last)]
        return sum(map(weighed, leaves)), (last, ys)

    gradient = jax.value_and_grad(loss, (0, 2) if args[1] is None else (0, 1, 2), True)
    (_, values), gradients = jax.jit(gradient)(*args)
    return values, gradients


def assert_equals_oracle(cell, args, schedule=KERNELS, exact=None, **options):
    """Values and gradients, each within a fraction of its largest number or of 1.

    Of a cell in bfloat16 the oracle is the same cell in float32, ``exact``.
    """
    dtype = "float32" if exact is None else "bfloat16"
    with nullcontext() if ON_TPU else kernels.interpret():
        have = results(cell, schedule, args, **options)
    types = jax.eval_shape(lambda *args: results(cell, ORACLE, args, **options), *args)
    wide = jax.tree.map(lambda a: a.astype(jnp.float32), args)
    want = results(exact or cell, ORACLE, wide, **options)
    every = zip(
        jax.tree_util.tree_leaves_with_path(have),
        jax.tree.leaves(types),
        jax.tree.leaves(want),
        strict=True,
    )
    for (path, a), kind, b in every:
        assert a.shape == kind.shape and a.dtype == kind.dtype, path
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        scale = max(1.0, np.abs(b).max(initial=0))
        error = np.abs(a - b).max(initial=0) / scale
        assert error <= TOLERANCE[dtype], (jax.tree_util.keystr(path), error)
