"""A step cut where the weights and the inputs meet the carry.

Of the values inside of a step some *move*: they depend on the carry. The others are
*still*: they depend on the weights and the inputs alone. An equation that mixes both,
such as the product of the hidden state with a kernel, has the tangent

    d out = (d out / d moving) d moving + tap,    tap = (d out / d still) d still,

and only the first term has to be formed step by step. `Cut` finds these equations in
the jaxpr of a step, runs the step with the taps as inputs, and forms the taps of all
steps at once.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from rnnjax._compat import (
    CALLS,
    bind,
    inlined,
    is_variable,
    one_device,
    zeros_of_type,
)
from rnnjax.base import Array


class Tap(NamedTuple):
    """A mixed equation, and the sums with still values that follow it directly.

    One tap serves all of ``z = h @ W``, ``z + u``, ``(z + u) + b``. An output of the
    step that does not move has one as well, without equations.
    """

    eqns: list
    moving: list
    """The moving inputs of the first equation."""
    still: list = []
    """The still output."""

    @property
    def outs(self) -> list:
        """The variables that are tapped."""
        outs = self.eqns[-1].outvars if self.eqns else self.still
        return list(filter(is_float, outs))


class Cut:
    """The jaxpr of a step ``(w, carry, x) -> outputs``, on leaves, and its taps."""

    def __init__(self, jaxpr: Any, number_of_w: int, number_of_carry: int):
        closed = inlined(jaxpr)
        self.jaxpr = jaxpr = closed.jaxpr
        self.constants = dict(zip(jaxpr.constvars, closed.consts, strict=True))
        end = number_of_w + number_of_carry
        self.w, self.xs = jaxpr.invars[:number_of_w], jaxpr.invars[end:]
        self.moving = reached(jaxpr, jaxpr.invars[number_of_w:end])
        self.in_time = reached(jaxpr, self.xs) | self.moving
        self.taps = self._find_taps()

    def _find_taps(self) -> list[Tap]:
        still = reached(self.jaxpr, [*self.w, *self.xs]) - self.moving
        read = [v for eqn in self.jaxpr.eqns for v in eqn.invars]
        uses = Counter(filter(is_variable, [*read, *self.jaxpr.outvars]))
        taps, ending_at = [], {}
        for eqn in self.jaxpr.eqns:
            inputs = list(filter(is_variable, eqn.invars))
            moving = [v for v in inputs if v in self.moving]
            mixed = any(v in still and is_float(v) for v in inputs)
            if not (mixed and moving and any(map(is_float, eqn.outvars))):
                continue
            tap = ending_at.get(moving[0])
            is_sum = eqn.primitive.name in ("add", "add_any", "sub")
            if tap and is_sum and len(moving) == 1 and uses[moving[0]] == 1:
                tap.eqns.append(eqn)
            else:
                tap = Tap([eqn], moving)
                taps.append(tap)
            if len(eqn.outvars) == 1:
                ending_at[eqn.outvars[0]] = tap
        outs = dict.fromkeys(filter(is_variable, self.jaxpr.outvars))
        return taps + [Tap([], [], [v]) for v in outs if v in still and is_float(v)]

    def zeros(self) -> list[list[Array]]:
        """What the taps are where nothing is added."""
        return [[zeros_of_type(v.aval) for v in tap.outs] for tap in self.taps]

    def run(self, args: list, taps: list[list[Array]]) -> tuple[list, list[list]]:
        """One step: its outputs, and of every tap the moving inputs."""
        env = self.constants | dict(zip(self.jaxpr.invars, args, strict=True))
        ends = {id(t.eqns[-1]): at for at, t in enumerate(self.taps) if t.eqns}
        starts = {id(tap.eqns[0]) for tap in self.taps if tap.eqns}
        for eqn in self.jaxpr.eqns:
            inputs = [value(env, v) for v in eqn.invars]
            turned = _turned(eqn, self.moving) if id(eqn) in starts else None
            if turned is not None:
                env[eqn.outvars[0]] = _product(eqn, turned, inputs)
            else:
                env.update(zip(eqn.outvars, bind(eqn, inputs), strict=True))
            if id(eqn) in ends:
                at = ends[id(eqn)]
                _tap(env, self.taps[at], taps[at])
        for tap, values in zip(self.taps, taps, strict=True):
            if tap.still:
                _tap(env, tap, values)
        outputs = [value(env, v) for v in self.jaxpr.outvars]
        return outputs, [[env[v] for v in tap.moving] for tap in self.taps]

    def tapped_at_once(
        self, w: list, xs: list, moving: list[list], length: int
    ) -> list[list]:
        """The tapped values of all steps, as functions of ``w`` and ``xs``.

        Args:
          w: leaves.
          xs: leaves ``[T, ...]``.
          moving: of every tap the moving inputs of all steps.
          length: ``T``.
        """
        env = self.constants | dict(zip([*self.w, *self.xs], [*w, *xs], strict=True))
        for eqn in self._leading_to_taps():
            env.update(zip(eqn.outvars, self._at_once(eqn, env), strict=True))
        outs = []
        for tap, values in zip(self.taps, moving, strict=True):
            # The moving values as they were met, also where another tap forms them.
            at = env | dict(zip(tap.moving, values, strict=True))
            for eqn in tap.eqns:
                at.update(zip(eqn.outvars, self._at_once(eqn, at), strict=True))
            outs.append([self._with_time(v, at[v], length) for v in tap.outs])
        return outs

    def _with_time(self, variable, value, length) -> Array:
        """A value with an axis of time."""
        if variable in self.in_time:
            return value
        return jnp.broadcast_to(value, (length, *value.shape))

    def _leading_to_taps(self) -> list:
        """The still equations that a tap needs, in order."""
        read = [v for tap in self.taps for eqn in tap.eqns for v in eqn.invars]
        read += [v for tap in self.taps for v in tap.still]
        needed = set(filter(is_variable, read))
        leading = []
        for eqn in reversed(self.jaxpr.eqns):
            if needed.intersection(eqn.outvars) and eqn.outvars[0] not in self.moving:
                needed.update(filter(is_variable, eqn.invars))
                leading.append(eqn)
        return leading[::-1]

    def _at_once(self, eqn, env) -> list:
        """An equation for all steps, where it differs from step to step."""
        inputs = [value(env, v) for v in eqn.invars]
        axes = [0 if is_variable(v) and v in self.in_time else None for v in eqn.invars]
        if not any(axis == 0 for axis in axes):
            return bind(eqn, inputs)
        if _is_of_rows(eqn, axes):
            return [_at_once_of_rows(eqn, *inputs)]
        return jax.vmap(lambda *inputs: bind(eqn, inputs), axes)(*inputs)


def _is_of_rows(eqn, axes) -> bool:
    """Whether this is ``a @ W`` with the same matrix at every step."""
    if eqn.primitive.name != "dot_general" or axes != [0, None]:
        return False
    ndim, w_ndim = (len(v.aval.shape) for v in eqn.invars)
    contracted, batch = eqn.params["dimension_numbers"]
    is_matrix = w_ndim == 2 and len(contracted[1]) == 1 and not batch[1]
    # Across devices the rows of all steps would have to move.
    return is_matrix and contracted[0] == (ndim - 1,) and one_device()


def _at_once_of_rows(eqn, a: Array, w: Array) -> Array:
    """``a @ W`` as one product of two matrices.

    The transpose of a product with more axes copies an operand into another order.
    """
    _, of_w = eqn.params["dimension_numbers"][0]
    params = eqn.params | {"dimension_numbers": (((1,), of_w), ((), ()))}
    out = lax.dot_general_p.bind(a.reshape(-1, a.shape[-1]), w, **params)
    return out.reshape(*a.shape[:-1], -1)


def _turned(eqn, moving: set) -> int | None:
    """Which operand of a product is a still matrix that the transpose reads badly.

    ``dz W^T`` in a loop is twice as fast where ``W^T`` was laid out before it.
    """
    if eqn.primitive.name != "dot_general":
        return None
    contracted, batch = eqn.params["dimension_numbers"]
    for at, v in enumerate(eqn.invars):
        still = is_variable(v) and v not in moving and len(v.aval.shape) == 2
        if still and not batch[0] and contracted[at] == (at ^ 1,):
            return at
    return None


def _product(eqn, turned: int, inputs: list) -> Array:
    """The product ``eqn``; its derivative takes the still matrix transposed."""
    contracted, batch = eqn.params["dimension_numbers"]
    contracted = list(contracted)
    contracted[turned] = (1 - contracted[turned][0],)
    params = eqn.params | {"dimension_numbers": (tuple(contracted), batch)}

    @jax.custom_jvp
    def product(a, b, transposed):
        del transposed
        return bind(eqn, [a, b])[0]

    @partial(product.defjvp, symbolic_zeros=True)
    def rule(primals, tangents):
        *operands, transposed = primals
        terms = []
        for at, d in enumerate(tangents[:2]):
            if isinstance(d, SymbolicZero):
                continue
            given = list(operands)
            given[at] = d
            if at == turned:
                terms += bind(eqn, given)
            else:
                given[turned] = transposed
                terms.append(lax.dot_general_p.bind(*given, **params))
        return bind(eqn, operands)[0], sum(terms[1:], terms[0])

    return product(*inputs, inputs[turned].T)


def _tap(env: dict, tap: Tap, added: list) -> None:
    tapped = _tapped([env[v] for v in tap.outs], added)
    env.update(zip(tap.outs, tapped, strict=True))


@jax.custom_jvp
def _tapped(values: list, taps: list) -> list:
    """``values``; their tangents are the sums of both."""
    del taps
    return values


@_tapped.defjvp
def _tapped_jvp(primals, tangents):
    values, _ = primals
    return values, list(map(jnp.add, *tangents))


def reached(jaxpr: Any, given: list) -> set:
    """The variables of a jaxpr that depend on those of ``given``, and these."""
    marked = set(given)
    for eqn in jaxpr.eqns:
        if marked.intersection(filter(is_variable, eqn.invars)):
            marked.update(eqn.outvars)
    return marked


def depends(jaxpr: Any, given: list[bool]) -> list[bool]:
    """Which outputs of a jaxpr depend on those inputs for which ``given`` is true."""
    marked = {v for v, g in zip(jaxpr.invars, given, strict=True) if g}
    for eqn in jaxpr.eqns:
        inputs = [is_variable(v) and v in marked for v in eqn.invars]
        outputs = [any(inputs)] * len(eqn.outvars)
        if eqn.primitive.name in CALLS and any(inputs):
            outputs = depends(eqn.params["jaxpr"].jaxpr, inputs)
        marked.update(v for v, o in zip(eqn.outvars, outputs, strict=True) if o)
    return [is_variable(v) and v in marked for v in jaxpr.outvars]


def is_float(a: Any) -> bool:
    """Whether a variable of a jaxpr, or a value, has a tangent."""
    dtype = a.aval.dtype if hasattr(a, "aval") else jnp.result_type(a)
    return jnp.issubdtype(dtype, jnp.inexact)


def value(env: dict, variable: Any) -> Any:
    """The value of a variable, or of a literal."""
    return env[variable] if is_variable(variable) else variable.val
