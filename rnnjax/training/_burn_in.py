"""`burn_in`: the first steps of a sequence only warm up the carry."""

from __future__ import annotations

import operator

import jax
import jax.numpy as jnp
import numpy as np

import rnnjax
from rnnjax import RNN, Explanation


def burn_in(rnn: RNN, steps: int) -> RNN:
    """Runs the first ``steps`` steps of every sequence for their carry alone.

    ``s = stop_gradient(unroll(params, carry, xs[:steps]))``,
    ``carry, ys = unroll(params, s, xs[steps:])``

    A carry that was stored some updates ago, or is zero in the middle of a sequence,
    gets the time to become what the present parameters make of the inputs. No gradient
    flows through these steps, nor into the given carry.

    Args:
      rnn: a layer or a composition that can go on from a carry.
      steps: number of burn-in steps; 0 gives ``rnn`` back.

    Returns:
      An `RNN` with the parameters and the carry of ``rnn`` whose ``unroll`` leaves the
      outputs of the burn-in out: ``ys`` is ``[T - steps, ...]``, so that they cannot
      slip into a loss; leave the first ``steps`` targets out as well. With ``reverse``
      the burn-in is the end of ``xs``, which is processed first. ``step`` is that of
      ``rnn``.

    Raises:
      ValueError: ``steps`` is negative; from ``unroll``, where ``xs`` has no more than
        ``steps`` steps, or ``rnn`` cannot go on from a carry (`bidirectional`).

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax, rnnjax.training as training
      >>> rnn = training.burn_in(rnnjax.gru(4), 3)
      >>> xs = jnp.ones((10, 2, 5))
      >>> params = rnn.init(jax.random.key(0), xs[0])
      >>> carry, ys = rnn.unroll(params, None, xs)
      >>> ys.shape
      (7, 2, 4)

    Reference: Kapturowski et al., "Recurrent Experience Replay in Distributed
    Reinforcement Learning", ICLR 2019.
    """
    steps = operator.index(steps)
    if steps < 0:
        raise ValueError(f"steps: expected 0 or more, got {steps}.")
    if steps == 0:
        return rnn

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
        length = _length(xs)
        cut = length - steps if reverse else steps
        if length <= steps:
            raise ValueError(
                f"xs: expected more than the {steps} steps of the burn-in, got "
                f"{length}. Give longer sequences or a shorter burn-in."
            )

        x = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(jnp.shape(a)[1:], jnp.result_type(a)), xs
        )
        jax.eval_shape(rnn.step, params, None, x)  # raises where it cannot go on

        def split(tree):
            before = jax.tree.map(lambda a: a[:cut], tree)
            after = jax.tree.map(lambda a: a[cut:], tree)
            return (after, before) if reverse else (before, after)

        parts = zip(
            split(xs),
            split(resets),
            split(mask),
            _split_lengths(lengths, cut, reverse),
            _split_keys(key, length, steps),
            strict=True,
        )
        (warm_xs, *warm_flags), (xs, *flags) = parts

        def run(params, carry, xs, flags):
            names = ("resets", "mask", "lengths", "key")
            options = dict(zip(names, flags, strict=True))
            return rnn.unroll(params, carry, xs, reverse=reverse, **options)

        # Cut before the unroll as well, so that nothing is linearised.
        stopped = jax.lax.stop_gradient((params, carry, warm_xs))
        warm_carry, _ = run(*stopped, warm_flags)
        return run(params, jax.lax.stop_gradient(warm_carry), xs, flags)

    def explain(params, xs):
        child = rnn.explain(params, xs)
        return Explanation(
            "burn_in",
            reasons=(f"the first {steps} steps warm up the carry, without gradient",),
            children=(child,),
            output=jax.eval_shape(lambda p, xs: unroll(p, None, xs)[1], params, xs),
            parameters=child.parameters,
        )

    return rnn._replace(unroll=unroll, explain=explain)


def _length(xs) -> int:
    leaves = jax.tree.leaves(xs)
    if not leaves or not jnp.ndim(leaves[0]):
        raise ValueError(
            "xs: expected arrays with a leading time axis, got "
            f"{[jnp.shape(leaf) for leaf in leaves]}."
        )
    return leaves[0].shape[0]


def _split_lengths(lengths, cut: int, reverse: bool):
    """The lengths in the two parts; the unrolls find those that are out of range."""
    if lengths is None:
        return None, None
    library = jnp if isinstance(lengths, jax.Array) else np
    before = library.minimum(lengths, cut)
    after = library.maximum(library.subtract(lengths, cut), 0)
    return (after, before) if reverse else (before, after)


def _split_keys(key, length: int, steps: int):
    """Keys of the two parts; keys are in the order of processing."""
    if key is None:
        return None, None
    keys = rnnjax.step_keys(key, length)
    return keys[:steps], keys[steps:]
