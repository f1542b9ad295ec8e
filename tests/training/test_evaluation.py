"""Evaluation of a stream in windows: equal to one unroll, weighted by count."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import training
from tests.training.networks import draw

RNN = rnnjax.stack(
    rnnjax.embed(5, 3), rnnjax.dropout(0.5), rnnjax.simple(4), rnnjax.dense(5)
)


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(0).integers(0, 5, 24)


@pytest.fixture(scope="module")
def params():
    return draw(RNN, jax.ShapeDtypeStruct((), jnp.int32))


def test_a_stream_in_windows_equals_one_unroll(tokens, params, tolerance):
    """Of a length that neither the streams nor the windows divide."""
    stream = {"inputs": tokens[:-1], "targets": tokens[1:], "mask": tokens[1:] >= 0}
    lanes = training.streams(stream, 2, pad=True)  # 12 steps, one of 24 is padding
    loss = chex.assert_max_traces(training.language_model_loss(RNN), n=1)
    step = training.eval_step(loss)
    start = RNN.initial_carry(params, (2,))
    batches = training.windows(lanes, 5, pad=True)
    carry, metrics = training.evaluate(step, params, start, batches)

    last, logits = jax.jit(RNN.unroll)(params, start, lanes["inputs"])
    log_p = jax.nn.log_softmax(logits).transpose(1, 0, 2).reshape(24, 5)[:23]
    nats = -np.take_along_axis(np.asarray(log_p), tokens[1:, None], -1).mean()
    assert metrics["loss"] == pytest.approx(nats, rel=1e-5)
    assert metrics["bits"] == pytest.approx(nats / np.log(2), rel=1e-5)
    assert metrics["count"] == 23
    chex.assert_trees_all_close(  # of the stream that has no padding
        jax.tree.map(lambda a: a[0], carry),
        jax.tree.map(lambda a: a[0], last),
        **tolerance,
    )


def test_there_is_no_key(params):
    keys = []

    def loss(params, carry, batch, key):
        keys.append(key)
        return jnp.zeros(()), (carry, {})

    carry, metrics = training.evaluate(training.eval_step(loss), params, None, [1, 2])
    assert keys == [None]
    assert carry is None
    assert set(metrics) == {"loss"}


def test_weights_are_counts_where_there_are_any():
    def with_count(params, carry, batch, key):
        value, count = batch
        return value, (carry, {"twice": 2 * value, "count": count})

    def without(params, carry, batch, key):
        return batch[0], (carry, {"pair": jnp.stack([batch[0], 0.0])})

    batches = [(1.0, 3), (5.0, 1), (7.0, 0)]
    step = training.eval_step(with_count)
    _, metrics = training.evaluate(step, None, None, batches)
    assert metrics == {"loss": 2.0, "twice": 4.0, "count": 4}
    step = training.eval_step(without)
    _, metrics = training.evaluate(step, None, None, batches)
    assert metrics["loss"] == pytest.approx(13 / 3)
    np.testing.assert_allclose(metrics["pair"], [13 / 3, 0])

    with pytest.raises(ValueError, match="batches: expected at least one, got none"):
        training.evaluate(step, None, None, [])
    with pytest.raises(ValueError, match="count of 0.*mask"):
        training.evaluate(training.eval_step(with_count), None, None, [(1.0, 0)])


def test_a_carry_must_be_given_to_be_handed_on(params, tokens):
    step = training.eval_step(training.language_model_loss(RNN))
    batch = {"inputs": tokens[:4, None], "targets": tokens[1:5, None]}
    with pytest.raises(ValueError, match="carry None.*initial_carry"):
        step(params, None, batch)
