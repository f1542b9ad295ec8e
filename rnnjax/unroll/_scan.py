"""`scan`: the drop-in for `jax.lax.scan` that defers weight gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax._compat import jaxpr_as_fun
from rnnjax.base import Carry, PyTree
from rnnjax.unroll._deferred import deferred_scan


def scan(
    f: Callable[[Carry, PyTree], tuple[Carry, PyTree]],
    init: Carry,
    xs: PyTree = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Carry, PyTree]:
    """`jax.lax.scan`, with the gradients of what ``f`` closes over deferred.

    Signature, results and errors are those of `jax.lax.scan`. The arrays that ``f``
    closes over (the weights of a Flax, Haiku or Equinox cell, say) get their gradient
    in products over all steps, outside the backward loop, where `jax.lax.scan` adds
    one product a step to an accumulator.

    ``f`` is traced more often than by `jax.lax.scan`, and under differentiation
    callbacks inside it (`jax.debug.print`) may fire more often.

    Args:
      f: one step, ``(carry, x) -> (carry, y)``.
      init: the first carry.
      xs: leaves ``[T, ...]``, or None with ``length``.
      length: ``T``, where ``xs`` has no leaf.
      reverse: from the last step to the first.
      unroll: as in `jax.lax.scan`; any value but 1 leaves the gradient to it as well.

    Returns:
      The last carry, and the outputs stacked along a new first axis.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> w = jnp.eye(2) / 2
      >>> step = lambda h, x: (jnp.tanh(h @ w + x),) * 2
      >>> h, hs = rnnjax.scan(step, jnp.zeros(2), jnp.ones((3, 2)))
      >>> hs.shape
      (3, 2)
    """
    plain = partial(
        lax.scan, f, length=length, reverse=reverse, unroll=unroll
    )  # raises what it raises
    out_carry, _ = jax.eval_shape(plain, init, xs)
    leaves = jax.tree.leaves(xs)
    length = leaves[0].shape[0] if leaves else length
    if unroll != 1 or length is None:
        return plain(init, xs)
    # lax.scan promotes a weakly typed first carry, such as 0.0, to the carry of f.
    init = jax.tree.map(lambda a, t: jnp.asarray(a, t.dtype), init, out_carry)
    return scan_closure(f, init, xs, length, reverse=reverse)


def scan_closure(
    f: Callable[[Carry, PyTree], tuple[Carry, PyTree]],
    init: Carry,
    xs: PyTree,
    length: int,
    *,
    reverse: bool = False,
    remat: bool = False,
) -> tuple[Carry, PyTree]:
    """`deferred_scan` of a step that closes over its weights.

    The step is traced once, and everything it closes over is made an argument. Not
    `jax.closure_convert`: that takes only some of the constants.
    """
    if length == 0:
        return lax.scan(f, init, xs, length, reverse)
    x0 = jax.tree.map(lambda a: a[0], xs)
    jaxpr, shapes = jax.make_jaxpr(f, return_shape=True)(init, x0)
    structure = jax.tree.structure(shapes)

    def step(consts, carry, x):
        outputs = jaxpr_as_fun(type(jaxpr)(jaxpr.jaxpr, consts))(
            *jax.tree.leaves((carry, x))
        )
        return structure.unflatten(outputs)

    return deferred_scan(
        step, jaxpr.consts, init, xs, length=length, reverse=reverse, remat=remat
    )
