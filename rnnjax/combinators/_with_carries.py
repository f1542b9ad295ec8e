"""`with_carries`: the carry of every step beside its output."""

from __future__ import annotations

from rnnjax.base import RNN, Explanation, StepKey, StepKeys, step_keys
from rnnjax.combinators._shapes import explained, given_carry, sequence
from rnnjax.combinators._stack import check_layers
from rnnjax.unroll import (
    canonical_flags,
    fixed_type,
    scan,
    select,
    zero_where_masked,
)


def with_carries(rnn: RNN) -> RNN:
    """Gives ``(y_t, carry_t)`` in place of ``y_t``.

    For looking inside: the carries of all steps are stored, and the layer runs step by
    step, its input products inside the loop. Weight gradients are deferred.

    Args:
      rnn: any layer that can `step`.

    Returns:
      An `RNN` with the parameters and the carry of ``rnn`` and outputs ``(ys,
      carries)``; the leaves of ``carries`` are ``[T, *batch, ...]``, each after its
      step. At masked steps ``y_t`` is zero and ``carry_t`` the unchanged carry.

    Raises:
      TypeError: not an `RNN`.
      ValueError: later, from a layer that cannot run step by step.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> rnn = rnnjax.with_carries(rnnjax.lstm(8))
      >>> params = rnn.init(jax.random.key(0), jnp.ones(3))
      >>> _, (hs, carries) = rnn.unroll(params, None, jnp.ones((10, 4, 3)))
      >>> hs.shape, carries.c.shape
      ((10, 4, 8), (10, 4, 8))
    """
    check_layers("with_carries", (rnn,))

    def step(params, carry, x, *, reset=None, key=None):
        carry, y = rnn.step(params, carry, x, reset=reset, key=key)
        return carry, (y, carry)

    def unroll(
        params,
        carry,
        xs,
        *,
        resets=None,
        lengths=None,
        mask=None,
        reverse=False,
        key=None,
    ):
        xs, length, batch = sequence(rnn, xs)
        resets, mask = canonical_flags(resets, lengths, mask, length, batch)
        xs = zero_where_masked(mask, xs)
        keys = None if key is None else step_keys(key, length)
        if keys is not None and reverse:  # keys are in the order of processing
            keys = StepKeys(keys.sequence, keys.step[::-1])
        carry = given_carry(rnn, params, carry, batch)

        def one(carry, inputs):
            x, reset, valid, key = inputs
            key = None if keys is None else StepKey(keys.sequence, key)
            new, y = rnn.step(params, carry, x, reset=reset, key=key)
            new = select(valid, new, carry)
            return new, (zero_where_masked(valid, y), new)

        inputs = (xs, resets, mask, None if keys is None else keys.step)
        if length:
            carry = fixed_type(one, carry, inputs)
        return scan(one, carry, inputs, length, reverse)

    def explain(params, xs):
        reasons = ("runs its part step by step, input products inside the loop",)
        children = (rnn.explain(params, xs),)
        what = Explanation("with_carries", reasons=reasons, children=children)
        return explained(what, unroll, params, xs)

    return rnn._replace(step=step, unroll=unroll, explain=explain)
