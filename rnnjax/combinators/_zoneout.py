"""`zoneout`: a cell whose carry randomly stays as it is."""

from __future__ import annotations

from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax._checks import batch_shape_of
from rnnjax.base import Carry, Cell, Params, Shape, StepKey
from rnnjax.combinators._stateless import check_rate
from rnnjax.unroll import select


def zoneout(cell: Cell, rate: Any) -> Cell:
    """Keeps each unit of the carry at its previous value with probability ``rate``.

    ``carry_t = m_t * carry_{t-1} + (1 - m_t) * recur(carry_{t-1}, u_t)``, where ``m_t``
    is 1 with probability ``rate``; in evaluation (``key=None``) ``m_t`` is its
    expectation, ``rate``.

    An output that *is* a leaf of the carry (the ``h`` of every cell of `rnnjax.cells`)
    is the blended leaf; it is found in the program of ``recur``, also inside `jax.jit`
    and `jax.checkpoint`. Leaves that are not floating point (a time index, a key) are
    never kept back.

    Args:
      cell: a `Cell`. Its layer is ``layer(zoneout(cells.lstm(8), 0.1), schedule)``.
      rate: in ``[0, 1)``: one number for all leaves of the carry, or a tree of numbers
        of the structure of the carry, such as ``LSTMCarry(h=0.05, c=0.5)``.

    Returns:
      A `Cell` with the parameters and the carry of ``cell``. The masks use
      ``key.fold_in(0)``, ``cell`` uses ``key.fold_in(1)``.

    Raises:
      TypeError: not a `Cell`.
      ValueError: a rate outside ``[0, 1)``; rates of another structure than the carry.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = rnnjax.zoneout(rnnjax.cells.lstm(8), rnnjax.cells.LSTMCarry(0.05, 0.5))
      >>> rnn = rnnjax.layer(cell)
      >>> params = rnn.init(jax.random.key(0), jnp.ones(3))
      >>> _, ys = rnn.unroll(params, None, jnp.ones((10, 3)), key=jax.random.key(1))
      >>> ys.shape
      (10, 8)

    Reference: Krueger et al., "Zoneout: Regularizing RNNs by Randomly Preserving Hidden
    Activations", ICLR 2017.
    """
    if not isinstance(cell, Cell):
        raise TypeError(
            f"zoneout(cell): expected a rnnjax.Cell, got {type(cell).__name__}. Wrap "
            f"the cell and make the layer of it: layer(zoneout(cells.lstm(8), 0.1))."
        )
    for number in jax.tree.leaves(rate):
        check_rate("zoneout(rate=...)", number)

    def init(key, x):
        return cell.init(key, x)

    def project(params, x, key=None):
        u = cell.project(params, x, None if key is None else key.fold_in(1))
        if key is None:
            return u, None
        lead = batch_shape_of("x", x, cell.event_ndim, time=False)
        return u, draw(params, lead, key.fold_in(0))

    def draw(params, lead: Shape, key: StepKey):
        """Where the carry stays, one bool array for each leaf that may."""
        carry = jax.eval_shape(lambda params: cell.initial_carry(params, lead), params)
        masks = []
        for i, (leaf, p) in enumerate(_pairs(carry, rate)):
            leaf_key = jax.random.fold_in(key.step, i)
            masks.append(jax.random.bernoulli(leaf_key, p, leaf.shape) if p else None)
        return masks

    def recur(w, carry, u):
        u, masks = u
        follows = _leaves_of_carry(cell.recur, w, carry, u)
        new, y = cell.recur(w, carry, u)
        leaves, structure = jax.tree.flatten(new)
        blended = []
        for i, ((old, p), leaf) in enumerate(
            zip(_pairs(carry, rate), leaves, strict=True)
        ):
            if p and masks is not None:
                leaf = select(masks[i], old, leaf)
            elif p:
                leaf = p * old + (1 - p) * leaf
            blended.append(leaf)

        outs, of_outs = jax.tree.flatten(y)
        outs = [
            out if i is None else blended[i]
            for out, i in zip(outs, follows, strict=True)
        ]
        return structure.unflatten(blended), of_outs.unflatten(outs)

    inner = cell.readout
    readout = inner and (lambda params, y, x, u: inner(params, y, x, u[0]))

    return Cell(
        init,
        cell.initial_carry,
        project,
        recur,
        readout,
        event_ndim=cell.event_ndim,
    )


def _leaves_of_carry(recur, w: Params, carry: Carry, u: Any) -> list[int | None]:
    """For each leaf of the output of a step, which leaf of the new carry it is.

    Read off the jaxpr, since objects that `jax.jit` returns are never the same.
    """
    closed, (new, _) = jax.make_jaxpr(recur, return_shape=True)(w, carry, u)
    sources = [_source(closed.jaxpr, var) for var in closed.jaxpr.outvars]
    count = len(jax.tree.leaves(new))
    carried = sources[:count]
    return [carried.index(s) if s in carried else None for s in sources[count:]]


# Primitives that apply their one inner jaxpr to their operands, once.
_CALLS = ("jit", "closed_call", "remat2", "custom_jvp_call", "custom_vjp_call")


def _source(jaxpr: Any, var: Any) -> Any:
    """What identifies a value of a jaxpr: its variable in the innermost call."""
    eqn = next((e for e in jaxpr.eqns if any(v is var for v in e.outvars)), None)
    if eqn is None or eqn.primitive.name not in _CALLS:
        return id(var)
    inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    inner = getattr(inner, "jaxpr", inner)
    result = inner.outvars[eqn.outvars.index(var)]
    for operand, given in zip(eqn.invars, inner.invars, strict=True):
        if given is result:
            return _source(jaxpr, operand)
    return id(eqn), _source(inner, result)


def _pairs(carry: Carry, rate: Any) -> list[tuple[Any, float]]:
    """The leaves of the carry, each with its rate; 0 for those that never stay."""
    leaves, structure = jax.tree.flatten(carry)
    if isinstance(rate, Real):
        rates = [rate] * len(leaves)
    elif jax.tree.structure(rate) == structure:
        rates = jax.tree.leaves(rate)
    else:
        raise ValueError(
            f"zoneout(rate=...): expected a number, or numbers in the structure of the "
            f"carry, {structure}, got {jax.tree.structure(rate)}."
        )
    return [
        (leaf, float(p) if jnp.issubdtype(leaf.dtype, jnp.inexact) else 0.0)
        for leaf, p in zip(leaves, rates, strict=True)
    ]
