"""`bidirectional`: one layer from the past, one from the future."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rnnjax.base import RNN, Explanation, step_keys
from rnnjax.combinators._segments import at_next, at_previous
from rnnjax.combinators._shapes import explained, sequence
from rnnjax.combinators._stack import check_layers, check_tuple_carry
from rnnjax.unroll import canonical_flags

MERGES = {
    "concat": lambda a, b: jnp.concatenate([a, b], axis=-1),
    "sum": jnp.add,
    "mean": lambda a, b: (a + b) / 2,
}


def bidirectional(
    forward: RNN, backward: RNN | None = None, merge: str = "concat"
) -> RNN:
    """Runs one layer forward in time and another backward, and merges their outputs.

    ``f_t = forward(x_1 .. x_t)``, ``b_t = backward(x_T .. x_t)``,
    ``y_t = [f_t, b_t]``

    Resets are the starts of segments, and nothing crosses a start in either direction:
    the backward half is reset at the last valid step of each segment. With ``reverse``
    all of it runs on the flipped sequence, so ``forward`` then starts at the end and a
    reset is the start of a segment in that order.

    Args:
      forward: the layer that runs forward.
      backward: the layer that runs backward; None is one like ``forward``, with
        parameters of its own.
      merge: "concat" along the last axis, "sum", "mean", or "none" for the pair
        ``(f, b)``.

    Returns:
      An `RNN` with parameters ``{"forward", "backward"}`` and a pair of carries, each
      where its half starts and ends: the backward one is that after ``x_1``. The halves
      use ``key.fold_in(0)`` and ``key.fold_in(1)``.

    Raises:
      TypeError: a half is not an `RNN`.
      ValueError: no such ``merge``; halves with inputs of other ranks; or, later, a
        call of ``step``: the backward half needs the future, so that it can neither run
        step by step nor carry on from one window of a sequence to the next.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> rnn = rnnjax.bidirectional(rnnjax.lstm(8))
      >>> params = rnn.init(jax.random.key(0), jnp.ones(3))
      >>> (forward, backward), ys = rnn.unroll(params, None, jnp.ones((10, 4, 3)))
      >>> ys.shape
      (10, 4, 16)

    Reference: Schuster and Paliwal, "Bidirectional Recurrent Neural Networks", IEEE
    Transactions on Signal Processing 1997.
    """
    backward = forward if backward is None else backward
    check_layers("bidirectional", (forward, backward))
    if merge not in (*MERGES, "none"):
        raise ValueError(
            f"bidirectional(merge=...): expected one of {(*MERGES, 'none')}, got "
            f"{merge!r}."
        )
    if forward.event_ndim != backward.event_ndim:
        raise ValueError(
            f"bidirectional: expected two layers on the same input, got event_ndim "
            f"{forward.event_ndim} and {backward.event_ndim}."
        )

    def init(key, x):
        forward_key, backward_key = jax.random.split(key)
        return {
            "forward": forward.init(forward_key, x),
            "backward": backward.init(backward_key, x),
        }

    def initial_carry(params, batch_shape=()):
        return (
            forward.initial_carry(params["forward"], batch_shape),
            backward.initial_carry(params["backward"], batch_shape),
        )

    def step(params, carry, x, *, reset=None, key=None):
        del params, carry, x, reset, key
        raise ValueError(
            "bidirectional: cannot run step by step, and cannot carry on from one "
            "window to the next: its backward half needs the future. Unroll whole "
            "sequences, or use layers that run forward alone."
        )

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
        xs, length, batch = sequence(forward, xs)
        resets, mask = canonical_flags(resets, lengths, mask, length, batch)
        keys = None if key is None else step_keys(key, length)
        given = check_tuple_carry("bidirectional", carry, 2)
        back = resets
        if resets is not None:
            back = at_previous(resets, mask)[0] if reverse else at_next(resets, mask)
        forward_carry, forward_ys = forward.unroll(
            params["forward"],
            given[0],
            xs,
            resets=resets,
            mask=mask,
            reverse=reverse,
            key=keys and keys.fold_in(0),
        )
        backward_carry, backward_ys = backward.unroll(
            params["backward"],
            given[1],
            xs,
            resets=back,
            mask=mask,
            reverse=not reverse,
            key=keys and keys.fold_in(1),
        )
        ys = (forward_ys, backward_ys)
        if merge != "none":
            ys = jax.tree.map(MERGES[merge], *ys)
        return (forward_carry, backward_carry), ys

    def explain(params, xs):
        children = (
            forward.explain(params["forward"], xs),
            backward.explain(params["backward"], xs),
        )
        return explained(
            Explanation("bidirectional", children=children), unroll, params, xs
        )

    return RNN(init, initial_carry, step, unroll, explain, forward.event_ndim)
