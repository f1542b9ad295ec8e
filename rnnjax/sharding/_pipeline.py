"""Pipeline: the layers of a stack on different devices, the sequence in chunks."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from rnnjax._checks import as_arrays, batch_shape_of, check_flags, positive
from rnnjax._compat import varying
from rnnjax.base import RNN, Carry, Explanation, Params, PyTree, StepKeys
from rnnjax.sharding._inputs import given_carry, placed, rows_of, sequence_inputs
from rnnjax.sharding._mesh import axis_size, check_divides


def pipeline(
    layer: RNN,
    num_layers: int,
    *,
    mesh: Mesh,
    axis: str = "stage",
    data: str | None = None,
    num_chunks: int = 8,
) -> RNN:
    """A stack of equal layers, whose stages work on different devices at once.

    Device ``d`` of ``n`` has the ``L / n`` layers from ``d L / n`` on. The sequence is
    cut in ``K`` chunks of time. At tick ``k`` device ``d`` runs chunk ``k - d`` from
    the carry that it was left with, and hands its outputs to device ``d + 1``: after
    ``K + n - 1`` ticks all is done, of which ``n - 1`` a device waits.

    Args:
      layer: with as many outputs as inputs, such as
        ``rnnjax.residual(rnnjax.lstm(F))``.
      num_layers: ``L``, a multiple of the size of the mesh axis.
      mesh: of `mesh`.
      axis: the mesh axis that the layers are split over.
      data: the mesh axis that the first batch axis is split over; None for none.
      num_chunks: ``K``, which divides ``T``. More chunks wait less and make each
        product over time smaller.

    Returns:
      An `RNN` that computes what ``rnnjax.stack(*[layer] * L)`` does. The parameters
      are those of a layer with ``[L]`` in front of every leaf (`stack_layers` and
      `unstack_layers` convert), which ``shard(params, mesh, P("stage"))`` splits; the
      leaves of the carry are ``[*batch, L, ...]``. One collective-permute a tick each
      way, and one all-reduce of the outputs.

    Raises:
      TypeError: not an `RNN`.
      ValueError: a mesh axis that is missing or does not divide ``L`` or the batch; a
        layer whose outputs are not like its inputs; ``K`` does not divide ``T``.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import sharding
      >>> mesh = sharding.mesh("stage=1")
      >>> rnn = sharding.pipeline(rnnjax.gru(4), 2, mesh=mesh, num_chunks=3)
      >>> params = rnn.init(jax.random.key(0), jnp.ones(4))
      >>> carry, ys = rnn.unroll(params, None, jnp.ones((12, 2, 4)))
      >>> carry.shape, ys.shape
      ((2, 2, 4), (12, 2, 4))

    Reference: Huang et al., "GPipe: Efficient Training of Giant Neural Networks Using
    Pipeline Parallelism", NeurIPS 2019 (there with pieces of the batch).
    """
    if not isinstance(layer, RNN):
        raise TypeError(
            f"layer: expected a layer (rnnjax.RNN), got {type(layer).__name__}. "
            f"rnnjax.layer(cell) makes a layer of a cell."
        )
    num_layers = positive("num_layers", num_layers)
    num_chunks = positive("num_chunks", num_chunks)
    mend = "Take a number of layers that it divides."
    check_divides("num_layers", num_layers, mesh, axis, mend)
    axis_size("data", mesh, data)
    stages = mesh.shape[axis]
    split = (axis,) if data is None else (data, axis)

    def init(key, x):
        _check_like(layer, x)
        keys = jax.random.split(key, num_layers)
        return stack_layers({str(i): layer.init(k, x) for i, k in enumerate(keys)})

    def initial_carry(params, batch_shape=()):
        carry = jax.vmap(lambda p: layer.initial_carry(p, batch_shape))(params)
        return _moved(carry, 0, len(batch_shape))

    def step(params, carry, x, *, reset=None, key=None):
        x = as_arrays("x", x)
        batch = batch_shape_of("x", x, layer.event_ndim, time=False)
        reset = check_flags("reset", reset, batch)
        carry = given_carry(carry, initial_carry(params, batch))

        def one(x, given):
            i, p, c = given
            layer_key = None if key is None else key.fold_in(i)
            c, y = layer.step(p, c, x, reset=reset, key=layer_key)
            return y, c

        given = jnp.arange(num_layers), params, _moved(carry, len(batch), 0)
        y, carry = lax.scan(one, x, given)
        return _moved(carry, 0, len(batch)), y

    def unroll(params, carry, xs, *, reverse=False, **options):
        def first(batch):
            return initial_carry(params, batch)

        got = sequence_inputs(first, layer.event_ndim, carry, xs, **options)
        if got.length % num_chunks:
            raise ValueError(
                f"xs: expected a number of steps that num_chunks={num_chunks} divides, "
                f"got {got.length}. Pad xs in time and give lengths, or change "
                f"num_chunks."
            )
        _check_like(layer, jax.tree.map(lambda leaf: leaf[0], got.xs))
        rows, ndim = rows_of(got.batch, mesh, data), len(got.batch)
        layers, steps = PartitionSpec(axis), PartitionSpec(None, *rows)
        states = PartitionSpec(*rows, axis)
        inputs = got.xs, got.resets, got.mask
        if reverse:  # the same as time flipped; keys are in the order of processing
            inputs = _flipped(inputs)
        args = params, got.carry, inputs, got.keys
        specs = layers, states, steps, PartitionSpec()

        def on_device(params, carry, inputs, keys):
            params, carry, inputs = varying((params, carry, inputs), split)
            if keys is not None and data is not None:
                keys = keys.fold_in(lax.axis_index(data))
            carry = _moved(carry, ndim, 0)
            chunks = jax.tree.map(_in_chunks(num_chunks), inputs)
            run = _stage(layer, params, chunks, keys, lax.axis_index(axis))
            carry, ys = _run_ticks(run, carry, chunks[0], axis, num_chunks, stages)
            return _moved(carry, 0, ndim), ys

        mapped = jax.shard_map(
            on_device, mesh=mesh, in_specs=specs, out_specs=(states, steps)
        )
        carry, ys = mapped(*placed(args, mesh, specs))
        return carry, _flipped(ys) if reverse else ys

    def explain(params, xs):
        one = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape[1:], p.dtype), params)
        chunk = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                (len(leaf) // num_chunks, *leaf.shape[1:]), leaf.dtype
            ),
            xs,
        )
        why = (
            f"{num_layers // stages} of {num_layers} layers on each of {stages} "
            f"devices, {num_chunks} chunks of time in {num_chunks + stages - 1} ticks"
        )
        return Explanation(
            "pipeline",
            reasons=(why,),
            children=(layer.explain(one, chunk),),
            output=jax.eval_shape(unroll, params, None, xs)[1],
            parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        )

    return RNN(init, initial_carry, step, unroll, explain, layer.event_ndim)


def stack_layers(params: Params) -> Params:
    """The parameters of a `rnnjax.stack` of equal layers as those of a `pipeline`.

    Args:
      params: ``{"0": ..., "1": ...}``, equal trees.

    Returns:
      One tree with ``[L]`` in front of every leaf.

    Example:
      >>> import jax.numpy as jnp
      >>> from rnnjax import sharding
      >>> one = {"bias": jnp.ones(3)}
      >>> sharding.stack_layers({"0": one, "1": one})["bias"].shape
      (2, 3)
    """
    layers = [params[str(i)] for i in range(len(params))]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)


def unstack_layers(params: Params) -> Params:
    """Undoes `stack_layers`.

    Args:
      params: leaves ``[L, ...]``.

    Returns:
      ``{"0": ..., "1": ...}``.

    Example:
      >>> import jax.numpy as jnp
      >>> from rnnjax import sharding
      >>> sorted(sharding.unstack_layers({"bias": jnp.ones((2, 3))}))
      ['0', '1']
    """
    count = len(jax.tree.leaves(params)[0])
    return {str(i): jax.tree.map(lambda p, i=i: p[i], params) for i in range(count)}


def _stage(layer: RNN, params: Params, chunks: PyTree, keys: StepKeys | None, stage):
    """``(carry, x, chunk number) -> (carry, y)``: the layers of one device."""
    _, resets, mask = chunks
    size = len(jax.tree.leaves(chunks)[0][0])
    count = len(jax.tree.leaves(params)[0])

    def run(carry, x, number):
        def pick(flags):
            return None if flags is None else flags[number]

        def one(x, given):
            i, p, c = given
            own = None
            if keys is not None:
                step = lax.dynamic_slice_in_dim(keys.step, number * size, size)
                own = StepKeys(keys.sequence, step).fold_in(stage * count + i)
            options = {"resets": pick(resets), "mask": pick(mask), "key": own}
            c, ys = layer.unroll(p, c, x, **options)
            return ys, c

        y, carry = lax.scan(one, x, (jnp.arange(count), params, carry))
        return carry, y

    return run


def _run_ticks(run, carry: Carry, chunks: PyTree, axis: str, number: int, stages: int):
    """All chunks through all stages; the outputs of the last, in time."""
    stage = lax.axis_index(axis)
    neighbours = [(i, i + 1) for i in range(stages - 1)]

    def tick(state, k):
        carry, received = state
        mine = k - stage
        chunk = jnp.clip(mine, 0, number - 1)
        x = jax.tree.map(
            lambda own, got: jnp.where(stage == 0, own[chunk], got), chunks, received
        )
        new, ys = run(carry, x, chunk)
        valid = (mine >= 0) & (mine < number)
        carry = jax.tree.map(lambda a, b: jnp.where(valid, a, b), new, carry)
        sent = jax.tree.map(lambda y: lax.ppermute(y, axis, neighbours), ys)
        return (carry, sent), ys

    nothing = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), chunks)
    ticks = jnp.arange(number + stages - 1)
    (carry, _), ys = lax.scan(tick, (carry, nothing), ticks)

    def outputs(leaf):
        leaf = leaf[stages - 1 :]
        leaf = jnp.where(stage == stages - 1, leaf, jnp.zeros_like(leaf))
        steps = leaf.shape[0] * leaf.shape[1]
        return lax.psum(leaf, axis).reshape(steps, *leaf.shape[2:])

    return carry, jax.tree.map(outputs, ys)


def _in_chunks(number: int):
    return lambda leaf: leaf.reshape(number, len(leaf) // number, *leaf.shape[1:])


def _flipped(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.flip(leaf, 0), tree)


def _moved(tree: PyTree, source: int, target: int) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, source, target), tree)


def _check_like(layer: RNN, x: Any) -> None:
    """Raises unless the outputs of the layer can be the inputs of the next."""

    def output(x):
        key = jax.random.key(0)
        xs = jax.tree.map(lambda leaf: jnp.zeros((1, *leaf.shape), leaf.dtype), x)
        return layer.unroll(layer.init(key, x), None, xs)[1]

    def types(tree, skip):
        return jax.tree.map(lambda leaf: (leaf.shape[skip:], str(leaf.dtype)), tree)

    given, made = types(x, 0), types(jax.eval_shape(output, x), 1)
    if given != made:
        raise ValueError(
            f"layer: expected outputs like its inputs, {given}, for the next layer, "
            f"got {made}. Take as many hidden units as features; put layers that "
            f"change the size before or after the pipeline."
        )
