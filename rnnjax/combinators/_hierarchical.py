"""`hierarchical`: a layer over units and a layer over groups of units."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax._checks import check_flags
from rnnjax.base import RNN, Array, Carry, Explanation, Shape, step_keys
from rnnjax.combinators._segments import at_previous, time_of
from rnnjax.combinators._shapes import (
    explained,
    given_carry,
    one_step,
    sequence,
    step_output,
)
from rnnjax.combinators._stack import check_layers
from rnnjax.unroll import canonical_flags, check_step_key, select, zero_where_masked


class HierarchicalCarry(NamedTuple):
    """What `hierarchical` passes on.

    Attributes:
      lower: the carry over units.
      upper: the carry over groups.
      fresh: bool ``[*batch]``: the next unit is the first of a group.
    """

    lower: Carry
    upper: Carry
    fresh: Array


def hierarchical(lower: RNN, upper: RNN) -> RNN:
    """A two-level encoder: characters into words and words into a sentence, say.

    The input is a pair ``(x_t, end_t)``: units, and whether a unit is the last of its
    group. The lower layer starts anew at the first unit of every group; at the last
    one its output, the summary of the group, is one step of the upper layer.

    ``l_t = lower(x_t)``, reset where ``t`` begins a group;
    ``y_t = upper(l_t)`` where ``end_t``, else ``y_t = 0`` and the upper carry stays

    Args:
      lower: runs over units.
      upper: runs over groups, on the outputs of ``lower``.

    Returns:
      An `RNN` on ``xs = (x [T, *batch, *event], ends [T, *batch])``, ``ends`` bool,
      with parameters ``{"lower", "upper"}`` and carry `HierarchicalCarry`. Outputs are
      those of ``upper`` at the ends of groups and zero elsewhere: ``last_step(ys,
      mask=ends)`` encodes the sequence. A reset starts a group too, and drops one that
      has no end. With ``reverse`` the ends are those met last in that order. The
      layers use ``key.fold_in(0)`` and ``key.fold_in(1)``.

    Raises:
      TypeError: a part is not an `RNN`; later, an input that is no pair, or ``ends``
        that are not bool.
      ValueError: later, ``ends`` of another shape than ``[T, *batch]``.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> rnn = rnnjax.hierarchical(rnnjax.gru(8), rnnjax.gru(4))
      >>> x, ends = jnp.ones((6, 3)), jnp.array([0, 1, 0, 0, 1, 0], bool)
      >>> params = rnn.init(jax.random.key(0), (x[0], ends[0]))
      >>> carry, ys = rnn.unroll(params, None, (x, ends))
      >>> (ys != 0).any(-1).tolist()
      [False, True, False, False, True, False]

    Reference: Sordoni et al., "A Hierarchical Recurrent Encoder-Decoder for Generative
    Context-Aware Query Suggestion", CIKM 2015.
    """
    check_layers("hierarchical", (lower, upper))

    def init(key, x):
        x, _ = _pair("x", x)
        lower_key, upper_key = jax.random.split(key)
        params = {"lower": lower.init(lower_key, x)}
        x = step_output(lower, params["lower"], x)
        return {**params, "upper": upper.init(upper_key, x)}

    def initial_carry(params, batch_shape=()):
        return HierarchicalCarry(
            lower.initial_carry(params["lower"], batch_shape),
            upper.initial_carry(params["upper"], batch_shape),
            jnp.ones(batch_shape, bool),
        )

    def step(params, carry, x, *, reset=None, key=None):
        x, ends = _pair("x", x)
        x, batch = one_step(lower, x)
        ends = _checked(ends, batch)
        reset = check_flags("reset", reset, batch)
        check_step_key(key)
        carry = given_carry(self, params, carry, batch)
        if reset is not None:
            carry = select(reset, initial_carry(params, batch), carry)
        lower_key, upper_key = _two(key)
        new_lower, y = lower.step(
            params["lower"], carry.lower, x, reset=carry.fresh, key=lower_key
        )
        new_upper, y = upper.step(params["upper"], carry.upper, y, key=upper_key)
        new_upper = select(ends, new_upper, carry.upper)
        return HierarchicalCarry(new_lower, new_upper, ends), zero_where_masked(ends, y)

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
        xs, ends = _pair("xs", xs)
        xs, length, batch = sequence(lower, xs)
        resets, mask = canonical_flags(resets, lengths, mask, length, batch)
        ends = _checked(ends, (length, *batch))
        carry = given_carry(self, params, carry, batch)
        lower_key, upper_key = _two(None if key is None else step_keys(key, length))

        def flip(tree):
            return jax.tree.map(lambda a: a[::-1], tree) if reverse else tree

        xs, ends, resets, mask = flip((xs, ends, resets, mask))
        if mask is not None:
            ends = ends & mask
        starts, fresh = at_previous(ends, mask, carry.fresh)
        if resets is not None:
            starts = starts | resets
        lower_carry, ys = lower.unroll(
            params["lower"], carry.lower, xs, resets=starts, mask=mask, key=lower_key
        )
        upper_resets, pending = _resets_of_groups(resets, ends)
        upper_carry, ys = upper.unroll(
            params["upper"],
            carry.upper,
            ys,
            resets=upper_resets,
            mask=ends,
            key=upper_key,
        )
        if pending is not None:
            first = upper.initial_carry(params["upper"], batch)
            upper_carry = select(pending, first, upper_carry)
        return HierarchicalCarry(lower_carry, upper_carry, fresh), flip(ys)

    def explain(params, xs):
        x, _ = _pair("xs", xs)
        below = lower.explain(params["lower"], x)
        _, ys = jax.eval_shape(lower.unroll, params["lower"], None, x)
        children = (below, upper.explain(params["upper"], ys))
        what = Explanation("hierarchical", children=children)
        return explained(what, unroll, params, xs)

    self = RNN(init, initial_carry, step, unroll, explain, lower.event_ndim)
    return self


def _resets_of_groups(
    resets: Array | None, ends: Array
) -> tuple[Array | None, Array | None]:
    """Resets of the upper layer, which is blind between the ends of groups.

    Returns:
      At each end, whether there was a reset since the end before; and whether there
      was one since the last end of all.
    """
    if resets is None or not resets.shape[0]:
        return None, None

    def last(flags):
        return lax.cummax(jnp.where(flags, time_of(flags), -1), axis=0)

    reset, end = last(resets), last(ends)
    end_before = jnp.concatenate([jnp.full_like(end[:1], -1), end[:-1]])
    return (reset > end_before) & ends, reset[-1] > end[-1]


def _checked(ends: Any, shape: Shape) -> Array:
    checked = check_flags("ends", ends, shape)
    if checked is None:
        raise TypeError(f"ends: expected bool {shape}, got None.")
    return checked


def _two(key: Any) -> tuple[Any, Any]:
    return (None, None) if key is None else (key.fold_in(0), key.fold_in(1))


def _pair(name: str, x: Any) -> tuple[Any, Any]:
    if not isinstance(x, tuple) or len(x) != 2:
        raise TypeError(
            f"{name}: hierarchical expected a pair (units, ends), got "
            f"{type(x).__name__}. ends is bool [T, *batch] (of one step: [*batch]), "
            f"true at the last unit of each group."
        )
    return x
