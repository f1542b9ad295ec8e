"""Every cell and combinator: one row each. The properties beside it run over all rows.

A new cell is one row. `make(schedule, dtype)` builds it with that schedule and with
parameters of that dtype, hidden size `H`; everything else has a default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import RNN, Schedule, attention
from tests.conformance import cells

T, B, F, H, TOKENS = 5, 4, 3, 4, 7


def features(generator, lead, dtype):
    return generator.normal(size=(*lead, F)).astype(dtype)


def tokens(generator, lead, dtype):
    return generator.integers(0, TOKENS, lead, dtype=np.int32)


def features_and_deltas(generator, lead, dtype):
    deltas = generator.uniform(0.1, 2.0, lead).astype(dtype)
    return features(generator, lead, dtype), deltas


@dataclass(frozen=True)
class Row:
    """One layer, and what to know about it.

    Attributes:
      name: of the row.
      make: ``(schedule, dtype) -> RNN``.
      inputs: ``(generator, lead, dtype) -> xs``, with leading axes ``lead``.
      event_ndim: rank of one example.
      has_key: what it gives depends on ``key``.
      can_step: it streams; False for layers that see the whole sequence.
      smooth: has derivatives everywhere (relu has not: no numerical differences).
      batch_coupled: a row of the batch depends on the others.
      schedules: has a recurrence, so that the schedule matters.
      oracle: what to compare with in place of the loop over ``step``; takes what
        `loop` takes.
    """

    name: str
    make: Callable[[Schedule, Any], RNN]
    inputs: Callable[..., Any] = features
    event_ndim: int = 1
    has_key: bool = False
    can_step: bool = True
    smooth: bool = True
    batch_coupled: bool = False
    schedules: bool = True
    zeros: bool = True
    cut: int | None = None
    variant: bool = False
    halves: tuple[Callable, Callable, Callable] | None = None


def alias(name, **options):
    """A row's `make` for ``rnnjax.NAME(H, **options)``."""

    def make(schedule, dtype):
        layer = getattr(rnnjax, name)
        return layer(H, schedule=schedule, param_dtype=dtype, **options)

    return make


def linear(name, backend):
    """A row's `make` for a cell that is linear in its carry, run by that backend.

    Where the schedule asks for autodiff or for every step again, by the loop of steps.
    """

    def make(schedule, dtype):
        if schedule.gradient != "autodiff" and schedule.remat != "step":
            schedule = dataclasses.replace(schedule, backend=backend)
        return alias(name)(schedule, dtype)

    return make


def written(cell):
    """A row's `make` for a cell of `tests.conformance.cells`."""
    return lambda schedule, dtype: rnnjax.layer(cell(H, dtype), schedule)


def stateless(name, *args, **options):
    """A row's `make` for a layer without a recurrence."""
    return lambda schedule, dtype: getattr(rnnjax, name)(*args, **options)


def around(wrap, inner):
    """A row's `make` for a wrapper of another row's layer."""
    return lambda schedule, dtype: wrap(inner(schedule, dtype))


def units_and_ends(generator, lead, dtype):
    return features(generator, lead, dtype), generator.random(lead) < 0.5


def zoned_out(schedule, dtype):
    cell = rnnjax.cells.lstm(H, param_dtype=dtype)
    rates = rnnjax.cells.LSTMCarry(0.2, 0.5)
    return rnnjax.layer(rnnjax.zoneout(cell, rates), schedule)


def with_dropout(inner):
    return lambda schedule, dtype: rnnjax.stack(
        rnnjax.dropout(0.3), inner(schedule, dtype)
    )


def batch_major(schedule, dtype):
    """`batch_major` turned time-major again, so that the properties can run it."""
    rnn = rnnjax.batch_major(rnnjax.gru(H, schedule=schedule, param_dtype=dtype))

    def unroll(params, carry, xs, *, resets=None, mask=None, **options):
        def turn(leaf, start, to):
            return None if leaf is None else jnp.moveaxis(leaf, start, to)

        axis = xs.ndim - 2  # of time, after the batch
        flags = {"resets": turn(resets, 0, axis), "mask": turn(mask, 0, axis)}
        carry, ys = rnn.unroll(params, carry, turn(xs, 0, axis), **flags, **options)
        return carry, turn(ys, axis, 0)

    return rnn._replace(unroll=unroll)


def bidirectional(name, merge, forward, backward, merged, **options):
    """A row of `rnnjax.bidirectional`."""

    def make(schedule, dtype):
        halves = forward(schedule, dtype), backward(schedule, dtype)
        return rnnjax.bidirectional(*halves, merge=merge)

    options = {"can_step": False, "halves": (forward, backward, merged), **options}
    return Row(name, make, **options)


def hierarchical(schedule, dtype):
    options = {"schedule": schedule, "param_dtype": dtype}
    return rnnjax.hierarchical(rnnjax.gru(H, **options), rnnjax.simple(H, **options))


def language_model(schedule, dtype):
    options = {"schedule": schedule, "param_dtype": dtype}
    return rnnjax.stack(
        rnnjax.embed(TOKENS, F, param_dtype=dtype),
        rnnjax.dropout(0.3),
        rnnjax.lstm(H, **options),
        rnnjax.dropout(0.3, variational=True),
        rnnjax.simple(H, **options),
        rnnjax.dense(2, param_dtype=dtype),
    )


def attentive(inner, read, **options):
    """A row's `make` for an attentive layer around ``inner(dtype)``.

    Its memory is a parameter of the row, the same for every example: five positions,
    of which the last is padding.
    """

    def make(schedule, dtype):
        cell = attention.attentive(
            inner(dtype), read(dtype), 2, param_dtype=dtype, **options
        )
        rnn = rnnjax.layer(cell._replace(init=init(cell)), schedule)

        def bound(params, batch):
            memory = jnp.broadcast_to(
                params["memory"].reshape(5, *(1,) * len(batch), 2), (5, *batch, 2)
            )
            mask = jnp.broadcast_to(
                (jnp.arange(5) < 4).reshape(5, *(1,) * len(batch)), (5, *batch)
            )
            return attention.bind(params, memory, mask=mask)

        def step(params, carry, x, **options):
            return rnn.step(bound(params, x.shape[:-1]), carry, x, **options)

        def unroll(params, carry, xs, **options):
            return rnn.unroll(bound(params, xs.shape[1:-1]), carry, xs, **options)

        def explain(params, xs):
            shapes = jax.eval_shape(lambda p: bound(p, xs.shape[1:-1]), params)
            return rnn.explain(shapes, xs)

        def initial_carry(params, batch_shape=()):
            return rnn.initial_carry(bound(params, batch_shape), batch_shape)

        return RNN(rnn.init, initial_carry, step, unroll, explain)

    def init(cell):
        def with_memory(key, x):
            memory = jax.random.normal(jax.random.fold_in(key, 1), (5, 2), x.dtype)
            return {**cell.init(key, x), "memory": memory}

        return with_memory

    return make


ROWS = [
    Row("simple", alias("simple")),
    Row(
        "simple relu",
        alias("simple", activation=jax.nn.relu),
        smooth=False,
        variant=True,
    ),
    Row("simple layer_norm", alias("simple", layer_norm=True), variant=True),
    Row("lstm", alias("lstm")),
    Row("lstm layer_norm", alias("lstm", layer_norm=True)),
    Row("lstm without bias", alias("lstm", use_bias=False), variant=True),
    Row("gru", alias("gru")),
    Row("gru layer_norm", alias("gru", layer_norm=True), variant=True),
    Row("gru reset_after", alias("gru", reset_after=True)),
    Row(
        "gru reset_after layer_norm",
        alias("gru", reset_after=True, layer_norm=True),
        variant=True,
    ),
    Row("lru", linear("lru", "associative")),
    Row("rg_lru", linear("rg_lru", "chunked"), variant=True),
    Row("min_gru", linear("min_gru", "sequential")),
    Row("user: mgu", written(cells.mgu)),
    Row("user: x and dt", written(cells.decaying), features_and_deltas),
    Row("user: carry of every kind", written(cells.clocked)),
    Row("user: cond", written(cells.branching), smooth=False, batch_coupled=True),
    Row(
        "dense",
        lambda schedule, dtype: rnnjax.dense(2, jnp.tanh, param_dtype=dtype),
        schedules=False,
    ),
    Row(
        "embed",
        lambda schedule, dtype: rnnjax.embed(TOKENS, 2, param_dtype=dtype),
        tokens,
        event_ndim=0,
        schedules=False,
    ),
    Row("dropout", stateless("dropout", 0.4), has_key=True, schedules=False),
    Row(
        "dropout variational",
        stateless("dropout", 0.4, variational=True),
        has_key=True,
        variant=True,
        schedules=False,
    ),
    Row(
        "norm",
        lambda schedule, dtype: rnnjax.norm(param_dtype=dtype),
        schedules=False,
    ),
    Row("stack", language_model, tokens, event_ndim=0, has_key=True),
    bidirectional(
        "bidirectional concat",
        "concat",
        with_dropout(alias("simple")),
        with_dropout(alias("gru")),
        lambda f, b: jnp.concatenate([f, b], -1),
        has_key=True,
    ),
    bidirectional(
        "bidirectional sum",
        "sum",
        alias("simple"),
        alias("simple"),
        jnp.add,
        variant=True,
    ),
    bidirectional(
        "bidirectional mean",
        "mean",
        alias("simple"),
        alias("simple"),
        lambda f, b: (f + b) / 2,
        variant=True,
    ),
    bidirectional(
        "bidirectional none",
        "none",
        alias("simple"),
        alias("gru"),
        lambda f, b: (f, b),
        variant=True,
    ),
    Row(
        "residual",
        lambda schedule, dtype: rnnjax.residual(
            rnnjax.gru(F, schedule=schedule, param_dtype=dtype)
        ),
    ),
    Row(
        "variational_dropout",
        around(lambda r: rnnjax.variational_dropout(r, 0.3, 0.3), alias("lstm")),
        has_key=True,
    ),
    Row("zoneout", zoned_out, has_key=True),
    Row("batch_major", batch_major),
    Row(
        "with_carries",
        around(rnnjax.with_carries, with_dropout(alias("lstm"))),
        has_key=True,
        zeros=False,
    ),
    Row(
        "truncate",
        around(lambda r: rnnjax.truncate(r, 2), with_dropout(alias("simple"))),
        has_key=True,
        smooth=False,
        cut=2,
    ),
    Row("clockwork", alias("clockwork", periods=(1, 2))),
    Row("hierarchical", hierarchical, units_and_ends),
    Row(
        "attentive cell",
        attentive(
            lambda dtype: rnnjax.cells.gru(H, param_dtype=dtype),
            lambda dtype: attention.bahdanau(3, coverage=True, param_dtype=dtype),
        ),
    ),
    Row(
        "attentive layer",
        attentive(
            lambda dtype: rnnjax.stack(
                rnnjax.dropout(0.3), rnnjax.lstm(H, param_dtype=dtype)
            ),
            lambda dtype: attention.multi_head(2, 4, param_dtype=dtype),
            return_weights=True,
        ),
        has_key=True,
        variant=True,
    ),
]

BY_NAME = {row.name: row for row in ROWS}
# What runs where a property is dear: a cell of ours, one that is parallel in time, one
# of a user, a composition.
FEW = ["lstm", "lru", "user: mgu", "stack"]


def rows(few=False, main=False, where=lambda row: True):
    """Parametrises a test over the rows.

    Args:
      few: the rows of `FEW` always, the others under the marker `slow`.
      main: variants of other rows under the marker `slow`.
      where: which rows have the property.
    """

    def is_slow(row):
        return (few and row.name not in FEW) or (main and row.variant)

    return pytest.mark.parametrize(
        "row",
        [
            pytest.param(
                row,
                id=row.name.replace(" ", "-"),
                marks=[pytest.mark.slow] if is_slow(row) else [],
            )
            for row in ROWS
            if where(row)
        ],
    )
