"""Any layer or network of rnnjax as a module of Flax NNX. Needs the extra ``flax``."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rnnjax import RNN, StepKey
from rnnjax._extras import require
from rnnjax.base import Array, PyTree

require("flax", extra="flax")

from flax import nnx  # noqa: E402

__all__ = ["Carry", "Recurrent"]


class Carry(nnx.Variable):
    """The type of the variables that hold the carry of a stateful `Recurrent`."""


class Recurrent(nnx.Module):
    """An `RNN` as an NNX module, with its parameters and, if wanted, its carry.

    Parameters are `nnx.Param` in the tree that the RNN has, at ``.params``. With a
    ``batch_shape`` the carry is a tree of `Carry` variables at ``.carry``: each call
    goes on from the last, and no gradient flows from one to the next.

    Args:
      rnn: a layer or a network.
      x: one step of the input, an array or a `jax.ShapeDtypeStruct`.
      rngs: the stream "params" draws the parameters.
      batch_shape: batch axes, such as ``(B,)``, of a module that keeps its carry. None
        starts every call afresh.
      specs: a tree of `jax.sharding.PartitionSpec` like the parameters, kept as their
        sharding metadata; the parameters are put there, on the mesh of the context
        (`jax.set_mesh`). None has none.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from flax import nnx
      >>> from rnnjax.flax import Recurrent
      >>> lstm = Recurrent(rnnjax.lstm(8), jnp.ones(3), rngs=nnx.Rngs(0))
      >>> lstm(jnp.ones((10, 2, 3))).shape                   # [T, B, F] to [T, B, H]
      (10, 2, 8)
      >>> stateful = Recurrent(
      ...     rnnjax.gru(8), jnp.ones(3), rngs=nnx.Rngs(0), batch_shape=(2,)
      ... )
      >>> first, second = (stateful(jnp.ones((5, 2, 3))) for _ in range(2))
      >>> bool((first == second).all())
      False
      >>> stateful.reset_carry()
      >>> bool((first == stateful(jnp.ones((5, 2, 3)))).all())
      True
    """

    def __init__(
        self,
        rnn: RNN,
        x: Any,
        *,
        rngs: nnx.Rngs,
        batch_shape: tuple[int, ...] | None = None,
        specs: PyTree = None,
    ):
        """Draws the parameters."""
        params = rnn.init(rngs.params(), x)
        self.rnn, self.batch_shape = rnn, batch_shape
        specs = jax.tree.map(lambda _: None, params) if specs is None else specs
        self.params = nnx.data(jax.tree.map(_param, params, specs))
        carry = None if batch_shape is None else rnn.initial_carry(params, batch_shape)
        self.carry = nnx.data(jax.tree.map(Carry, carry))

    def __call__(
        self, xs: PyTree, *, key: Array | None = None, **options: Any
    ) -> PyTree:
        """``ys`` of a sequence.

        Args:
          xs: ``[T, *batch, *event]``, or as the RNN has it.
          key: for training, such as ``rngs.dropout()``; None is evaluation.
          **options: ``resets``, ``lengths``, ``mask``, ``reverse`` of ``RNN.unroll``.
        """
        return self._run(self.rnn.unroll, xs, key=key, **options)

    def step(self, x: PyTree, *, reset: Any = None, key: StepKey | None = None):
        """``y`` of one step, as ``RNN.step``, from the carry that is kept."""
        return self._run(self.rnn.step, x, reset=reset, key=key)

    def reset_carry(self, rows: Any = None) -> None:
        """Makes the carry the initial one.

        Args:
          rows: bool ``batch_shape``: in which rows; None is in all.

        Raises:
          ValueError: the module keeps no carry; ``rows`` of another shape.
        """
        if self.batch_shape is None:
            raise ValueError(
                "batch_shape: expected one at construction, such as (B,), to keep a "
                "carry between calls, got None: every call starts afresh."
            )
        rows = jnp.asarray(True if rows is None else rows, bool)
        if rows.shape not in ((), self.batch_shape):
            raise ValueError(f"rows: expected {self.batch_shape}, got {rows.shape}.")

        def select(initial, now):
            wide = rows.reshape(rows.shape + (1,) * (now.ndim - rows.ndim))
            return jnp.where(wide, initial, now)

        initial = self.rnn.initial_carry(_values(self.params), self.batch_shape)
        self._keep(jax.tree.map(select, initial, _values(self.carry)))

    def _run(self, function: Any, xs: PyTree, **options: Any) -> PyTree:
        carry = jax.lax.stop_gradient(_values(self.carry))
        carry, ys = function(_values(self.params), carry, xs, **options)
        if self.batch_shape is not None:
            self._keep(carry)
        return ys

    def _keep(self, carry: PyTree) -> None:
        variables = jax.tree.leaves(self.carry, is_leaf=_is_variable)
        for variable, value in zip(variables, jax.tree.leaves(carry), strict=True):
            variable.set_value(value)


def _param(leaf: Array, spec: Any) -> nnx.Param:
    return nnx.Param(leaf) if spec is None else nnx.Param(leaf, out_sharding=spec)


def _is_variable(leaf: Any) -> bool:
    return isinstance(leaf, nnx.Variable)


def _values(tree: PyTree) -> PyTree:
    """The arrays of a tree of variables."""
    return jax.tree.map(lambda v: v.get_value(), tree, is_leaf=_is_variable)
