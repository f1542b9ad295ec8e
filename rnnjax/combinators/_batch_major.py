"""`batch_major`: sequences with the batch before time."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rnnjax._checks import as_arrays, check_flags, describe
from rnnjax.base import RNN, Explanation
from rnnjax.combinators._shapes import explained
from rnnjax.combinators._stack import check_layers


def batch_major(rnn: RNN) -> RNN:
    """Takes ``xs [*batch, T, *event]`` and gives ``ys [*batch, T, ...]``.

    Time is the last axis before the example, mostly ``[B, T, F]``; all else in rnnjax
    is time-major. Put it around the whole network, not around each layer: it moves the
    time axis to the front and back.

    Args:
      rnn: a time-major layer or network.

    Returns:
      An `RNN` whose ``unroll`` takes ``xs``, ``resets`` and ``mask`` ``[*batch, T,
      ...]`` and whose ``explain`` takes such ``xs``. As ever ``init`` and ``step`` take
      one step ``[*batch, *event]`` (``xs[:, 0]``), and ``lengths`` is ``[*batch]``.

    Raises:
      TypeError: not an `RNN`.
      ValueError: later, ``xs`` without a time axis.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> rnn = rnnjax.batch_major(rnnjax.lstm(8))
      >>> xs = jnp.ones((4, 10, 3))
      >>> params = rnn.init(jax.random.key(0), xs[:, 0])
      >>> carry, ys = rnn.unroll(params, None, xs)
      >>> carry.h.shape, ys.shape
      ((4, 8), (4, 10, 8))
    """
    check_layers("batch_major", (rnn,))

    def unroll(params, carry, xs, *, resets=None, mask=None, **options):
        xs = as_arrays("xs", xs)
        shape = lead(xs)
        flags = {"resets": resets, "mask": mask}
        for name in flags:
            checked = check_flags(name, flags[name], shape)
            flags[name] = None if checked is None else jnp.moveaxis(checked, -1, 0)
        carry, ys = rnn.unroll(params, carry, time_first(xs), **flags, **options)
        to = len(shape) - 1
        return carry, jax.tree.map(lambda y: jnp.moveaxis(y, 0, to), ys)

    def lead(xs):
        """``(*batch, T)``."""
        main = max(jax.tree.leaves(xs), key=lambda leaf: leaf.ndim)
        shape = main.shape[: main.ndim - rnn.event_ndim]
        if not shape or main.ndim < rnn.event_ndim:
            raise ValueError(
                f"xs: expected [*batch, T{', F' * rnn.event_ndim}], rank "
                f"{1 + rnn.event_ndim} or more, got {describe(main)}. xs needs a time "
                f"axis; for one step use `step`."
            )
        return shape

    def time_first(xs):
        time = len(lead(xs)) - 1
        return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, time, 0), xs)

    def explain(params, xs):
        children = (rnn.explain(params, jax.eval_shape(time_first, xs)),)
        what = Explanation("batch_major", children=children)
        return explained(what, unroll, params, xs)

    return rnn._replace(unroll=unroll, explain=explain)
