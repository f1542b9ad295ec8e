"""From what an encoder ends with to what a decoder starts with.

Carries are any trees; a bridge works on their floating point leaves, and leaves what an
attentive decoder feeds back to itself alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax import initializers
from rnnjax._wide import add_bias, product
from rnnjax.attention import AttentionCarry
from rnnjax.base import Array, Carry, Params, PyTree
from rnnjax.initializers import Initializer

__all__ = ["Bridge", "dense", "identity", "zeros"]


class Bridge(NamedTuple):
    """How a decoder starts.

    Attributes:
      init: ``(key, encoded, carry) -> params``; arrays or `jax.ShapeDtypeStruct`.
      apply: ``(params, encoded, carry) -> carry``: the last carry of the encoder (or
        the one vector of `one_to_many`) and the initial carry of the decoder to its
        first carry. Both functions are written for one example, without batch axes.
    """

    init: Callable[..., Params]
    apply: Callable[..., Carry]


def zeros() -> Bridge:
    """The decoder's own initial carry: what it knows comes by attention."""
    return Bridge(lambda key, encoded, carry: {}, lambda params, encoded, carry: carry)


def identity() -> Bridge:
    """The leaves of the encoder's carry as they are, in order.

    For an encoder and a decoder with the same recurrent layers; stateless layers do not
    matter.

    Raises:
      ValueError: at init, carries whose leaves differ in number or shape.
    """

    def check(encoded, carry):
        have, want = _shapes(encoded), _shapes(_recurrent(carry))
        if have != want:
            raise ValueError(
                f"bridges.identity: expected an encoder whose carry has leaves of the "
                f"shapes of the decoder's, {want}, got {have}. Use bridges.dense()."
            )

    def init(key, encoded, carry):
        del key
        check(encoded, carry)
        return {}

    def apply(params, encoded, carry):
        del params
        return _with_leaves(carry, _floats(encoded))

    return Bridge(init, apply)


def dense(
    activation: Callable[[Array], Array] = jnp.tanh,
    *,
    kernel_init: Initializer = initializers.glorot_uniform(),  # noqa: B008
    param_dtype: Any = jnp.float32,
) -> Bridge:
    """``s_i = f([e_1, e_2, ..] W_i + b_i)`` for every leaf ``s_i`` of the decoder.

    Works between any two carries: of a bidirectional encoder, say, and a stack.

    Args:
      activation: ``f``.
      kernel_init: of every ``W_i``.
      param_dtype: of the parameters.

    Returns:
      A `Bridge` with parameters ``{"0": {"kernel", "bias"}, "1": ...}``.

    Raises:
      ValueError: at init, an encoder without a carry.
    """

    def init(key, encoded, carry):
        rows = sum(math.prod(shape) for shape in _shapes(encoded))
        if not rows:
            raise ValueError(
                "bridges.dense: expected an encoder with a carry, got one without. Use "
                "bridges.zeros()."
            )
        leaves = _floats(_recurrent(carry))
        params = {}
        for i, (leaf_key, leaf) in enumerate(
            zip(jax.random.split(key, len(leaves)), leaves, strict=True)
        ):
            columns = math.prod(leaf.shape)
            params[str(i)] = {
                "kernel": kernel_init(leaf_key, (rows, columns), param_dtype),
                "bias": jnp.zeros(columns, param_dtype),
            }
        return params

    def apply(params, encoded, carry):
        e = jnp.concatenate([jnp.ravel(leaf) for leaf in _floats(encoded)])
        leaves = []
        for i, leaf in enumerate(_floats(_recurrent(carry))):
            weights = params[str(i)]
            z = product(e, weights["kernel"].astype(e.dtype))
            z = add_bias(z, weights["bias"]).astype(e.dtype)
            leaves.append(activation(z).reshape(leaf.shape))
        return _with_leaves(carry, leaves)

    return Bridge(init, apply)


def _floats(tree: PyTree) -> list:
    leaves = jax.tree.leaves(tree)
    if any(jnp.issubdtype(a.dtype, jnp.complexfloating) for a in leaves):
        raise ValueError(
            "bridges: expected carries of real numbers, got complex ones, as of lru. "
            "Use bridges.zeros(), or a Bridge of your own."
        )
    return [a for a in leaves if _is_float(a)]


def _is_float(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)


def _shapes(tree: PyTree) -> list[tuple[int, ...]]:
    return [leaf.shape for leaf in _floats(tree)]


def _is_attentive(node: Any) -> bool:
    return isinstance(node, AttentionCarry)


def _recurrent(carry: Carry) -> Carry:
    """The carries of the cells; of an attentive one, that of the cell inside."""

    def inside(node):
        return _recurrent(node.cell) if _is_attentive(node) else node

    return jax.tree.map(inside, carry, is_leaf=_is_attentive)


def _with_leaves(carry: Carry, leaves: list) -> Carry:
    """``carry`` with the float leaves of `_recurrent` replaced, in their types."""
    rest = iter(leaves)

    def replace(node):
        if _is_attentive(node):
            return node._replace(cell=fill(node.cell))
        return next(rest).astype(node.dtype) if _is_float(node) else node

    def fill(tree):
        return jax.tree.map(replace, tree, is_leaf=_is_attentive)

    return fill(carry)
