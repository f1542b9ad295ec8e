"""The linear map of one step with its multiplications gathered.

`jax.linearize` leaves chains, ``((dz * s) * (1 - s)) * c``, and a loop that runs them
reads every factor. Here they become sums of ``coefficient * value``: the coefficients
are known before the loop and leave it with as little to read and to do as there is.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax._compat import bind, is_variable
from rnnjax.base import Array
from rnnjax.unroll._cut import value


def gathered(linear: Callable, *tangents: Any) -> tuple[list[Array], Callable]:
    """Coefficients, and ``apply(coefficients, *tangents)`` in place of ``linear``.

    Args:
      linear: a linear map, as `jax.linearize` returns it.
      tangents: arrays of the types that it takes.
    """
    jaxpr, out = jax.make_jaxpr(linear, return_shape=True)(*tangents)
    structure = jax.tree.structure(out)
    invars, outvars = jaxpr.jaxpr.invars, jaxpr.jaxpr.outvars
    gather = _Gather(jaxpr.jaxpr, jaxpr.consts)
    steps = gather.steps  # `apply` holds on to these, not to the values

    def apply(coefficients, *tangents):
        env = dict(zip(invars, jax.tree.leaves(tangents), strict=True))
        for step in steps:
            step(env, coefficients)
        return structure.unflatten([value(env, v) for v in outvars])

    return gather.coefficients, apply


class _Gather:
    """Walks a linear jaxpr once, and writes down what is left to do in each step."""

    def __init__(self, jaxpr, consts):
        self.coefficients: list = []
        self.steps: list[Callable] = []
        self.known = dict(zip(jaxpr.constvars, consts, strict=True))
        # Every linear variable as a sum: formed values, and their factors.
        self.sums: dict = {v: {v: 1} for v in jaxpr.invars}
        read = [v for eqn in jaxpr.eqns for v in eqn.invars]
        uses = Counter(filter(is_variable, read))
        for eqn in jaxpr.eqns:
            self._add(eqn)
            for v in eqn.outvars:
                if len(self.sums.get(v, ())) > 1 and uses[v] > 1:
                    self._form(v)
        for v in jaxpr.outvars:
            self._form(v)

    def _add(self, eqn):
        name, (out, *_) = eqn.primitive.name, eqn.outvars
        linear = [is_variable(v) and v in self.sums for v in eqn.invars]
        if not any(linear):
            inputs = [value(self.known, v) for v in eqn.invars]
            self.known.update(zip(eqn.outvars, bind(eqn, inputs), strict=True))
        elif name == "mul" and self._is_scaling(eqn, linear):
            v, factor = eqn.invars if linear[0] else eqn.invars[::-1]
            if all(map(_is_one, self.sums[v].values())):
                self._form(v)  # one coefficient for the whole sum
            factor, scaled = value(self.known, factor), {}
            for c in self.sums[v].values():  # equal ones stay one array
                if id(c) not in scaled:
                    scaled[id(c)] = factor if _is_one(c) else c * factor
            self.sums[out] = {b: scaled[id(c)] for b, c in self.sums[v].items()}
        elif name == "neg":
            self.sums[out] = {b: -c for b, c in self.sums[eqn.invars[0]].items()}
        elif name in ("add", "add_any", "sub") and all(linear):
            sign = -1 if name == "sub" else 1
            self.sums[out] = total = dict(self.sums[eqn.invars[0]])
            for b, c in self.sums[eqn.invars[1]].items():
                c = c if sign == 1 else -c
                total[b] = total[b] + c if b in total else c
        else:
            self._keep(eqn, linear)

    def _is_scaling(self, eqn, linear) -> bool:
        factor = value(self.known, eqn.invars[linear.index(False)])
        return jnp.shape(factor) in ((), eqn.outvars[0].aval.shape)

    def _keep(self, eqn, linear):
        """An equation that is no sum, of values that are formed before it."""
        known = {}
        for v, is_linear in zip(eqn.invars, linear, strict=True):
            if is_linear:
                self._form(v)
            elif is_variable(v):
                known[v] = self._coefficient(self.known[v])

        def step(env, coefficients):
            given = env | {v: coefficients[i] for v, i in known.items()}
            outputs = bind(eqn, [value(given, v) for v in eqn.invars])
            env.update(zip(eqn.outvars, outputs, strict=True))

        self.steps.append(step)
        self.sums.update((v, {v: 1}) for v in eqn.outvars)

    def _form(self, v):
        """Forms the value of ``v``, from here on a variable of its own."""
        if not is_variable(v) or self.sums.get(v) == {v: 1}:
            return
        if v in self.known:  # zero, whatever goes in
            zero = self._coefficient(self.known[v])
            self.steps.append(lambda env, given: env.update({v: given[zero]}))
            return
        numbers, places = {}, {}
        for b, c in self.sums[v].items():
            if isinstance(c, int):
                numbers[b] = c
            else:
                places[b] = self._coefficient(c)

        def step(env, coefficients):
            terms = [env[b] if c == 1 else c * env[b] for b, c in numbers.items()]
            terms += [coefficients[i] * env[b] for b, i in places.items()]
            env[v] = functools.reduce(jnp.add, terms)

        self.steps.append(step)
        self.sums[v] = {v: 1}

    def _coefficient(self, known) -> int:
        self.coefficients.append(known)
        return len(self.coefficients) - 1


def _is_one(coefficient: Any) -> bool:
    return isinstance(coefficient, int) and coefficient == 1
