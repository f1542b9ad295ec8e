"""Tensor parallel: the hidden units of a recurrence split over devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jax.sharding import Mesh, PartitionSpec

import rnnjax
from rnnjax._checks import as_arrays, batch_shape_of, check_flags, positive
from rnnjax._compat import varying
from rnnjax._wide import product
from rnnjax.base import RNN, Array, Cell, Explanation, Params, Schedule
from rnnjax.sharding._inputs import given_carry, placed, rows_of, sequence_inputs
from rnnjax.sharding._mesh import axis_size, check_divides
from rnnjax.sharding._units import check_per_unit, merge_gates, split_gates, unit_spec


def tensor_parallel(
    make: Callable[[int], Cell],
    hidden_size: int,
    *,
    mesh: Mesh,
    axis: str = "model",
    data: str | None = None,
    schedule: Schedule = Schedule(),  # noqa: B008
) -> RNN:
    """A recurrent layer whose hidden units are split over the devices of a mesh axis.

    Device ``d`` of ``n`` holds the units from ``d H / n`` on: their columns ``W^(d)``
    of every gate, their part of ``h`` and ``c``. A step is

    ``h = all_gather(h^(d))``, ``z^(d) = u^(d) + h W^(d)``

    and the rest of the cell's equations on the units of the device alone: one
    all-gather a step for each product of the recurrence (``simple``, ``lstm`` and
    ``gru(reset_after=True)`` have one, ``gru`` two, the linear cells none), and one
    reduce-scatter a step for each in the backward pass.

    Args:
      make: ``hidden_size -> Cell``, such as ``rnnjax.cells.lstm``. It is called with
        ``H`` for the parameters and with ``H / n`` for the part of a device. Its cell
        may look across units by ``h @ w["kernel"]`` in ``recur``, and nowhere else:
        `cells.simple`, `cells.lstm`, `cells.gru`, `cells.rg_lru` and `cells.min_gru`
        are so.
      hidden_size: ``H``, a multiple of the size of the mesh axis.
      mesh: of `mesh`.
      axis: the mesh axis that the units are split over.
      data: the mesh axis that the first batch axis is split over; None for none.
      schedule: as for `rnnjax.layer`.

    Returns:
      An `RNN`. Its parameters are those of the cell with an axis of their own for the
      gates, ``kernel [F, G, H]`` and ``bias [G, H]``, so that `shard` by `units` splits
      them; `split_gates` and `merge_gates` convert. ``[F, G H]`` is taken as well, and
      is brought to the devices that need it once a call. Outputs are split over the
      units. Where a cell draws at random, each device draws for its own units.

    Raises:
      ValueError: a mesh axis that is missing or does not divide ``H``; a cell with a
        readout, or with parameters or a carry that are not per unit.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import sharding
      >>> mesh = sharding.mesh("model=1")
      >>> rnn = sharding.tensor_parallel(rnnjax.cells.lstm, 8, mesh=mesh)
      >>> params = rnn.init(jax.random.key(0), jnp.ones(3))
      >>> params["recurrent"]["kernel"].shape
      (8, 4, 8)
      >>> carry, ys = rnn.unroll(params, None, jnp.ones((10, 2, 3)))
      >>> ys.shape
      (10, 2, 8)

    Reference: Shoeybi et al., "Megatron-LM: Training Multi-Billion Parameter Language
    Models Using Model Parallelism", 2019 (the split by columns).
    """
    hidden_size = positive("hidden_size", hidden_size)
    mend = "Take a size that it divides."
    part = check_divides("hidden_size", hidden_size, mesh, axis, mend)
    axis_size("data", mesh, data)
    whole = make(hidden_size)
    local = rnnjax.layer(_gathering(make(part), axis), schedule)
    if whole.readout is not None:
        raise ValueError(
            "make: expected a cell without a readout, which may go across units, got "
            "one that has it. Split its batch or its sequence instead."
        )
    split = (axis,) if data is None else (data, axis)

    def init(key, x):
        return split_gates(whole.init(key, x), hidden_size)

    def initial_carry(params, batch_shape=()):
        whole_params = placed(params, mesh, PartitionSpec())
        return whole.initial_carry(merge_gates(whole_params), batch_shape)

    def run(function, params, carry, inputs, keys, batch, time):
        """``function`` on every device, of its part of all the arguments."""
        params = split_gates(params, hidden_size)
        check_per_unit(params, carry, hidden_size)
        lead = (*(None,) * time, *rows_of(batch, mesh, data))
        carry_spec = PartitionSpec(*lead[time:], axis)
        args = params, carry, inputs, keys
        in_specs = (
            jax.tree.map(lambda p: unit_spec(p.ndim, axis), params),
            carry_spec,
            PartitionSpec(*lead),
            PartitionSpec(),
        )

        def on_device(params, carry, inputs, keys):
            params, carry = varying((params, carry), split)
            if keys is not None:
                keys = keys.fold_in(lax.axis_index(split))
            return function(merge_gates(params), carry, *inputs, keys)

        mapped = jax.shard_map(
            on_device,
            mesh=mesh,
            in_specs=in_specs,
            out_specs=(carry_spec, PartitionSpec(*lead, axis)),
        )
        return mapped(*placed(args, mesh, in_specs))

    def step(params, carry, x, *, reset=None, key=None):
        x = as_arrays("x", x)
        batch = batch_shape_of("x", x, whole.event_ndim, time=False)
        reset = check_flags("reset", reset, batch)
        carry = given_carry(carry, initial_carry(params, batch))

        def function(params, carry, x, reset, key):
            return local.step(params, carry, x, reset=reset, key=key)

        return run(function, params, carry, (x, reset), key, batch, time=False)

    def unroll(params, carry, xs, *, reverse=False, **options):
        def function(params, carry, xs, resets, mask, keys):
            given = {"resets": resets, "mask": mask, "key": keys}
            return local.unroll(params, carry, xs, reverse=reverse, **given)

        return _unroll(function, params, carry, xs, **options)

    def _unroll(function, params, carry, xs, **options):
        def first(batch):
            return initial_carry(params, batch)

        got = sequence_inputs(first, whole.event_ndim, carry, xs, **options)
        inputs = got.xs, got.resets, got.mask
        return run(function, params, got.carry, inputs, got.keys, got.batch, time=True)

    def explain(params, xs):
        found = []

        def function(params, carry, xs, resets, mask, keys):
            found.append(local.explain(params, xs))
            return local.unroll(params, carry, xs)

        output = jax.eval_shape(lambda p, x: _unroll(function, p, None, x), params, xs)
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        why = f"{part} of {hidden_size} units on each of {mesh.shape[axis]} devices"
        return Explanation(
            "tensor_parallel", "", "", (why,), tuple(found[:1]), output[1], count
        )

    return RNN(init, initial_carry, step, unroll, explain, whole.event_ndim)


class _Kernel:
    """A device's columns of a kernel, whose rows are the units of all devices.

    ``h @ kernel`` gathers ``h`` and multiplies. What JAX does not know as an array it
    asks by ``__rmatmul__``, so that a cell's own equations run as they are.
    """

    def __init__(self, columns: Array, axis: str):
        self.columns = columns
        self.axis = axis

    def astype(self, dtype: Any) -> _Kernel:
        return _Kernel(self.columns.astype(dtype), self.axis)

    def __getitem__(self, index: Any) -> _Kernel:
        return _Kernel(self.columns[index], self.axis)

    def __rmatmul__(self, h: Array) -> Array:
        return self._gathered(h) @ self.columns

    def wide_product(self, h: Array) -> Array:
        """What `product` makes of it."""
        return product(self._gathered(h), self.columns)

    def _gathered(self, h: Array) -> Array:
        return lax.all_gather(h, self.axis, axis=h.ndim - 1, tiled=True)


def _gathering(cell: Cell, axis: str) -> Cell:
    """The cell of the units of one device, its recurrent product over all of them."""

    def recur(w: Params, carry, u):
        if "kernel" in w:
            w = {**w, "kernel": _Kernel(w["kernel"], axis)}
        return cell.recur(w, carry, u)

    return cell._replace(recur=recur)
