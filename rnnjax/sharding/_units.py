"""Parameters by hidden unit: the gates on an axis of their own, the units last."""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import PartitionSpec

from rnnjax._checks import describe
from rnnjax.base import Carry, Params
from rnnjax.sharding._placement import Rule

# The rank of a parameter whose gates stand on an axis of their own.
_SPLIT_RANK = {"kernel": 3}
# What acts across the units of a layer, which no device has all of.
_ACROSS_UNITS = {"scale": "layer normalisation", "mask": "variational dropout"}


def split_gates(params: Params, hidden_size: int) -> Params:
    """Gives the gates of a layer's parameters an axis of their own.

    ``kernel [F, G H] -> [F, G, H]``, ``bias [G H] -> [G, H]``: the same numbers in the
    same order. The last axis is then the hidden unit, and splitting it over devices
    keeps the gates of a unit together.

    Args:
      params: of one recurrent layer; what is split already stays.
      hidden_size: ``H``.

    Returns:
      The parameters.

    Raises:
      ValueError: a last axis that is no multiple of ``H``.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import sharding
      >>> params = rnnjax.gru(4).init(jax.random.key(0), jnp.ones(3))
      >>> split = sharding.split_gates(params, 4)
      >>> jax.tree.map(jnp.shape, split["input"])
      {'bias': (3, 4), 'kernel': (3, 3, 4)}
    """

    def split(path, leaf):
        if leaf.ndim == _SPLIT_RANK.get(path[-1].key, 2):
            return leaf
        if leaf.shape[-1] % hidden_size:
            raise ValueError(
                f"params{jax.tree_util.keystr(path)}: expected a last axis of gates "
                f"times {hidden_size} hidden units, got {describe(leaf)}."
            )
        return leaf.reshape(*leaf.shape[:-1], -1, hidden_size)

    return jax.tree_util.tree_map_with_path(split, params)


def merge_gates(params: Params) -> Params:
    """Undoes `split_gates`: parameters as the layer on one device has them.

    Args:
      params: of one recurrent layer; what is merged already stays.

    Returns:
      The parameters.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import sharding
      >>> params = rnnjax.gru(4).init(jax.random.key(0), jnp.ones(3))
      >>> merged = sharding.merge_gates(sharding.split_gates(params, 4))
      >>> jax.tree.map(jnp.shape, merged["input"])
      {'bias': (12,), 'kernel': (3, 12)}
    """

    def merge(path, leaf):
        if leaf.ndim < _SPLIT_RANK.get(path[-1].key, 2):
            return leaf
        return leaf.reshape(*leaf.shape[:-2], -1)

    return jax.tree_util.tree_map_with_path(merge, params)


def units(axis: str = "model") -> Rule:
    """The rule that splits recurrent layers by hidden unit, for `shard`.

    Args:
      axis: the mesh axis.

    Returns:
      ``(path, leaf) -> PartitionSpec``: the last axis of every leaf below ``"input"``
      or ``"recurrent"`` whose gates are split (`split_gates`) goes over ``axis``;
      anything else is copied to every device. It fits the states of optimisers too.

    Example:
      >>> import jax.numpy as jnp
      >>> from rnnjax import sharding
      >>> rule = sharding.units("model")
      >>> tuple(rule(("0", "recurrent", "kernel"), jnp.ones((8, 4, 8))))
      (None, None, 'model')
      >>> tuple(rule(("1", "kernel"), jnp.ones((8, 5))))
      ()
    """

    def rule(path: tuple[str, ...], leaf: Any) -> PartitionSpec:
        part, name = ("", "", *path)[-2:]
        inside = part in ("input", "recurrent")
        if inside and leaf.ndim == _SPLIT_RANK.get(name, 2):
            return unit_spec(leaf.ndim, axis)
        return PartitionSpec()

    return rule


def unit_spec(rank: int, axis: str) -> PartitionSpec:
    """The last axis over the devices."""
    return PartitionSpec(*(None,) * (rank - 1), axis)


def check_per_unit(params: Params, carry: Carry, hidden_size: int) -> None:
    """Raises unless parameters and carry can be split by unit."""
    for part, leaves in params.items():
        for name in set(_ACROSS_UNITS) & set(leaves):
            raise ValueError(
                f"params[{part!r}][{name!r}]: expected a layer that looks across its "
                f"units by its recurrent product alone, got {_ACROSS_UNITS[name]}, "
                f"which needs all units. Leave it out, or split the batch instead."
            )
    for path, leaf in jax.tree_util.tree_leaves_with_path(carry):
        if leaf.shape[-1:] != (hidden_size,):
            raise ValueError(
                f"carry{jax.tree_util.keystr(path)}: expected [*batch, "
                f"{hidden_size}], a number for every unit, got {describe(leaf)}. Only "
                f"such layers can be split by unit."
            )
