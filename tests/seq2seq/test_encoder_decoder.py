"""Encoders and decoders of every kind, their bridges, and what reaches the output."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import attention, seq2seq
from rnnjax.seq2seq import bridges

S, T, B, V = 6, 4, 3, 7
XS = np.random.default_rng(0).normal(size=(S, B, 2)).astype("float32")
YS = jnp.asarray(np.random.default_rng(1).integers(0, V, (T, B)))
LENGTHS = jnp.array([6, 3, 1])
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def attentive(size, inside=None):
    cell = attention.attentive(
        inside or rnnjax.cells.gru(5), attention.bahdanau(4, coverage=True), size
    )
    return tokens_to_logits(rnnjax.layer(cell))


def tokens_to_logits(*layers):
    return rnnjax.stack(rnnjax.embed(V, 3), *layers, rnnjax.dense(V))


def stacked():
    return rnnjax.stack(rnnjax.lstm(4), rnnjax.gru(5))


PAIRS = {
    "bidirectional, attention": (
        lambda: rnnjax.bidirectional(rnnjax.gru(4)),
        lambda: attentive(8),
        bridges.dense(),
    ),
    "stack, attention over a stack": (
        stacked,
        lambda: attentive(5, stacked()),
        bridges.identity(),
    ),
    "no attention": (
        stacked,
        lambda: tokens_to_logits(rnnjax.lstm(4), rnnjax.gru(5)),
        bridges.identity(),
    ),
    "memory alone": (
        lambda: rnnjax.dense(8),
        lambda: attentive(8),
        bridges.zeros(),
    ),
}


@functools.cache
def build(name):
    encoder, decoder, bridge = PAIRS[name]
    model = seq2seq.encoder_decoder(encoder(), decoder(), bridge)
    return model, model.init(jax.random.key(0), XS[0], YS[0])


@pytest.mark.parametrize("name", PAIRS)
def test_padding_reaches_nothing_and_a_batch_is_its_examples(name):
    model, params = build(name)
    valid = np.arange(S)[:, None] < np.asarray(LENGTHS)
    dirty = np.where(valid[..., None], XS, np.float32(np.nan))

    @jax.jit
    def run(params, xs, lengths):
        def loss(params):
            outputs = model.unroll(params, xs, YS, lengths=lengths)[1]
            return jnp.sum(jnp.sin(outputs)), outputs

        return jax.grad(loss, has_aux=True)(params)

    gradients, outputs = run(params, dirty, LENGTHS)
    chex.assert_tree_all_finite(gradients)
    assert all(np.any(g) for g in jax.tree.leaves(gradients["encoder"]))
    alone = jax.jit(model.unroll)(params, XS[:3, 1], YS[:, 1])[1]
    np.testing.assert_allclose(outputs[:, 1], alone, **CLOSE)


def test_unroll_is_encoding_then_an_ordinary_layer():
    model, params = build("bidirectional, attention")
    carry, outputs = model.unroll(
        params, XS, YS, lengths=LENGTHS, target_lengths=jnp.array([4, 0, 2])
    )
    encoded = model.encode(params, XS, lengths=LENGTHS)
    step = functools.partial(model.decoder.step, encoded.params)
    state = encoded.carry
    for t in range(T):
        state, y = step(state, YS[t])
        np.testing.assert_allclose(outputs[t, 0], y[0], **CLOSE)
    assert not np.any(outputs[:, 1]) and not np.any(outputs[2:, 2])
    still = jax.tree.map(lambda a, b: np.array_equal(a[1], b[1]), carry, encoded.carry)
    assert jax.tree.all(still)


def test_bridges():
    model, params = build("stack, attention over a stack")
    last, _ = rnnjax.stack(rnnjax.lstm(4), rnnjax.gru(5)).unroll(
        params["encoder"], None, XS, lengths=LENGTHS
    )
    carry = model.encode(params, XS, lengths=LENGTHS).carry[1]
    chex.assert_trees_all_equal(carry.cell, last)
    assert not np.any(carry.fed) and carry.coverage.shape == (B, S)

    model, params = build("bidirectional, attention")
    (forward, backward), _ = rnnjax.bidirectional(rnnjax.gru(4)).unroll(
        params["encoder"], None, XS
    )
    weights = jax.tree.map(np.asarray, params["bridge"]["0"])
    both = np.concatenate([forward, backward], -1)
    expected = np.tanh(both @ weights["kernel"] + weights["bias"])
    carry = model.encode(params, XS).carry[1]
    np.testing.assert_allclose(carry.cell, expected, **CLOSE)

    model, params = build("memory alone")
    assert not np.any(model.encode(params, XS).carry[1].cell)


def test_a_hierarchical_encoder_is_read_at_the_ends_of_its_groups():
    encoder = rnnjax.hierarchical(rnnjax.gru(4), rnnjax.gru(5))
    model = seq2seq.encoder_decoder(encoder, attentive(5))
    ends = jnp.asarray(np.arange(S) % 3 == 2)[:, None] & jnp.ones((S, B), bool)
    params = model.init(jax.random.key(0), (XS[0], ends[0]), YS[0])
    run = functools.partial(model.encode, params, (XS, ends), memory_mask=ends)
    encoded = run()
    mask = encoded.params["1"]["recurrent"]["memory"].mask
    np.testing.assert_array_equal(mask, ends.T)
    carry, _ = model.decoder.unroll(encoded.params, encoded.carry, YS)
    assert not np.any(carry[1].coverage[~ends.T])
    np.testing.assert_allclose(carry[1].coverage.sum(-1), T, rtol=1e-5)


def test_scheduled_sampling_and_dropout_use_the_key():
    model, params = build("bidirectional, attention")
    run = functools.partial(model.unroll, params, XS, YS)
    taught = run()
    chex.assert_trees_all_equal(run(probability=0.0), taught)  # no key: evaluation
    outputs = [run(probability=0.0, key=jax.random.key(k))[1] for k in (0, 1)]
    assert not np.allclose(*outputs)
    shown = run(probability=1.0, key=jax.random.key(0))
    chex.assert_trees_all_close(shown, taught, **CLOSE)  # there is no dropout in it


def test_one_to_many():
    decoder = tokens_to_logits(rnnjax.lstm(4), rnnjax.gru(5))
    model = seq2seq.one_to_many(decoder, bridges.dense(jnp.sin))
    x = XS[0]
    params = model.init(jax.random.key(0), x, YS[0])
    weights = jax.tree.map(np.asarray, params["bridge"])
    leaves = [np.sin(x @ w["kernel"] + w["bias"]) for w in weights.values()]
    first = decoder.initial_carry(params["decoder"], (B,))
    carry = jax.tree.unflatten(jax.tree.structure(first), leaves)
    expected = decoder.unroll(params["decoder"], carry, YS)
    chex.assert_trees_all_close(model.unroll(params, x, YS), expected, **CLOSE)
    alone = model.unroll(params, x[0], YS[:, 0])[1]
    np.testing.assert_allclose(alone, expected[1][:, 0], **CLOSE)
    outputs = model.unroll(params, x, YS, probability=0.0, key=jax.random.key(1))[1]
    np.testing.assert_allclose(outputs[0], expected[1][0], **CLOSE)


@pytest.mark.parametrize(
    "call, error, match",
    [
        (lambda: seq2seq.encoder_decoder(rnnjax.gru, stacked()), TypeError, "encoder:"),
        (lambda: seq2seq.one_to_many(rnnjax.gru), TypeError, "decoder:"),
        (
            lambda: seq2seq.encoder_decoder(stacked(), stacked(), bridges.dense),
            TypeError,
            "bridge:",
        ),
        (
            lambda: seq2seq.encoder_decoder(
                rnnjax.gru(3), tokens_to_logits(rnnjax.gru(4)), bridges.identity()
            ).init(jax.random.key(0), XS[0], YS[0]),
            ValueError,
            r"shapes of the decoder's, \[\(4,\)\], got \[\(3,\)\]",
        ),
        (
            lambda: seq2seq.encoder_decoder(rnnjax.dense(3), stacked()).init(
                jax.random.key(0), XS[0], XS[0]
            ),
            ValueError,
            "encoder with a carry",
        ),
    ],
)
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_an_attentive_decoder_needs_one_memory():
    encoder = rnnjax.bidirectional(rnnjax.gru(4), merge="none")
    model = seq2seq.encoder_decoder(encoder, attentive(4))
    params = model.init(jax.random.key(0), XS[0], YS[0])
    with pytest.raises(TypeError, match="one array"):
        model.unroll(params, XS, YS)


def test_bridges_refuse_complex_carries():
    encoder = rnnjax.stack(rnnjax.gru(4), rnnjax.lru(6))
    model = seq2seq.encoder_decoder(encoder, rnnjax.gru(4), seq2seq.bridges.dense())
    with pytest.raises(ValueError, match="complex"):
        model.init(jax.random.key(0), jnp.ones(3), jnp.ones(3))
