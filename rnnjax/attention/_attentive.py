"""`attentive`: a cell that reads a memory at every step, with input feeding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax import RNN, Cell, initializers
from rnnjax._checks import positive
from rnnjax._compat import is_concrete
from rnnjax.attention._attention import Attention
from rnnjax.attention._memory import Memory, affine, remember
from rnnjax.base import Array, Carry, Params, PyTree
from rnnjax.initializers import Initializer


class AttentionCarry(NamedTuple):
    """The carry of an `attentive` cell.

    Attributes:
      cell: the carry of the cell inside.
      fed: ``[*batch, features]``, the output of the step before, which is fed back.
      coverage: ``[*batch, S]``, the sum of the weights so far; None unless the
        attention wants it.
    """

    cell: Carry
    fed: Array
    coverage: Array | None


class _Inside(NamedTuple):
    """What is wrapped: of a cell the input product stays outside the loop."""

    init: Callable[..., tuple[Params, Params, Params]]
    """``(key, x, fed) -> (input, recurrent, feed)`` parameters."""
    project: Callable[..., PyTree]
    advance: Callable[..., tuple[Carry, Array]]
    """``(w, carry, u, fed) -> (carry, y)``."""
    initial_carry: Callable[..., Carry]


def attentive(
    cell: Cell | RNN,
    attention: Attention,
    memory_size: int,
    *,
    features: int | None = None,
    return_weights: bool = False,
    kernel_init: Initializer = initializers.glorot_uniform(),  # noqa: B008
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> Cell:
    """A cell that attends to a memory, and is fed what it said at the step before.

    ``s_t, y_t = cell(s_{t-1}, [x_t, o_{t-1}])``,
    ``c_t, a_t = attention(memory, y_t)``, ``o_t = tanh([c_t, y_t] W_o + b_o)``

    The output is ``o_t``. The memory is no input and no part of the carry: `bind` puts
    it into the parameters for the sequences that read it, and its gradient is that of
    a weight. Until then ``init`` works, and running raises, or gives NaN under jit.

    Of a `Cell` whose projected input ``u_t`` is one array, the fed back output enters
    as ``u_t + o_{t-1} W_f``: the product with ``[x_t, o_{t-1}]``, of which the part of
    ``x_t`` stays outside the time loop. An `RNN`, such as a stack, is given ``[x_t,
    o_{t-1}]`` step by step.

    Args:
      cell: a `Cell` without a readout, or an `RNN` on feature vectors that can `step`.
      attention: such as `bahdanau` or `luong`.
      memory_size: ``M`` of the memory ``[S, *batch, M]``.
      features: size of ``o_t``; None is that of ``y_t``.
      return_weights: the output is ``(o_t, a_t)``, for pictures.
      kernel_init: of ``W_o`` and ``W_f``.
      dtype: of ``o_t``; None is ``param_dtype``.
      param_dtype: of the parameters.

    Returns:
      A `Cell`; `rnnjax.layer` makes an ordinary `RNN` of it. Parameters: ``input``,
      that of the cell; ``recurrent`` with ``cell``, ``feed``, ``attention`` and
      ``output``. Its carry is an `AttentionCarry`.

    Raises:
      TypeError: not a `Cell` or `RNN`; not an `Attention`.
      ValueError: a cell with a readout or with a ``u_t`` of several arrays; later, no
        memory bound.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import attention
      >>> cell = attention.attentive(rnnjax.cells.lstm(8), attention.luong(), 3)
      >>> rnn = rnnjax.layer(cell)
      >>> params = rnn.init(jax.random.key(0), jnp.ones(4))
      >>> bound = attention.bind(params, jnp.ones((5, 2, 3)))
      >>> carry, os = rnn.unroll(bound, None, jnp.ones((10, 2, 4)))
      >>> os.shape, carry.fed.shape
      ((10, 2, 8), (2, 8))

    Reference: Luong, Pham and Manning, "Effective Approaches to Attention-based Neural
    Machine Translation", EMNLP 2015. Fed with a context alone it is the recursion of
    Bahdanau et al. 2015.
    """
    if not isinstance(attention, Attention):
        raise TypeError(
            f"attention: expected a rnnjax.attention.Attention, got "
            f"{type(attention).__name__}. For example rnnjax.attention.luong()."
        )
    memory_size = positive("memory_size", memory_size)
    features = None if features is None else positive("features", features)
    dtype = dtype or param_dtype
    inside = _inside(cell, kernel_init, param_dtype)

    def init(key, x):
        keys = jax.random.split(key, 4)
        y = jax.eval_shape(lambda k, x: _output(inside, k, x), keys[0], x)
        size = y.shape[-1] if features is None else features
        fed = jax.ShapeDtypeStruct((*x.shape[:-1], size), x.dtype)
        of_cell, recurrent, feed = inside.init(keys[0], x, fed)
        position = jax.ShapeDtypeStruct((memory_size,), y.dtype)
        params = attention.init(keys[1], y, position)

        def context(params):
            query = jnp.zeros(y.shape[-1:], y.dtype)
            memory = remember(params, jnp.zeros((1, memory_size), y.dtype))
            return attention.read(params, memory, query, jnp.zeros(1))[0]

        rows = jax.eval_shape(context, params).shape[-1] + y.shape[-1]
        output = {
            "kernel": kernel_init(keys[2], (rows, size), param_dtype),
            "bias": jnp.zeros(size, param_dtype),
        }
        weights = {"cell": recurrent, **feed, "attention": params, "output": output}
        return {"input": of_cell, "recurrent": weights}

    def initial_carry(params, batch_shape=()):
        own = {"input": params["input"], "recurrent": params["recurrent"]["cell"]}
        fed = jnp.zeros(
            (*batch_shape, params["recurrent"]["output"]["bias"].shape[0]), dtype
        )
        if not attention.coverage:
            return AttentionCarry(inside.initial_carry(own, batch_shape), fed, None)
        bound = params["recurrent"].get("memory")
        length = 1 if bound is None else bound.keys.shape[-2]
        wide = jnp.promote_types(dtype, jnp.float32)
        coverage = jnp.zeros((*batch_shape, length), wide)
        return AttentionCarry(inside.initial_carry(own, batch_shape), fed, coverage)

    def recur(w, carry, u):
        new, y = inside.advance(w, carry.cell, u, carry.fed)
        memory = w.get("memory")
        if memory is None:
            memory = _missing(w, (memory_size,), y)
        context, weights = attention.read(w["attention"], memory, y, carry.coverage)
        both = jnp.concatenate([context.astype(dtype), y.astype(dtype)], axis=-1)
        fed = jnp.tanh(affine(w["output"], both))
        coverage = carry.coverage
        if coverage is not None:
            coverage = coverage + weights.astype(coverage.dtype)
        out = (fed, weights) if return_weights else fed
        return AttentionCarry(new, fed, coverage), out

    return Cell(init, initial_carry, inside.project, recur)


def _inside(cell: Any, kernel_init: Initializer, param_dtype: Any) -> _Inside:
    if isinstance(cell, RNN):
        return _inside_rnn(cell)
    if not isinstance(cell, Cell):
        raise TypeError(
            f"attentive: expected a rnnjax.Cell or a rnnjax.RNN, got "
            f"{type(cell).__name__}."
        )
    if cell.readout is not None or cell.event_ndim != 1:
        raise ValueError(
            "attentive: expected a cell on feature vectors whose output is whole after "
            "its step, got one with a readout, or on other examples. Wrap "
            "rnnjax.layer(cell)."
        )
    return _inside_cell(cell, kernel_init, param_dtype)


def _inside_cell(cell: Cell, kernel_init: Initializer, param_dtype: Any) -> _Inside:
    def init(key, x, fed):
        cell_key, feed_key = jax.random.split(key)
        params = cell.init(cell_key, x)
        u = jax.eval_shape(cell.project, params, x)
        if not hasattr(u, "shape") or u.shape[:-1] != x.shape[:-1]:
            raise ValueError(
                f"attentive: expected a cell whose projected input is one array "
                f"[*batch, U], got {u}. Wrap rnnjax.layer(cell)."
            )
        shape = fed.shape[-1], u.shape[-1]
        feed = {"kernel": kernel_init(feed_key, shape, param_dtype)}
        return params["input"], params["recurrent"], {"feed": feed}

    def advance(w, carry, u, fed):
        return cell.recur(w["cell"], carry, u + affine(w["feed"], fed.astype(u.dtype)))

    return _Inside(init, cell.project, advance, cell.initial_carry)


def _inside_rnn(rnn: RNN) -> _Inside:
    if rnn.event_ndim != 1:
        raise ValueError(
            f"attentive: expected a layer on feature vectors, got event_ndim "
            f"{rnn.event_ndim}. Put rnnjax.embed in front of attentive, not into it."
        )

    def init(key, x, fed):
        both = jax.ShapeDtypeStruct(
            (*x.shape[:-1], x.shape[-1] + fed.shape[-1]), x.dtype
        )
        return {}, rnn.init(key, both), {}

    def project(params, x, key=None):
        del params
        return x, key

    def advance(w, carry, u, fed):
        x, key = u
        both = jnp.concatenate([x, fed.astype(x.dtype)], axis=-1)
        return rnn.step(w["cell"], carry, both, key=key)

    def initial_carry(params, batch_shape=()):
        return rnn.initial_carry(params["recurrent"], batch_shape)

    return _Inside(init, project, advance, initial_carry)


def _output(inside: _Inside, key: Array, x: Array) -> Array:
    """What the part inside gives for one step; traced for its shape alone."""
    fed = jnp.zeros((*x.shape[:-1], 1), x.dtype)
    of_cell, recurrent, feed = inside.init(key, x, fed)
    params = {"input": of_cell, "recurrent": recurrent}
    carry = inside.initial_carry(params, x.shape[:-1])
    u = inside.project(params, x)
    return inside.advance({"cell": recurrent, **feed}, carry, u, fed)[1]


def _missing(w: Params, memory_shape: tuple[int, ...], y: Array) -> Memory:
    """A memory of NaN, so that init can ask for shapes; an error where it would run."""
    if is_concrete(w["output"]["kernel"]):
        raise ValueError(
            "attentive: expected parameters with a memory, got some without. Bind it "
            "for the call: rnn.unroll(rnnjax.attention.bind(params, memory, "
            "lengths=lengths), carry, xs)."
        )
    memory = jnp.full((1, *y.shape[:-1], *memory_shape), jnp.nan, y.dtype)
    return remember(w["attention"], memory)
