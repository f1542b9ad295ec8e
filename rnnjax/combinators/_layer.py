"""`layer`: from a cell to a sequence layer."""

from __future__ import annotations

from functools import partial

from rnnjax.base import RNN, Cell, Schedule
from rnnjax.combinators._shapes import explained
from rnnjax.unroll import explain_cell, step_cell, unroll_cell


def layer(cell: Cell, schedule: Schedule = Schedule()) -> RNN:  # noqa: B008
    """Turns a `Cell` into an `RNN`.

    The parameters are the cell's. ``unroll`` projects all inputs at once, runs the
    recurrence under ``schedule`` and applies the readout to all steps at once.

    Args:
      cell: the recurrence.
      schedule: how it runs; the results are the same under every schedule.

    Returns:
      An `RNN`.

    Example: a cell of one's own, the minimal gated unit (Zhou et al. 2016).
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> def mgu(hidden_size):
      ...     def init(key, x):
      ...         cell = rnnjax.cells.simple(2 * hidden_size, use_bias=False)
      ...         params = cell.init(key, x)
      ...         kernel = params["recurrent"]["kernel"][:hidden_size]
      ...         return {**params, "recurrent": {"kernel": kernel}}
      ...     def initial_carry(params, batch_shape=()):
      ...         return jnp.zeros((*batch_shape, hidden_size))
      ...     def project(params, x, key=None):
      ...         return x @ params["input"]["kernel"]
      ...     def recur(w, h, u):
      ...         u_f, u_n = jnp.split(u, 2, -1)
      ...         w_f, w_n = jnp.split(w["kernel"], 2, -1)
      ...         f = jax.nn.sigmoid(u_f + h @ w_f)
      ...         h = (1 - f) * h + f * jnp.tanh(u_n + (f * h) @ w_n)
      ...         return h, h
      ...     return rnnjax.Cell(init, initial_carry, project, recur)
      >>> rnn = rnnjax.layer(mgu(4))
      >>> params = rnn.init(jax.random.key(0), jnp.ones(3))
      >>> _, ys = rnn.unroll(params, None, jnp.ones((10, 2, 3)))
      >>> ys.shape
      (10, 2, 4)
    """
    if not isinstance(cell, Cell):
        raise TypeError(
            f"layer(cell): expected a rnnjax.Cell, got {type(cell).__name__}. "
            f"rnnjax.NAME(...) is a layer already; rnnjax.cells.NAME(...) is its cell."
        )
    if not isinstance(schedule, Schedule):
        raise TypeError(
            f"schedule: expected a rnnjax.Schedule, got {schedule!r}. For example "
            f"rnnjax.Schedule(gradient='deferred')."
        )
    unroll = partial(unroll_cell, cell, schedule)

    def explain(params, xs):
        how = explain_cell(cell, schedule, params, xs)
        return explained(how, unroll, params, xs)

    return RNN(
        init=cell.init,
        initial_carry=cell.initial_carry,
        step=partial(step_cell, cell),
        unroll=unroll,
        explain=explain,
        event_ndim=cell.event_ndim,
    )
