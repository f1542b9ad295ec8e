"""Under JAX's strict promotion of types, which users may turn on, nothing raises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import decoding, metrics


@pytest.fixture(autouse=True)
def _strict():
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.mark.parametrize("average", ["micro", "macro", "weighted", None])
def test_metrics_of_labels(average):
    predictions, targets = jnp.array([0, 1, 1, 2]), jnp.array([0, 1, 2, 2])
    mask = jnp.array([True, True, True, False])
    for metric in (metrics.precision(3, average), metrics.f1(3, average)):
        state = metric.update(metric.init(), predictions, targets, mask)
        assert np.isfinite(metric.compute(metric.merge(state, state))).all()


def test_decoding():
    rnn = rnnjax.stack(rnnjax.embed(9, 4), rnnjax.gru(8), rnnjax.dense(9))
    params = rnn.init(jax.random.key(0), jnp.array(0))
    generated = decoding.generate(
        functools.partial(rnn.step, params),
        rnn.initial_carry(params, (2,)),
        jnp.array([[1, 2]]),
        length=4,
        stop=(0,),
        sampling=decoding.Sampling(temperature=0.7, top_k=3, repetition_penalty=1.2),
        key=jax.random.key(1),
    )
    assert generated.tokens.shape == (4, 2)


def test_dropout_in_training():
    rnn = rnnjax.stack(rnnjax.gru(3), rnnjax.dropout(0.5))
    xs = jnp.ones((5, 2, 3))
    params = rnn.init(jax.random.key(0), xs[0])
    _, ys = rnn.unroll(params, None, xs, key=jax.random.key(1))
    assert 0 < np.mean(np.asarray(ys) == 0) < 1


@pytest.mark.parametrize("cell", [rnnjax.lru, rnnjax.rg_lru])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_cells_that_accumulate(cell, dtype):
    rnn, xs = cell(4, dtype=dtype), jnp.ones((5, 2, 3))
    params = rnn.init(jax.random.key(0), xs[0])
    carry, y = rnn.step(params, None, xs[0])
    last, ys = rnn.unroll(params, carry, xs)
    assert y.dtype == ys.dtype == dtype
    dtypes = [[leaf.dtype for leaf in jax.tree.leaves(c)] for c in (carry, last)]
    assert dtypes[0] == dtypes[1]
