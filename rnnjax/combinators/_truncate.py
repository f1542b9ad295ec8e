"""`truncate`: gradients cut every K steps inside one unroll."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax._checks import positive
from rnnjax.base import RNN, Explanation, StepKeys, step_keys
from rnnjax.combinators._shapes import explained, given_carry, sequence
from rnnjax.combinators._stack import check_layers
from rnnjax.unroll import canonical_flags, scan_blocks, select


def truncate(rnn: RNN, every: int) -> RNN:
    """Cuts the gradient of the carry every ``every`` steps.

    ``unroll`` equals unrolling windows of ``every`` steps one after the other with
    `jax.lax.stop_gradient` on the carry between them, in the order of processing (with
    ``reverse`` the first window is the end of ``xs``). The last one may be shorter. The
    gradient of the given carry and that of the final carry are whole.

    Args:
      rnn: any layer that can `step`.
      every: steps in a window.

    Returns:
      An `RNN` with the same outputs as ``rnn`` and other gradients. ``step`` cuts
      nothing.

    Raises:
      TypeError: not an `RNN`.
      ValueError: ``every`` is not a positive integer; or, later, a layer that cannot
        carry on from one window to the next, such as `bidirectional`.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> rnn = rnnjax.truncate(rnnjax.simple(2), every=2)
      >>> xs = jnp.ones((5, 3))
      >>> params = rnn.init(jax.random.key(0), xs[0])
      >>> last = lambda xs: rnn.unroll(params, None, xs)[1][-1].sum()
      >>> (jax.grad(last)(xs) != 0).any(axis=1).tolist()
      [False, False, False, False, True]

    Reference: Williams and Peng, "An Efficient Gradient-Based Algorithm for On-Line
    Training of Recurrent Network Trajectories", Neural Computation 1990.
    """
    check_layers("truncate", (rnn,))
    every = positive("every", every)

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
        x = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), xs)
        jax.eval_shape(rnn.step, params, None, x)  # raises where it cannot carry on
        keys = None if key is None else step_keys(key, length)
        steps = None
        if keys is not None:  # in the order of time, as xs
            steps = keys.step[::-1] if reverse else keys.step
        time = jnp.arange(length)
        first = length - 1 if reverse else 0

        def window(carry, block):
            xs, resets, mask, steps, time = block
            key = None
            if keys is not None:
                key = StepKeys(keys.sequence, steps[::-1] if reverse else steps)
            cut = jax.tree.map(lax.stop_gradient, carry)
            is_first = (time == first).any()  # only the given carry keeps its gradient
            carry = jax.tree.map(lambda a, b: select(is_first, a, b), carry, cut)
            return rnn.unroll(
                params,
                carry,
                xs,
                resets=resets,
                mask=mask,
                reverse=reverse,
                key=key,
            )

        carry = given_carry(rnn, params, carry, batch)
        blocks = (xs, resets, mask, steps, time)
        return scan_blocks(
            window, carry, blocks, block=every, length=length, reverse=reverse
        )

    def explain(params, xs):
        children = (rnn.explain(params, xs),)
        reasons = (f"gradient of the carry cut every {every} steps",)
        what = Explanation("truncate", reasons=reasons, children=children)
        return explained(what, unroll, params, xs)

    return rnn._replace(unroll=unroll, explain=explain)
