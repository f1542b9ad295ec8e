"""`summary`: the layers of a network, their output shapes and parameters."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from rnnjax._checks import describe
from rnnjax.base import RNN, Explanation, PyTree


def summary(rnn: RNN, x: PyTree) -> str:
    """A table of layers, shapes and parameters; nothing is computed.

    Layers stand below and to the right of what they are part of, and the parameters of
    a part are among those of the whole.

    Args:
      rnn: a layer or a composition.
      x: one step ``[*batch, *event]``, as for ``init``: an array or a
        `jax.ShapeDtypeStruct`, or a tree of them.

    Returns:
      The table; ``print`` it. The outputs are those of one step.

    Raises:
      TypeError: ``rnn`` is no `RNN`.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> rnn = rnnjax.stack(rnnjax.embed(50, 8), rnnjax.lstm(16), rnnjax.dense(50))
      >>> print(rnnjax.summary(rnn, jnp.zeros(4, int)))
      layer    output         parameters
      -------  -------------  ----------
      stack    float32[4,50]       2,850
        embed  float32[4,8]          400
        lstm   float32[4,16]       1,600
        dense  float32[4,50]         850
      -------  -------------  ----------
      total    11.1 KiB            2,850
    """
    if not isinstance(rnn, RNN):
        raise TypeError(
            f"summary(rnn, x): expected a layer (rnnjax.RNN), got "
            f"{type(rnn).__name__}. rnnjax.layer(cell) makes a layer of a cell."
        )
    params = jax.eval_shape(rnn.init, jax.random.key(0), x)
    xs = jax.eval_shape(lambda x: jax.tree.map(lambda a: jnp.asarray(a)[None], x), x)
    explanation = rnn.explain(params, xs)
    leaves = jax.tree.leaves(params)
    count = sum(math.prod(leaf.shape) for leaf in leaves)
    size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
    rows = _rows(explanation, depth=0)
    total = ("total", _bytes(size), f"{count:,}")
    return _table(("layer", "output", "parameters"), rows, total)


def _rows(explanation: Explanation, depth: int) -> list[tuple[str, str, str]]:
    shapes = [
        describe(jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype))
        for leaf in jax.tree.leaves(explanation.output)
    ]
    known = explanation.parameters is not None
    row = (
        "  " * depth + explanation.name,
        ", ".join(shapes),
        f"{explanation.parameters:,}" if known else "",
    )
    below = [_rows(child, depth + 1) for child in explanation.children]
    return [row, *(row for rows in below for row in rows)]


def _table(head, rows, total) -> str:
    widths = [
        max(len(row[column]) for row in (head, *rows, total)) for column in range(3)
    ]
    rule = tuple("-" * width for width in widths)
    lines = []
    for row in (head, rule, *rows, rule, total):
        name, output, parameters = row
        line = f"{name:<{widths[0]}}  {output:<{widths[1]}}  {parameters:>{widths[2]}}"
        lines.append(line)
    return "\n".join(lines)


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} GiB"
