"""`variational_dropout`: one dropout mask for all steps of a sequence."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rnnjax.base import RNN, Array, Explanation, Params, PyTree, Shape, step_keys
from rnnjax.combinators._shapes import explained, one_step, sequence
from rnnjax.combinators._stack import check_layers
from rnnjax.combinators._stateless import check_rate, dropout_mask
from rnnjax.unroll import check_step_key, depends


def variational_dropout(
    rnn: RNN, input_rate: float = 0.0, recurrent_rate: float = 0.0
) -> RNN:
    """Drops the same inputs and the same hidden units at all steps of a sequence.

    ``carry_t, y_t = rnn(m_h * h_{t-1}, m_x * x_t)`` with ``m`` zero at the given rate
    and ``1 / (1 - rate)`` elsewhere; ``h_{t-1}`` is masked where it enters the
    recurrent product, and the carry itself is whole.

    Args:
      rnn: a layer of one cell. For several, wrap each: ``stack(variational_dropout(a,
        ...), variational_dropout(b, ...))``.
      input_rate: of ``m_x [*batch, F]``, in ``[0, 1)``; of the leaves of ``x`` that
        have the full rank.
      recurrent_rate: of ``m_h [*batch, H]``, the shape of the first leaf of the carry,
        in ``[0, 1)``. The cell finds it in ``params["recurrent"]["mask"]``: the
        cells of `rnnjax.cells` with a recurrent product read it.

    Returns:
      An `RNN` with the parameters and the carry of ``rnn``; with ``key=None`` it is
      ``rnn``. The masks are those of a sequence (`StepKey.sequence`): resets draw no
      others. They use ``key.fold_in(0)``, ``rnn`` uses ``key.fold_in(1)``.

    Raises:
      TypeError: not an `RNN`.
      ValueError: a rate outside ``[0, 1)``; or, at init or later, ``recurrent_rate``
        for a layer whose cell does not read the mask.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> rnn = rnnjax.variational_dropout(rnnjax.lstm(8), 0.2, 0.3)
      >>> params = rnn.init(jax.random.key(0), jnp.ones(3))
      >>> _, ys = rnn.unroll(params, None, jnp.ones((10, 3)), key=jax.random.key(1))
      >>> ys.shape
      (10, 8)

    Reference: Gal and Ghahramani, "A Theoretically Grounded Application of Dropout in
    Recurrent Neural Networks", NeurIPS 2016.
    """
    check_layers("variational_dropout", (rnn,))
    check_rate("input_rate", input_rate)
    check_rate("recurrent_rate", recurrent_rate)
    checked = set()  # structures of parameters whose cell was seen to read the mask

    def init(key, x):
        params = rnn.init(key, x)
        if recurrent_rate:
            zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), x)
            _, batch = one_step(rnn, zeros)
            check_read(params, zeros, batch)
        return params

    def step(params, carry, x, *, reset=None, key=None):
        check_step_key(key)
        if key is not None:
            x, batch = one_step(rnn, x)
            inputs, hidden = jax.random.split(jax.random.fold_in(key.sequence, 0))
            params = bind(params, x, batch, hidden)
            x = drop_inputs(inputs, x, batch, leading=0)
            key = key.fold_in(1)
        return rnn.step(params, carry, x, reset=reset, key=key)

    def unroll(params, carry, xs, *, key=None, **options):
        if key is not None:
            xs, length, batch = sequence(rnn, xs)
            keys = step_keys(key, length)
            inputs, hidden = jax.random.split(jax.random.fold_in(keys.sequence, 0))
            x = jax.tree.map(lambda a: jnp.zeros(a.shape[1:], a.dtype), xs)
            params = bind(params, x, batch, hidden)
            xs = drop_inputs(inputs, xs, batch, leading=1)
            key = keys.fold_in(1)
        return rnn.unroll(params, carry, xs, key=key, **options)

    def drop_inputs(key: Array, x: PyTree, batch: Shape, leading: int) -> PyTree:
        if not input_rate:
            return x
        leaves, structure = jax.tree.flatten(x)
        rank = leading + len(batch) + rnn.event_ndim
        for i, leaf in enumerate(leaves):
            if leaf.ndim == rank:
                if not jnp.issubdtype(leaf.dtype, jnp.inexact):
                    raise ValueError(
                        f"variational_dropout(input_rate=...): expected floating point "
                        f"inputs, got {leaf.dtype}. Apply it to the layer after embed."
                    )
                shape = leaf.shape[leading:]
                mask = dropout_mask(jax.random.fold_in(key, i), input_rate, shape)
                mask = jnp.broadcast_to(mask.astype(leaf.dtype), leaf.shape)
                leaves[i] = leaf * mask
        return structure.unflatten(leaves)

    def bind(params: Params, x: PyTree, batch: Shape, key: Array) -> Params:
        if not recurrent_rate:
            return params
        check_read(params, x, batch)
        like = _hidden_state(rnn, params, batch)
        return _with_mask(params, dropout_mask(key, recurrent_rate, like.shape))

    def check_read(params: Params, x: PyTree, batch: Shape) -> None:
        """Raises unless the outputs of ``rnn.step`` depend on the mask."""
        structure = jax.tree.structure(params)
        if structure in checked:
            return
        mend = (
            "recurrent_rate needs a layer of one cell that multiplies h by "
            "params['recurrent']['mask'] before the recurrent product, as those of "
            "rnnjax.cells do. Wrap the layers of a composition one by one, or leave "
            "recurrent_rate at 0."
        )
        recurrent = params.get("recurrent") if isinstance(params, dict) else None
        if not isinstance(recurrent, dict):
            raise ValueError(
                f"variational_dropout: expected params['recurrent'], a dict, got "
                f"params of the structure {structure}. {mend}"
            )

        def run(mask, params, x):
            return rnn.step(_with_mask(params, mask), None, x, key=None)

        mask = jnp.ones(_hidden_state(rnn, params, batch).shape)
        jaxpr = jax.make_jaxpr(run)(mask, params, x).jaxpr
        given = [i == 0 for i in range(len(jaxpr.invars))]
        if not any(depends(jaxpr, given)):
            raise ValueError(
                f"variational_dropout(recurrent_rate={recurrent_rate}): expected a "
                f"cell that reads the mask, got one that does not. {mend}"
            )
        checked.add(structure)

    def explain(params, xs):
        children = (rnn.explain(params, xs),)
        what = Explanation("variational_dropout", children=children)
        return explained(what, unroll, params, xs)

    return rnn._replace(init=init, step=step, unroll=unroll, explain=explain)


def _with_mask(params: Params, mask: Array) -> Params:
    """``params`` with the mask bound; times that of an outer `variational_dropout`."""
    recurrent = params["recurrent"]
    mask = mask * recurrent["mask"] if "mask" in recurrent else mask
    return {**params, "recurrent": {**recurrent, "mask": mask}}


def _hidden_state(rnn: RNN, params: Params, batch: Shape) -> jax.ShapeDtypeStruct:
    """The first leaf of the carry."""
    carry = jax.eval_shape(lambda params: rnn.initial_carry(params, batch), params)
    leaves = jax.tree.leaves(carry)
    if not leaves:
        raise ValueError(
            "variational_dropout(recurrent_rate=...): expected a layer with a carry, "
            "got one without. Leave recurrent_rate at 0."
        )
    return leaves[0]
