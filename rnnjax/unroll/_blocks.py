"""Running over a sequence a block of steps at a time."""

from __future__ import annotations

import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax._compat import like_type
from rnnjax.base import Carry, PyTree


def scan_blocks(
    run: Callable[[Carry, PyTree], tuple[Carry, PyTree]],
    carry: Carry,
    xs: PyTree,
    *,
    block: int,
    length: int,
    reverse: bool = False,
) -> tuple[Carry, PyTree]:
    """Applies ``run(carry, xs_of_a_block) -> (carry, ys)`` to consecutive blocks.

    Blocks are counted in the order of processing: with ``reverse`` the first block is
    the end of ``xs``. The last one is shorter where ``block`` does not divide
    ``length``. ``run`` itself takes care of the order inside a block.

    Args:
      run: handles one block.
      carry: the first carry.
      xs: leaves ``[T, ...]``.
      block: steps in a block.
      length: ``T``.
      reverse: from the last block to the first.

    Returns:
      The last carry and the outputs of all steps.
    """
    count, rest = divmod(length, block)
    if count <= 1 and not (count and rest):
        return run(carry, xs)
    start = rest if reverse else 0
    whole = jax.tree.map(lambda a: a[start : start + count * block], xs)
    left = jax.tree.map(lambda a: a[:start] if reverse else a[count * block :], xs)

    def split(a):
        return a.reshape(count, block, *a.shape[1:])

    def join(a):
        return a.reshape(count * block, *a.shape[2:])

    blocks = jax.tree.map(split, whole)
    carry = fixed_type(run, carry, blocks)
    carry, ys = lax.scan(run, carry, blocks, reverse=reverse)
    ys = jax.tree.map(join, ys)
    if not rest:
        return carry, ys
    carry, more = run(carry, left)
    parts = (more, ys) if reverse else (ys, more)
    return carry, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), *parts)


def fixed_type(
    step: Callable[[Carry, PyTree], tuple[Carry, PyTree]], carry: Carry, xs: PyTree
) -> Carry:
    """The carry in the type that ``step`` returns it: sharding and varying axes.

    Asked again until nothing changes: in a delay line a type moves one place a step.
    """
    x = jax.eval_shape(lambda xs: jax.tree.map(lambda a: a[0], xs), xs)
    for _ in jax.tree.leaves(carry):
        like, _ = jax.eval_shape(step, carry, x)
        given = jax.tree.leaves(carry)
        carry = jax.tree.map(like_type, carry, like)
        if all(map(operator.is_, given, jax.tree.leaves(carry))):
            break
    return carry
