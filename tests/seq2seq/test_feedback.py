"""Scheduled sampling and free running against Python loops of `step`."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import seq2seq

T, B, V = 6, 3, 5
RNN = rnnjax.stack(
    rnnjax.embed(V, 4), rnnjax.dropout(0.3), rnnjax.gru(6), rnnjax.dense(V)
)
TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, V, (T, B)))
PARAMS = jax.tree.map(lambda a: 3 * a, RNN.init(jax.random.key(0), TOKENS[0]))
KEY = jax.random.key(1)
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def run(probability, key=KEY, **options):
    return seq2seq.scheduled_sampling(
        RNN, PARAMS, None, TOKENS, probability, key=key, **options
    )


def loop(shown, feed, draws, lengths=None):
    """What is fed is decided by `shown`, and by what the network said before."""
    keys = rnnjax.step_keys(jax.random.split(KEY, 3)[0], T)
    carry, ys, own = RNN.initial_carry(PARAMS, (B,)), [], np.zeros(B, int)
    step = jax.jit(RNN.step)
    lengths = [T] * B if lengths is None else lengths
    for t in range(T):
        x = np.where(shown[t], TOKENS[t], own)
        new, y = step(PARAMS, carry, jnp.asarray(x), key=keys[t])
        valid = t < np.asarray(lengths)
        carry = jax.tree.map(
            lambda a, b, v=valid: jnp.where(v[:, None], a, b), new, carry
        )
        own = np.where(valid, feed(y, draws[t]), own)
        ys.append(jnp.where(valid[:, None], y, 0))
    return carry, jnp.stack(ys)


@pytest.mark.parametrize("probability", [0.0, 0.5])
def test_equals_a_loop(probability):
    _, coins, draws = jax.random.split(KEY, 3)
    shown = np.array(jax.random.bernoulli(coins, probability, (T, B)))
    shown[0] = True
    lengths = [6, 2, 0]
    result = jax.jit(lambda p: run(p, lengths=jnp.array(lengths)))(probability)
    expected = loop(shown, seq2seq.sampled, jax.random.split(draws, T), lengths)
    chex.assert_trees_all_close(result, expected, **CLOSE)


def test_probability_one_and_no_key_are_teacher_forcing():
    taught = RNN.unroll(PARAMS, None, TOKENS, key=jax.random.split(KEY, 3)[0])
    chex.assert_trees_all_close(run(1.0), taught, **CLOSE)
    assert not np.allclose(run(0.0)[1], taught[1])
    evaluated = RNN.unroll(PARAMS, None, TOKENS)
    chex.assert_trees_all_equal(run(0.0, key=None), evaluated)
    empty = seq2seq.scheduled_sampling(RNN, PARAMS, None, TOKENS[:0], 0.5, key=KEY)
    assert empty[1].shape == (0, B, V)


def test_the_coins_have_the_probability():
    """A network that says what it is told, fed the token 1 where it is not shown."""
    rnn = rnnjax.dense(1, use_bias=False)
    xs = jnp.zeros((200, 50, 1))
    _, ys = seq2seq.scheduled_sampling(
        rnn,
        {"kernel": jnp.ones((1, 1))},
        None,
        xs,
        0.8,
        feed=lambda y, key: jnp.ones_like(y),
        key=KEY,
    )
    assert not np.any(ys[0])
    assert np.mean(ys[1:]) == pytest.approx(0.2, abs=0.02)


def test_gradients_are_those_of_autodiff():
    """Also through values that are fed back."""
    xs = jax.random.normal(KEY, (T, B, 2))
    grads = []
    for scan in (rnnjax.scan, jax.lax.scan):
        rnn = rnnjax.stack(rnnjax.gru(3), rnnjax.dense(2))
        params = rnn.init(jax.random.key(0), xs[0])

        def loss(params, rnn=rnn):
            result = seq2seq.scheduled_sampling(
                rnn, params, None, xs, 0.5, feed=seq2seq.itself, key=KEY
            )
            return jnp.sum(jnp.sin(result[1]))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rnnjax, "scan", scan)
            grads.append(jax.jit(jax.grad(loss))(params))
    chex.assert_trees_all_close(*grads, rtol=1e-4, atol=1e-6)


def test_free_running_is_a_loop():
    start = jnp.array([0, 1, 2])
    _, logits = seq2seq.free_running(RNN, PARAMS, None, start, T)
    carry, token = RNN.initial_carry(PARAMS, (B,)), start
    for t in range(T):
        carry, y = RNN.step(PARAMS, carry, token)
        token = jnp.argmax(y, -1)
        np.testing.assert_allclose(logits[t], y, **CLOSE)
    one, other = (
        seq2seq.free_running(
            RNN, PARAMS, None, start, T, feed=seq2seq.sampled, key=jax.random.key(k)
        )[1]
        for k in (0, 1)
    )
    assert not np.allclose(one, other)


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: run(1.5), r"probability: expected one number in \[0, 1\]"),
        (lambda: run(0.5, feed=seq2seq.itself), "feed: expected the shape"),
        (lambda: run(0.5, feed=lambda y, key: (y,)), "feed: expected the structure"),
        (lambda: run(0.5, lengths=[1, 2]), "lengths: expected shape"),
    ],
)
def test_errors(call, match):
    with pytest.raises(ValueError, match=match):
        call()
