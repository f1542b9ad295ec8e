"""Sequence parallel: the steps of a linear recurrence split over devices."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, PartitionSpec

import rnnjax
from rnnjax._compat import varying
from rnnjax.base import (
    RNN,
    Array,
    Carry,
    Cell,
    Explanation,
    Params,
    PyTree,
    StepKey,
    StepKeys,
)
from rnnjax.sharding._inputs import placed, rows_of, sequence_inputs
from rnnjax.sharding._mesh import axis_size, check_divides


def linear_scan(
    a: Any,
    b: Any,
    h0: Any = None,
    *,
    axis: str,
    resets: Any = None,
    reverse: bool = False,
    backend: str = "auto",
) -> tuple[Array, Array]:
    """`rnnjax.linear_scan` inside `jax.shard_map`, of steps split over a mesh axis.

    Each device runs its chunk of the steps from zero, ``s_t``, and the product of the
    ``a`` up to each step, ``A_t = a_t ... a_1``. One all-gather of the last
    ``(A, s)`` of every device, and each knows the state that its chunk starts from,
    ``h``; then ``h_t = s_t + A_t h``. The gradient has one reduce-scatter. No
    collective is in a loop.

    Args:
      a: elementwise, as for `rnnjax.linear_scan`, of the steps of this device; all its
        axes but that of time may have size 1.
      b: ``[T / n, *batch, ...]``, the steps of this device.
      h0: the state before the first step of all, the same on every device; None is
        zeros.
      axis: the mesh axis that the steps are split over.
      resets: bool ``[T / n, *batch]``.
      reverse: from the last step of the last device to the first of the first.
      backend: of the scan on each device.

    Returns:
      The state after the last step of all, the same on every device, and
      ``hs [T / n, *batch, ...]`` of this device's steps. Where the last state is used,
      one all-reduce brings it to all devices.

    Raises:
      ValueError: ``a`` holds matrices, or has one step for all.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from functools import partial
      >>> from jax.sharding import PartitionSpec as P
      >>> from rnnjax import sharding
      >>> mesh = sharding.mesh("time=1")
      >>> scan = jax.shard_map(
      ...     partial(sharding.linear_scan, axis="time"),
      ...     mesh=mesh, in_specs=(P("time"), P("time")), out_specs=(P(), P("time")))
      >>> last, hs = jax.jit(scan)(jnp.full(4, 0.5), jnp.ones(4))
      >>> hs.tolist()
      [1.0, 1.5, 1.75, 1.875]

    Reference: Blelloch, "Prefix Sums and Their Applications", 1990.
    """
    a, b = jnp.asarray(a), jnp.asarray(b)
    if a.ndim != b.ndim or len(a) != len(b):
        raise ValueError(
            f"a: expected an elementwise factor of every step, of the rank and the "
            f"steps of b {b.shape}, got {a.shape}. For matrices, split the batch."
        )
    h0 = jnp.zeros_like(b, shape=b.shape[1:]) if h0 is None else jnp.asarray(h0)
    last, _, hs = _scan(axis, backend, a, b, h0, resets, reverse)
    return last, hs


def _scan(axis, backend, a, b, h0, resets, reverse) -> tuple[Array, Array, Array]:
    """The last state of all, the one that this device starts from, and its ``hs``."""
    index, count = lax.axis_index(axis), lax.axis_size(axis)
    place = count - 1 - index if reverse else index  # in the order of processing
    options: dict[str, Any] = {"reverse": reverse, "backend": backend}
    # The chunk as a map of the state: what it makes of zero (of h0, on the first
    # device), and what it multiplies the state by.
    start = _only_where(place == 0, h0)
    both = jnp.stack([start, jnp.ones_like(start)], -1)
    added = jnp.stack([b, jnp.zeros_like(b)], -1)
    end, hs = rnnjax.linear_scan(a[..., None], added, both, resets=resets, **options)
    ends = lax.all_gather(end, axis)
    _, after = rnnjax.linear_scan(ends[..., 1], ends[..., 0], **options)
    neighbour = jnp.clip(index + 1 if reverse else index - 1, 0, count - 1)
    before = _only_where(place > 0, after[neighbour])
    hs = hs[..., 0] + hs[..., 1] * before[None]
    last = _only_where(place == count - 1, hs[0 if reverse else -1])
    return lax.psum(last, axis), start + before, hs


def _only_where(here: Array, value: Array) -> Array:
    """``value`` on the devices where ``here`` is true, and zeros on the others."""
    return jnp.where(here, value, jnp.zeros_like(value))


def sequence_parallel(
    cell: Cell,
    *,
    mesh: Mesh,
    axis: str = "sequence",
    data: str | None = None,
    backend: str = "auto",
) -> RNN:
    """A layer of a linear cell whose steps are split over the devices of a mesh axis.

    Device ``d`` of ``n`` has the steps from ``d T / n`` on, of inputs, projections,
    states and outputs alike: the longest sequence grows with the number of devices. See
    `linear_scan` for how the state passes from one to the next.

    Args:
      cell: one with ``linear``, such as `cells.lru`, `cells.rg_lru`, `cells.min_gru`.
      mesh: of `mesh`.
      axis: the mesh axis that time is split over. It divides ``T``.
      data: the mesh axis that the first batch axis is split over; None for none.
      backend: of `rnnjax.linear_scan` on each device.

    Returns:
      An `RNN` with the parameters of ``rnnjax.layer(cell)`` and the same results. With
      ``data`` None, value and gradient take one all-gather and one reduce-scatter, an
      all-reduce for the last carry where it is used, and those that sum the gradient of
      the parameters; none is in a loop.

    Raises:
      ValueError: a cell without ``linear``; a mesh axis that is missing or does not
        divide ``T`` or the batch.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import sharding
      >>> mesh = sharding.mesh("sequence=1")
      >>> rnn = sharding.sequence_parallel(rnnjax.cells.min_gru(8), mesh=mesh)
      >>> params = rnn.init(jax.random.key(0), jnp.ones(3))
      >>> carry, ys = rnn.unroll(params, None, jnp.ones((16, 2, 3)))
      >>> ys.shape
      (16, 2, 8)

    Reference: Martin and Cundy, "Parallelizing Linear Recurrent Neural Nets Over
    Sequence Length", ICLR 2018.
    """
    if cell.linear is None:
        raise ValueError(
            "cell: expected one that is linear in its carry (Cell.linear), got one "
            "that does not say so. For other cells split the batch, the units "
            "(tensor_parallel) or the layers (pipeline)."
        )
    axis_size("axis", mesh, axis)
    axis_size("data", mesh, data)
    alone = rnnjax.layer(cell)
    split = (axis,) if data is None else (data, axis)
    scan = partial(_scan, axis, backend)

    def unroll(params, carry, xs, *, reverse=False, **options):
        def first(batch):
            return cell.initial_carry(params, batch)

        got = sequence_inputs(first, cell.event_ndim, carry, xs, **options)
        if not got.length:  # nothing to be cut
            return alone.unroll(params, carry, xs, reverse=reverse, **options)
        mend = "Pad xs in time, and give lengths."
        check_divides("xs (time axis)", got.length, mesh, axis, mend)
        rows = rows_of(got.batch, mesh, data)
        states, steps = PartitionSpec(*rows), PartitionSpec(axis, *rows)
        specs = (
            PartitionSpec(),
            states,
            states,
            steps,
            StepKeys(PartitionSpec(), PartitionSpec(axis)),  # type: ignore[arg-type]
        )
        inputs = got.xs, got.resets, got.mask
        args = params, got.carry, first(got.batch), inputs, _in_time(got.keys, reverse)

        def on_device(params, carry, first, inputs, keys):
            params = varying(params, split)
            if keys is not None and data is not None:
                keys = keys.fold_in(lax.axis_index(data))
            xs, resets, mask = inputs
            chunk = _Chunk(carry, first, xs, resets, mask, keys)
            return _unroll_chunk(cell, params, chunk, scan, reverse)

        if got.keys is None:
            specs = (*specs[:-1], PartitionSpec())
        mapped = jax.shard_map(
            on_device, mesh=mesh, in_specs=specs, out_specs=(states, steps)
        )
        return mapped(*placed(args, mesh, specs))

    def explain(params, xs):
        inside = alone.explain(params, xs)
        why = f"the steps on {mesh.shape[axis]} devices, one all-gather after the loop"
        return Explanation(
            "sequence_parallel",
            reasons=(why,),
            children=(inside,),
            output=inside.output,
            parameters=inside.parameters,
        )

    return alone._replace(unroll=unroll, explain=explain)


class _Chunk(NamedTuple):
    """What a device has of a sequence."""

    carry: Carry
    first: Carry
    xs: PyTree
    resets: Array | None
    mask: Array | None
    keys: StepKeys | None


def _unroll_chunk(
    cell: Any, params: Params, chunk: _Chunk, scan: Callable, reverse: bool
) -> tuple[Carry, PyTree]:
    """``RNN.unroll`` of the steps of one device, the same operations in each."""
    mask, resets = chunk.mask, chunk.resets
    if mask is not None and resets is not None:
        resets = resets & mask
    xs = _where(mask, chunk.xs, 0)
    u = _project(cell, params, xs, chunk.keys)
    w = params["recurrent"]
    a, b = jax.vmap(cell.linear, (None, 0))(w, u)

    def states(a, b, carry, first):
        if resets is not None:  # to the initial carry, which need not be zero
            b = b + _where(resets, a * first[None], 0)
        a, b = _where(mask, a, 1), _where(mask, b, 0)
        return scan(a, b, carry, resets, reverse)

    is_carry = jax.tree.structure(chunk.carry).unflatten
    leaves = map(jax.tree.leaves, (a, b, chunk.carry, chunk.first))
    found = [states(*each) for each in zip(*leaves, strict=True)]
    last, start, hs = (is_carry(part) for part in zip(*found, strict=True))
    starts = jax.tree.map(partial(_before, reverse), hs, start)
    if resets is not None:
        first = jax.tree.map(lambda leaf: leaf[None], chunk.first)
        starts = jax.tree.map(partial(_select, resets), first, starts)
    _, ys = jax.vmap(cell.recur, (None, 0, 0))(w, starts, u)
    if cell.readout is not None:
        ys = jax.vmap(cell.readout, (None, 0, 0, 0))(params, ys, xs, u)
    return last, _where(mask, ys, 0)


def _project(cell: Cell, params: Params, xs: PyTree, keys: StepKeys | None) -> PyTree:
    if keys is None:
        return jax.vmap(lambda x: cell.project(params, x))(xs)

    def project(x, step):
        return cell.project(params, x, StepKey(keys.sequence, step))

    return jax.vmap(project)(xs, keys.step)


def _in_time(keys: StepKeys | None, reverse: bool) -> StepKeys | None:
    """The keys in the order of time; they come in the order of processing."""
    if keys is None or not reverse:
        return keys
    return StepKeys(keys.sequence, keys.step[::-1])


def _before(reverse: bool, hs: Array, start: Array) -> Array:
    """The state before each step of a chunk."""
    parts = (hs[1:], start[None]) if reverse else (start[None], hs[:-1])
    return jnp.concatenate(parts)


def _where(flags: Array | None, tree: PyTree, other: float) -> PyTree:
    """The leaves where the flags ``[T, *batch]`` are true, elsewhere a constant."""
    if flags is None:
        return tree
    return jax.tree.map(
        lambda leaf: _select(flags, leaf, jnp.full_like(leaf, other)), tree
    )


def _select(flags: Array, yes: Array, no: Array) -> Array:
    """`jnp.where` of flags that have the leading axes; axes of size 1 are broadcast."""
    rank = max(yes.ndim, no.ndim)
    return jnp.where(flags.reshape(flags.shape + (1,) * (rank - flags.ndim)), yes, no)
