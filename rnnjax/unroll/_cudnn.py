"""The LSTM of cuDNN: its weights in one flat array, its sequences padded at the end.

What it has: float32, one call for all of time, a derivative of its own, first order and
in reverse mode alone. What it has not: resets, `vmap`, and a way to be traced where
there is no NVIDIA GPU. So it is chosen in Python, by the default backend, and never
inside a program that is for several platforms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax._by_hand import hand_schedule, projects_by_hand
from rnnjax._checks import check_features, check_recurrent, in_our_words
from rnnjax._compat import cudnn_lstm
from rnnjax.base import Array, Carry, Cell, Params, Schedule
from rnnjax.unroll._masking import select, zero_where_masked

_NOT_IN_JAX = (
    "Schedule(backend='cudnn'): expected at most a first derivative in reverse mode, "
    "of jax.grad or jax.vjp, which is all that JAX has for cuDNN; got forward mode "
    "(jax.jvp, jax.jacfwd), a second derivative, or jax.vmap. Leave backend at 'auto', "
    "or take 'scan'."
)


def why_not_cudnn(schedule: Schedule, cell: Cell, weights: Params, first: Carry) -> str:
    """What keeps cuDNN from running a cell; "" for nothing."""
    hand = hand_schedule(cell)
    leaves = jax.tree.leaves(first)
    if hand is None or hand.gates != (4,) or len(leaves) != 2:
        return "the cell is no LSTM of these equations (cuDNN has others, JAX has not)"
    if not projects_by_hand(cell) or cell.readout is not None:
        return "the cell's inputs or outputs are changed by a wrapper"
    unknown = set(weights) - {"kernel"}
    if unknown:
        return f"cuDNN knows no parameters {sorted(unknown)}"
    dtypes = {leaf.dtype.name for leaf in leaves} | {weights["kernel"].dtype.name}
    if dtypes != {"float32"}:
        return f"JAX has it for float32 alone, not {sorted(dtypes)}"
    if schedule.gradient != "auto":
        return f"its derivative is its own, not gradient {schedule.gradient!r}"
    if schedule.remat != "none" or schedule.block is not None:
        return "it has no remat and no block"
    if jax.sharding.AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types:
        return "it knows no explicit sharding"
    if jax.default_backend() != "gpu":
        return f"it runs on NVIDIA GPUs and this is a {jax.default_backend()}"
    return ""


def check_resets_of_cudnn(resets: Any) -> None:
    """Raises where a sequence has resets."""
    if resets is not None:
        raise ValueError(
            f"resets: expected None under Schedule(backend='cudnn'), which has none, "
            f"got {jnp.result_type(resets)}{list(jnp.shape(resets))}. Take backend "
            f"'scan'."
        )


def pack(params: Params) -> Array:
    """The weights of a layer as cuDNN has them, one after the other.

    ``W_ih [4H, F]``, ``W_hh [4H, H]``, ``b_ih [4H]`` and ``b_hh [4H]``, gates in the
    order i, f, g, o, which is ours. We have one bias; the other is zero.
    """
    kernel, recurrent = params["input"]["kernel"], params["recurrent"]["kernel"]
    none = jnp.zeros(kernel.shape[-1], kernel.dtype)
    bias = params["input"].get("bias", none)
    return jnp.concatenate([a.T.reshape(-1) for a in (kernel, recurrent, bias, none)])


def cudnn_scan(
    params: Params,
    carry: Carry,
    xs: Array,
    mask: Array | None,
    *,
    reverse: bool,
    in_front: bool,
) -> tuple[Carry, Array]:
    """A sequence through cuDNN.

    It runs the first steps of every row. So the valid steps are brought to the front in
    the order of processing, where they are not there, and their outputs to where they
    belong.

    Args:
      params: of the layer.
      carry: of the LSTM, leaves ``[*batch, H]``.
      xs: ``[T, *batch, F]``.
      mask: bool ``[T, *batch]`` or None.
      reverse: from the last step to the first.
      in_front: no valid step of a row comes after a masked one.

    Returns:
      The last carry, and ``hs [T, *batch, H]``, zero where masked.
    """
    leaves, structure = jax.tree.flatten(carry)
    steps, *batch, features = xs.shape
    hidden, dtype = leaves[0].shape[-1], leaves[0].dtype
    check_features("x (one step of xs)", xs, len(params["input"]["kernel"]))
    check_recurrent(params["recurrent"]["kernel"], leaves[0])
    params, xs = jax.tree.map(lambda a: a.astype(dtype), (params, xs))
    if not steps or not leaves[0].size:
        return carry, jnp.zeros((steps, *batch, hidden), dtype)
    rows = xs.reshape(steps, -1, features)
    valid = None if mask is None else mask.reshape(rows.shape[:2])
    lengths = jnp.full(rows.shape[1], steps, jnp.int32)
    if valid is not None:
        lengths = valid.sum(0, dtype=jnp.int32)
    arrange, restore = _arrangement(valid, reverse=reverse, in_front=in_front)
    h, c = (leaf.reshape(1, -1, hidden) for leaf in leaves)
    with in_our_words(_NOT_IN_JAX, "custom_vjp", "Differentiation rule", "Batching"):
        ys, h_n, c_n = cudnn_lstm(
            arrange(rows).swapaxes(0, 1),
            h,
            c,
            pack(params),
            # A length of 0 brings it down: such a row runs one step that nobody reads.
            jnp.maximum(lengths, 1),
            input_size=features,
            hidden_size=hidden,
        )
    last = h_n[0], c_n[0]
    if valid is not None:
        last = select(lengths > 0, last, (h[0], c[0]))
    hs = zero_where_masked(valid, restore(ys.swapaxes(0, 1)))
    last = [a.reshape(leaf.shape) for a, leaf in zip(last, leaves, strict=True)]
    return structure.unflatten(last), hs.reshape(steps, *batch, hidden)


_Order = Callable[[Array], Array]


def _arrangement(
    valid: Array | None, *, reverse: bool, in_front: bool
) -> tuple[_Order, _Order]:
    """Two functions of ``[T, B, ...]``: valid steps to the front, and back again."""
    if valid is None and reverse:
        return lambda a: jnp.flip(a, 0), lambda a: jnp.flip(a, 0)
    if valid is None or (in_front and not reverse):
        return lambda a: a, lambda a: a
    t = jnp.arange(len(valid))[:, None]
    order = jnp.argsort(jnp.where(valid, -t if reverse else t, len(valid)), 0)

    def by(order):
        return lambda a: jnp.take_along_axis(a, order[:, :, None], axis=0)

    return by(order), by(jnp.argsort(order, 0))
