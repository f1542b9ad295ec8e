"""Every use of a JAX interface that is experimental or depends on the version.

Written for jax 0.10.2 to 0.12.
"""

from __future__ import annotations

from typing import Any

import jax
from jax import lax
from jax.core import Tracer
from jax.extend.core import Literal, jaxpr_as_fun

__all__ = [
    "Literal",
    "deferrable",
    "is_concrete",
    "jaxpr_as_fun",
    "like_type",
    "rows_sharding",
    "same_type",
    "without_constants",
]


def is_concrete(x: Any) -> bool:
    """Whether the values of ``x`` are known: it is no tracer."""
    return not isinstance(x, Tracer)


def like_type(x: jax.Array, like: jax.ShapeDtypeStruct) -> jax.Array:
    """``x`` with the sharding and the varying axes of ``like``; values unchanged.

    Outside `shard_map` and explicit sharding this is ``x`` itself. The varying axes
    are `manual_axis_type.varying`, named `vma` before jax 0.10.
    """
    have, want = jax.typeof(x), like
    if have.sharding != want.sharding and want.sharding is not None:
        if _is_explicit(want.sharding.mesh):
            x = jax.sharding.reshard(x, want.sharding)
    missing = _varying(want) - _varying(have)
    return lax.pcast(x, tuple(missing), to="varying") if missing else x


def rows_sharding(index: jax.Array) -> jax.sharding.NamedSharding | None:
    """Where the rows ``table[index]`` of a replicated table belong: with ``index``.

    Under explicit sharding a gather must be told; elsewhere this is None.
    """
    have = jax.typeof(index).sharding
    if not _is_explicit(have.mesh):
        return None
    spec = jax.sharding.PartitionSpec(*have.spec, None)
    return jax.sharding.NamedSharding(have.mesh, spec)


def _is_explicit(mesh: Any) -> bool:
    return any(t == jax.sharding.AxisType.Explicit for t in mesh.axis_types)


def _varying(aval) -> frozenset:
    """The manual mesh axes over which a value varies."""
    kind = getattr(aval, "manual_axis_type", None)
    return frozenset() if kind is None else frozenset(kind.varying)


def same_type(a: Any, b: Any) -> bool:
    """Whether two types of values are equal, weak types aside."""
    names = ("shape", "dtype", "sharding", "manual_axis_type")
    return all(getattr(a, name, None) == getattr(b, name, None) for name in names)


def without_constants(jaxpr: Any) -> Any:
    """The inner jaxpr of a closed one, holding on to none of its constants.

    Since jax 0.12 the two are one class, and an inner jaxpr carries them along.
    """
    inner = jaxpr.jaxpr
    return inner.with_consts(()) if hasattr(inner, "with_consts") else inner


def deferrable(jaxpr: Any) -> bool:
    """Whether a step may run more often than once, and for all of time at once.

    Not where it writes to a reference or calls back into Python. Unordered debug
    prints may be repeated.
    """
    effects = {type(effect).__name__ for effect in jaxpr.effects}
    return effects <= {"DebugEffect", "NamedAxisEffect"} and not _calls_back(jaxpr)


def _calls_back(value: Any) -> bool:
    """Whether a jaxpr, or those among the values in a tuple, call Python."""
    if isinstance(value, tuple | list):
        return any(map(_calls_back, value))
    value = getattr(value, "jaxpr", value)
    return any(
        eqn.primitive.name in ("pure_callback", "io_callback")
        or any(map(_calls_back, eqn.params.values()))
        for eqn in getattr(value, "eqns", ())
    )
