"""What all metrics on a device share: sums that add up in every way, exactly."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rnnjax import metrics
from rnnjax.metrics import _sums

K = 4
LABELS = metrics.collect(
    {
        "accuracy": metrics.accuracy(),
        "matrix": metrics.confusion_matrix(K),
        "precision": metrics.precision(K, average=None),
        "recall": metrics.recall(K, "weighted"),
        "f1": metrics.f1(K, "macro", zero_division=1.0),
    }
)
LANGUAGE = metrics.collect(
    {"perplexity": metrics.perplexity(), "bits": metrics.bits_per_character()}
)
FORECASTS = metrics.collect(
    {
        "mae": metrics.mae(),
        "rmse": metrics.rmse(),
        "mape": metrics.mape(),
        "mase": metrics.mase(np.asarray([0.5, 2.0])),
    }
)


def batches(name, n=8):
    """``n`` batches ``(predictions, targets, mask)`` stacked along a leading axis."""
    rng = np.random.default_rng(0)
    mask = rng.random((n, 3, 2)) < 0.7
    labels = rng.integers(0, K, (2, n, 3, 2))
    if name == "labels":
        return (*labels, mask)
    if name == "language":
        return rng.normal(size=(n, 3, 2, K)).astype(np.float32), labels[0], mask
    forecasts = rng.normal(size=(2, n, 3, 2)).astype(np.float32)
    return (*forecasts, mask)


METRICS = {"labels": LABELS, "language": LANGUAGE, "forecasts": FORECASTS}
every = pytest.mark.parametrize("name", METRICS)


@functools.cache
def at_once(name):
    """The values of all batches, from one call."""
    metric = METRICS[name]
    flat = [np.concatenate(list(leaf)) for leaf in batches(name)]
    return metric.compute(metric.update(metric.init(), *flat))


def scanned(metric, state, stacked):
    def step(state, batch):
        return metric.update(state, *batch), None

    return jax.lax.scan(step, state, stacked)[0]


@every
def test_batches_add_up_in_a_scan_and_stacked(name):
    metric, stacked = METRICS[name], batches(name)

    @jax.jit
    def both():
        state = scanned(metric, metric.init(), stacked)
        states = jax.vmap(lambda *batch: metric.update(metric.init(), *batch))(*stacked)
        summed = jax.tree.map(lambda leaf: leaf.sum(0), states)
        first, *others = [jax.tree.map(lambda s, k=k: s[k], states) for k in range(8)]
        merged = functools.reduce(metric.merge, others, first)
        return [metric.compute(s) for s in (state, summed, merged)]

    for values in both():
        chex.assert_trees_all_close(values, at_once(name), rtol=1e-6)


@every
def test_psum_merges_across_devices(name):
    metric, stacked = METRICS[name], batches(name)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))

    @jax.jit
    @functools.partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=PartitionSpec("data"),
        out_specs=PartitionSpec(),
    )
    def values(*stacked):
        start = jax.lax.pcast(metric.init(), "data", to="varying")
        state = scanned(metric, start, stacked)
        return metric.compute(jax.lax.psum(state, "data"))

    chex.assert_trees_all_close(values(*stacked), at_once(name), rtol=1e-6)


@every
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
def test_sharded_batches(name, kind):
    metric = METRICS[name]
    mesh = jax.make_mesh((4,), ("data",), axis_types=(kind,))
    flat = [np.concatenate(list(leaf)) for leaf in batches(name)]
    with jax.set_mesh(mesh):
        sharding = NamedSharding(mesh, PartitionSpec("data"))
        state = jax.jit(metric.update)(metric.init(), *jax.device_put(flat, sharding))
        values = jax.jit(metric.compute)(state)
    chex.assert_trees_all_close(jax.device_get(values), at_once(name), rtol=1e-6)


@every
def test_nothing_in_padding_counts(name):
    metric, (predictions, targets, mask) = METRICS[name], batches(name)
    poison = -100 if name == "labels" else np.nan
    where = mask[..., None] if name == "language" else mask
    predictions = np.where(where, predictions, poison)
    targets = np.where(mask, targets, np.nan if name == "forecasts" else -100)
    flat = [np.concatenate(list(leaf)) for leaf in (predictions, targets, mask)]
    values = metric.compute(metric.update(metric.init(), *flat))
    chex.assert_trees_all_equal(values, at_once(name))
    state = metric.update(metric.init(), *flat[:2], np.zeros_like(flat[2]))
    chex.assert_trees_all_equal(state, metric.init())


def test_counts_neither_stall_nor_wrap():
    number = _sums.count()
    add = jax.jit(_sums.add)
    for _ in range(5):
        number = add(number, jnp.int32(2**31 - 1))
    number = add(number, jnp.int32(1))
    assert int(number.high) * 2**16 + int(number.low) == 5 * (2**31 - 1) + 1
    assert float(_sums.to_float(number)) == pytest.approx(5 * (2**31 - 1) + 1)
    assert int(_sums.to_integer(number)) == 2**31 - 1
    largest = add(_sums.count(), jnp.int32(2**31 - 1))
    assert int(_sums.to_integer(largest)) == 2**31 - 1
    small = add(_sums.count(), jnp.int32(2**24))
    small = add(small, jnp.int32(1))  # a float32 stalls here
    assert int(_sums.to_integer(small)) == 2**24 + 1
    # As psum leaves them: no limb normalised.
    raw = jax.tree.map(
        lambda limb: limb * 32_767, add(_sums.count(), jnp.int32(65_535))
    )
    assert int(_sums.to_integer(raw)) == 32_767 * 65_535
    assert int(_sums.to_integer(add(raw, jnp.int32(1)))) == 32_767 * 65_535 + 1


@jax.jit
def add_ones(number):
    step = lambda number, one: (_sums.add(number, one), None)  # noqa: E731
    return jax.lax.scan(step, number, jnp.ones(1000))[0]


def test_sums_carry_their_rounding_errors_along():
    number = add_ones(_sums.add(_sums.sum_of_floats(), jnp.float32(2**24)))
    assert float(number.total) == 2**24  # as a plain sum would
    assert float(_sums.to_float(number)) == 2**24 + 1000
    both = jax.jit(_sums.merge)(number, number)
    assert float(_sums.to_float(both)) == 2 * (2**24 + 1000)
    infinite = _sums.add(_sums.add(number, jnp.float32(jnp.inf)), jnp.float32(1))
    assert float(_sums.to_float(infinite)) == np.inf


@pytest.mark.usefixtures("x64")
def test_float64():
    metric = metrics.mae()
    state = metric.update(metric.init(), np.asarray([1e-9]), np.asarray([1.0]))
    assert float(metric.compute(state)) == 1 - 1e-9
    matrix = metrics.confusion_matrix(2)
    state = jax.jit(matrix.update)(matrix.init(), np.asarray([1]), np.asarray([0]))
    chex.assert_trees_all_equal_dtypes(state, matrix.init())
    assert matrix.compute(state).dtype == np.int64


def test_all_is_there_and_sorted():
    assert metrics.__all__ == sorted(metrics.__all__)
    assert all(callable(getattr(metrics, name)) for name in metrics.__all__)
