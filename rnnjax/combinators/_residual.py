"""`residual`: a layer that adds to its input."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rnnjax._checks import describe
from rnnjax.base import RNN, Explanation
from rnnjax.combinators._shapes import explained, one_step, sequence, step_output
from rnnjax.combinators._stack import check_layers
from rnnjax.unroll import canonical_flags, zero_where_masked


def residual(rnn: RNN) -> RNN:
    """``y_t = x_t + rnn(x_t)``.

    Args:
      rnn: a layer whose outputs have the shape of its inputs.

    Returns:
      An `RNN` with the parameters and the carry of ``rnn``; masked outputs are zero.

    Raises:
      TypeError: not an `RNN`.
      ValueError: at init or later, outputs of another shape than the inputs.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> rnn = rnnjax.residual(rnnjax.lstm(3))
      >>> params = rnn.init(jax.random.key(0), jnp.ones(3))
      >>> rnn.unroll(params, None, jnp.ones((10, 4, 3)))[1].shape
      (10, 4, 3)

    Reference: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
    """
    check_layers("residual", (rnn,))

    def init(key, x):
        params = rnn.init(key, x)
        _check_same(x, step_output(rnn, params, x))
        return params

    def step(params, carry, x, *, reset=None, key=None):
        x, _ = one_step(rnn, x)
        carry, y = rnn.step(params, carry, x, reset=reset, key=key)
        return carry, _add(x, y)

    def unroll(params, carry, xs, *, resets=None, lengths=None, mask=None, **options):
        xs, length, batch = sequence(rnn, xs)
        resets, mask = canonical_flags(resets, lengths, mask, length, batch)
        carry, ys = rnn.unroll(params, carry, xs, resets=resets, mask=mask, **options)
        return carry, _add(zero_where_masked(mask, xs), ys)

    def explain(params, xs):
        children = (rnn.explain(params, xs),)
        return explained(Explanation("residual", children=children), unroll, params, xs)

    return rnn._replace(init=init, step=step, unroll=unroll, explain=explain)


def _add(x, y):
    _check_same(x, y)
    return jax.tree.map(jnp.add, x, y)


def _check_same(x, y):
    mend = (
        "Give the layer as many outputs as inputs (hidden_size, merge='sum' in "
        "bidirectional), or follow it with rnnjax.dense(F) inside residual."
    )
    if jax.tree.structure(x) != jax.tree.structure(y):
        raise ValueError(
            f"residual: expected outputs of the structure of the inputs, "
            f"{jax.tree.structure(x)}, got {jax.tree.structure(y)}. {mend}"
        )
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        if a.shape != b.shape:
            raise ValueError(
                f"residual: expected outputs of the shape of the inputs, "
                f"{a.shape}, got {describe(b)}. {mend}"
            )
