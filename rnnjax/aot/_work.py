"""The arithmetic of a traced function: what it has to multiply, on any device."""

from __future__ import annotations

import math
from typing import Any

from rnnjax._compat import without_dead_code


def product_flops(jaxpr: Any) -> float:
    """Floating-point operations of all products of a jaxpr, on all devices together.

    Those that no output needs are left out, as every compiler does. A scan counts its
    body once a step, a kernel once a program of its grid, a `shard_map` once a device,
    a conditional its dearest branch, a linear system its solution. A while loop whose
    number of steps is computed counts once.
    """
    return _sum(without_dead_code(jaxpr))


def _sum(jaxpr: Any) -> float:
    return sum(map(_flops, getattr(jaxpr, "jaxpr", jaxpr).eqns))


def _flops(eqn: Any) -> float:
    name, params = eqn.primitive.name, eqn.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        lhs = eqn.invars[0].aval.shape
        return 2.0 * eqn.outvars[0].aval.size * math.prod(lhs[i] for i in contracted)
    if name == "conv_general_dilated":
        numbers = params["dimension_numbers"]
        kernel = eqn.invars[1].aval
        return (
            2.0
            * eqn.outvars[0].aval.size
            * kernel.size
            / kernel.shape[numbers.rhs_spec[0]]
        )
    if name == "custom_linear_solve":  # it has the system and its transpose beside
        return _sum(params["jaxprs"].solve)
    inner = [_sum(j) for j in _jaxprs(params)]
    if name == "cond":
        return max(inner, default=0.0)
    return _times(name, params) * sum(inner)


def _jaxprs(params: dict[str, Any]) -> list[Any]:
    """The jaxprs among the parameters of an equation."""
    found = []
    for value in params.values():
        several = value if isinstance(value, tuple | list) else (value,)
        found += [v for v in several if hasattr(getattr(v, "jaxpr", v), "eqns")]
    return found


def _times(name: str, params: dict[str, Any]) -> float:
    if name == "scan":
        return params["length"]
    if name == "shard_map":
        return params["mesh"].size
    if name == "pallas_call":
        return math.prod(n for n in params["grid_mapping"].grid if isinstance(n, int))
    return 1
