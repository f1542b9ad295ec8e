"""A network that is fed its own outputs: in training now and then, or always."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

import rnnjax
from rnnjax import RNN, StepKey, step_keys
from rnnjax._checks import as_arrays, batch_shape_of, describe
from rnnjax._compat import is_concrete
from rnnjax.base import Array, Carry, Params, PyTree
from rnnjax.unroll import canonical_flags, fixed_type, select, zero_where_masked

Feed: TypeAlias = Callable[[PyTree, Array | None], PyTree]
"""``(y, key) -> x``: from an output to the next input; ``key=None`` draws nothing."""


def sampled(logits: Array, key: Array | None) -> Array:
    """A token drawn from ``softmax(logits)``; the most probable one without a key."""
    if key is None:
        return most_probable(logits, key)
    return jax.random.categorical(key, logits).astype(jnp.int32)


def most_probable(logits: Array, key: Array | None = None) -> Array:
    """The token of the largest logit."""
    del key
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def itself(y: PyTree, key: Array | None = None) -> PyTree:
    """The output as it is: forecasts of a value from the values before."""
    del key
    return y


def scheduled_sampling(
    rnn: RNN,
    params: Params,
    carry: Carry | None,
    xs: PyTree,
    probability: Any,
    *,
    feed: Feed = sampled,
    lengths: Any = None,
    mask: Any = None,
    key: Array | None = None,
) -> tuple[Carry, PyTree]:
    """Unrolls over inputs of which some are replaced by the network's own outputs.

    ``x'_t = x_t`` with the given probability and at ``t = 0``, else
    ``feed(y_{t-1})``; ``carry_t, y_t = rnn(carry_{t-1}, x'_t)``

    Each step of each sequence tosses its own coin. The loop is `rnnjax.scan` of
    ``step``: no input product is hoisted, weight gradients are deferred. No gradient
    flows through a token that was drawn.

    Args:
      rnn: from inputs to outputs, such as logits.
      params: its parameters, with a memory bound where it attends.
      carry: the first carry; None is the initial one.
      xs: the true inputs ``[T, *batch, ...]``: targets moved on by one step.
      probability: of a true input, in ``[0, 1]``; may be traced, as one from
        `schedules` is. 1 is teacher forcing.
      feed: from ``y_{t-1}`` to an input: `sampled`, `most_probable`, `itself`.
      lengths: int ``[*batch]``, as in ``unroll``.
      mask: bool ``[T, *batch]``, as in ``unroll``.
      key: for the coins, the draws and the network. None is evaluation: teacher
        forcing, which is ``rnn.unroll`` without a key.

    Returns:
      The last carry and the outputs ``[T, *batch, ...]``. With probability 1 they are
      those of ``rnn.unroll(key=jax.random.split(key, 3)[0])``.

    Raises:
      ValueError: a probability outside ``[0, 1]``; ``feed`` gives another shape than
        the inputs; and what ``unroll`` raises.
      TypeError: what ``unroll`` raises.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import seq2seq
      >>> rnn = rnnjax.stack(rnnjax.embed(5, 3), rnnjax.gru(4), rnnjax.dense(5))
      >>> tokens = jnp.array([[1, 2], [3, 4], [0, 1]])
      >>> params = rnn.init(jax.random.key(0), tokens[0])
      >>> _, logits = seq2seq.scheduled_sampling(
      ...     rnn, params, None, tokens, 0.5, key=jax.random.key(1)
      ... )
      >>> logits.shape
      (3, 2, 5)

    Reference: Bengio et al., "Scheduled Sampling for Sequence Prediction with Recurrent
    Neural Networks", NeurIPS 2015.
    """
    _check_probability(probability)
    if key is None:
        return rnn.unroll(params, carry, xs, lengths=lengths, mask=mask)
    xs = as_arrays("xs", xs)
    length, *batch = batch_shape_of("xs", xs, rnn.event_ndim, time=True)
    if not length:
        return rnn.unroll(params, carry, xs, lengths=lengths, mask=mask)
    _, mask = canonical_flags(None, lengths, mask, length, tuple(batch))
    xs = zero_where_masked(mask, xs)
    network, coins, draws = jax.random.split(key, 3)
    keys = step_keys(network, length)
    shown = jax.random.bernoulli(coins, probability, (length, *batch))
    shown = shown.at[0].set(True)
    if carry is None:
        carry = rnn.initial_carry(params, tuple(batch))

    def step(state, inputs):
        x, shown, valid, key, draw = inputs
        carry, own = state
        key = StepKey(keys.sequence, key)
        carry, y = rnn.step(params, carry, select(shown, x, own), key=key)
        new = carry, _as_input(feed(y, draw), x)
        return select(valid, new, state), zero_where_masked(valid, y)

    inputs = xs, shown, mask, keys.step, jax.random.split(draws, length)
    state = carry, jax.tree.map(lambda a: jnp.zeros_like(a[0]), xs)
    state = fixed_type(step, state, inputs)
    (carry, _), ys = rnnjax.scan(step, state, inputs)
    return carry, ys


def free_running(
    rnn: RNN,
    params: Params,
    carry: Carry | None,
    x: PyTree,
    length: int,
    *,
    feed: Feed = most_probable,
    key: Array | None = None,
) -> tuple[Carry, PyTree]:
    """Runs on the network's own outputs alone, from one first input.

    ``carry_t, y_t = rnn(carry_{t-1}, x_t)``, ``x_{t+1} = feed(y_t)``

    The network runs in evaluation. It can be differentiated, through ``feed`` where
    that can be (`itself`). To decode text, with stop tokens, see `rnnjax.decoding`.

    Args:
      rnn: from inputs to outputs.
      params: its parameters, with a memory bound where it attends.
      carry: the first carry; None is the initial one.
      x: the first input ``[*batch, ...]``.
      length: number of steps.
      feed: from an output to the next input: `most_probable`, `sampled`, `itself`.
      key: for the draws of ``feed``.

    Returns:
      The last carry and the outputs ``[length, *batch, ...]``.

    Raises:
      ValueError: ``feed`` gives another shape than ``x``.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import seq2seq
      >>> rnn = rnnjax.stack(rnnjax.gru(4), rnnjax.dense(1))
      >>> params = rnn.init(jax.random.key(0), jnp.ones(1))
      >>> _, forecast = seq2seq.free_running(
      ...     rnn, params, None, jnp.ones((2, 1)), 7, feed=seq2seq.itself
      ... )
      >>> forecast.shape
      (7, 2, 1)
    """
    x = as_arrays("x", x)
    batch = batch_shape_of("x", x, rnn.event_ndim, time=False)
    if carry is None:
        carry = rnn.initial_carry(params, batch)
    draws = None if key is None else jax.random.split(key, length)

    def step(state, draw):
        carry, x = state
        carry, y = rnn.step(params, carry, x)
        return (carry, _as_input(feed(y, draw), x)), y

    state = carry, x
    if length and draws is not None:
        state = fixed_type(step, state, draws)
    (carry, _), ys = rnnjax.scan(step, state, draws, length)
    return carry, ys


def _as_input(fed: PyTree, x: PyTree) -> PyTree:
    """What ``feed`` gave, in the type of the inputs."""
    if jax.tree.structure(fed) != jax.tree.structure(x):
        raise ValueError(
            f"feed: expected the structure of one input, {jax.tree.structure(x)}, got "
            f"{jax.tree.structure(fed)}."
        )

    def convert(fed, x):
        if jnp.shape(fed) != x.shape:
            raise ValueError(
                f"feed: expected the shape of one input, {describe(x)}, got "
                f"{describe(fed)}. seq2seq.sampled and most_probable turn logits into "
                f"tokens, itself feeds outputs as they are."
            )
        return fed.astype(x.dtype)

    return jax.tree.map(convert, fed, x)


def _check_probability(probability: Any) -> None:
    if not is_concrete(probability):
        return
    value = np.asarray(probability)
    if value.shape or not 0 <= value <= 1:
        raise ValueError(
            f"probability: expected one number in [0, 1], got {probability!r}."
        )
