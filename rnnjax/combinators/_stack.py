"""`stack`: layers one after the other."""

from __future__ import annotations

import jax

from rnnjax.base import RNN, Explanation, step_keys
from rnnjax.combinators._shapes import step_output


def stack(*layers: RNN) -> RNN:
    """Feeds the outputs of each layer to the next, at the same step.

    Args:
      *layers: each an `RNN`, also stateless ones such as `dense` and `dropout`.

    Returns:
      An `RNN` with parameters ``{"0": ..., "1": ...}`` and a tuple of carries. Resets,
      mask and lengths go to every layer; layer ``i`` uses ``key.fold_in(i)``.

    Raises:
      ValueError: no layer given.
      TypeError: something other than an `RNN` given.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> rnn = rnnjax.stack(rnnjax.lstm(8), rnnjax.dropout(0.1), rnnjax.dense(2))
      >>> params = rnn.init(jax.random.key(0), jnp.ones(3))
      >>> carry, ys = rnn.unroll(params, None, jnp.ones((10, 4, 3)))
      >>> ys.shape
      (10, 4, 2)
    """
    if not layers:
        raise ValueError("stack(*layers): expected at least one layer, got none.")
    check_layers("stack", layers)
    names = [str(i) for i in range(len(layers))]

    def init(key, x):
        params = {}
        keys = jax.random.split(key, len(layers))
        for name, layer, layer_key in zip(names, layers, keys, strict=True):
            params[name] = layer.init(layer_key, x)
            x = step_output(layer, params[name], x)
        return params

    def initial_carry(params, batch_shape=()):
        return tuple(
            layer.initial_carry(params[name], batch_shape)
            for name, layer in zip(names, layers, strict=True)
        )

    def step(params, carry, x, *, reset=None, key=None):
        def run(layer, params, carry, x, key):
            return layer.step(params, carry, x, reset=reset, key=key)

        return _in_turn(run, params, carry, x, key)

    def unroll(params, carry, xs, *, key=None, **options):
        def run(layer, params, carry, xs, key):
            return layer.unroll(params, carry, xs, key=key, **options)

        length = jax.tree.leaves(xs)[0].shape[0] if key is not None else 0
        keys = None if key is None else step_keys(key, length)
        return _in_turn(run, params, carry, xs, keys)

    def _in_turn(run, params, carry, x, key):
        given = check_tuple_carry("stack", carry, len(layers))
        carries = []
        for i, (name, layer) in enumerate(zip(names, layers, strict=True)):
            layer_key = None if key is None else key.fold_in(i)
            new, x = run(layer, params[name], given[i], x, layer_key)
            carries.append(new)
        return tuple(carries), x

    def explain(params, xs):
        children = []
        for name, layer in zip(names, layers, strict=True):
            children.append(layer.explain(params[name], xs))
            _, xs = jax.eval_shape(layer.unroll, params[name], None, xs)
        count = sum(child.parameters or 0 for child in children)
        return Explanation(
            "stack", children=tuple(children), output=xs, parameters=count
        )

    return RNN(init, initial_carry, step, unroll, explain, layers[0].event_ndim)


def check_layers(name: str, layers: tuple) -> None:
    """Raises unless each is an `RNN`."""
    for layer in layers:
        if not isinstance(layer, RNN):
            raise TypeError(
                f"{name}: expected layers (rnnjax.RNN), got {type(layer).__name__}. "
                f"rnnjax.layer(cell) makes a layer of a cell."
            )


def check_tuple_carry(name: str, carry, length: int) -> tuple:
    """The carries of ``length`` parts; None stands for as many None."""
    if carry is None:
        return (None,) * length
    if not isinstance(carry, tuple) or len(carry) != length:
        raise ValueError(
            f"carry: {name} expected a tuple of {length} carries, got "
            f"{jax.tree.structure(carry)}. Take it from rnn.initial_carry(params, "
            f"batch_shape) or an earlier call."
        )
    return carry
