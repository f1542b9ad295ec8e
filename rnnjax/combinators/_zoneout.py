"""`zoneout`: a cell whose carry randomly stays as it is."""

from __future__ import annotations

from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax._checks import batch_shape_of
from rnnjax.base import Carry, Cell, Shape, StepKey
from rnnjax.combinators._stateless import check_rate
from rnnjax.unroll import select


def zoneout(cell: Cell, rate: Any) -> Cell:
    """Keeps each unit of the carry at its previous value with probability ``rate``.

    ``carry_t = m_t * carry_{t-1} + (1 - m_t) * recur(carry_{t-1}, u_t)``, where ``m_t``
    is 1 with probability ``rate``; in evaluation (``key=None``) ``m_t`` is its
    expectation, ``rate``.

    An output that *is* a leaf of the carry (the ``h`` of every cell of `rnnjax.cells`)
    is the blended leaf. It is found by identity, which `jax.jit` and `jax.checkpoint`
    around ``recur`` hide: give the cell without them. Leaves that are not floating
    point (a time index, a key) are never kept back.

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

        def follow(out):
            same = (b for n, b in zip(leaves, blended, strict=True) if n is out)
            return next(same, out)

        return structure.unflatten(blended), jax.tree.map(follow, y)

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
