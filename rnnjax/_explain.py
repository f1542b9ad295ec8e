"""`explain`: how a layer runs, before it runs."""

from __future__ import annotations

from rnnjax.base import RNN, Explanation, Params, PyTree


def explain(rnn: RNN, params: Params, xs: PyTree) -> Explanation:
    """Which backend and gradient every layer uses for inputs of this shape, and why.

    Args:
      rnn: a layer or a composition.
      params: its parameters; arrays or `jax.ShapeDtypeStruct`.
      xs: a sequence ``[T, *batch, *event]``; an array or a `jax.ShapeDtypeStruct`.

    Returns:
      An `Explanation`; ``print`` it.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> rnn = rnnjax.lstm(8, schedule=rnnjax.Schedule(gradient="deferred"))
      >>> params = rnn.init(jax.random.key(0), jnp.ones(3))
      >>> rnnjax.explain(rnn, params, jnp.ones((10, 2, 3))).gradient
      'deferred'
    """
    return rnn.explain(params, xs)
