"""Five architectures, those of docs/architectures.md: shapes, meaning, learning.

Each is built of layers, a readout or `rnnjax.scan`, and trained by the same step.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import training
from tests.training.networks import draw

BATCH, LENGTH, SIZE = 3, 4, 5
GENERATOR = np.random.default_rng(0)
XS = GENERATOR.normal(size=(LENGTH, BATCH, 2)).astype(np.float32)
LENGTHS = np.asarray([4, 2, 3])
TOKEN = jax.ShapeDtypeStruct((), jnp.int32)


def assert_learns(loss, params, batch):
    """Eight steps of Adam; the last loss is less than 0.8 of the first."""
    optimizer = training.optimizer("adam", 0.05, clip_norm=1.0)
    step = training.train_step(loss, optimizer)
    state = training.init_state(params, optimizer)
    losses = []
    for k in range(8):
        state, metrics = step(state, batch, jax.random.key(k))
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.8 * losses[0]


def squared_error(ys, targets):
    return jnp.mean((ys - targets) ** 2)


@pytest.mark.parametrize(
    "body", [rnnjax.dense(SIZE, jnp.tanh), rnnjax.simple(SIZE)], ids=["dense", "rnn"]
)
def test_one_to_one(body):
    net = rnnjax.stack(body, rnnjax.dense(1))
    params = draw(net, XS[0])
    carry = net.initial_carry(params, (BATCH,))

    def loss(params, _, batch, key):
        _, y = net.step(params, carry, batch["x"])
        return squared_error(y, batch["y"]), (None, {})

    _, y = net.step(params, carry, XS[0])
    assert y.shape == (BATCH, 1)
    _, ys = net.unroll(params, None, XS[:1])  # the same as a sequence of T = 1
    np.testing.assert_allclose(ys[0], y, rtol=1e-5, atol=1e-6)
    assert_learns(loss, params, {"x": XS[0], "y": XS[1, :, :1]})


def test_one_to_many(tolerance):
    start = rnnjax.dense(SIZE, jnp.tanh)
    net = rnnjax.stack(rnnjax.simple(SIZE), rnnjax.dense(2))
    params = {"start": draw(start, XS[0]), "net": draw(net, XS[0])}

    def generate(params, vector, loop):
        _, h = start.step(params["start"], None, vector)

        def feed_back(previous, _):
            carry, y = net.step(params["net"], *previous)
            return (carry, y), y

        return loop(feed_back, ((h, ()), jnp.zeros_like(vector)))

    def scanned(f, first):
        return rnnjax.scan(f, first, length=LENGTH)[1]

    def looped(f, previous):
        ys = []
        for _ in range(LENGTH):
            previous, y = f(previous, None)
            ys.append(y)
        return jnp.stack(ys)

    def loss(params, carry, batch, key, loop=scanned):
        ys = generate(params, batch["x"], loop)
        return squared_error(ys, batch["ys"]), (carry, {})

    assert generate(params, XS[0], scanned).shape == (LENGTH, BATCH, 2)
    batch = {"x": XS[0], "ys": XS}
    gradients = [
        jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnames="loop")(
            params, None, batch, None, loop=loop
        )
        for loop in (scanned, looped)
    ]
    chex.assert_trees_all_close(*gradients, **tolerance)
    assert_learns(loss, params, batch)


@pytest.mark.parametrize(
    "readout", [rnnjax.last_step, rnnjax.mean_pool, rnnjax.max_pool]
)
def test_many_to_one(readout):
    rnn, classify = rnnjax.simple(SIZE), rnnjax.dense(2)
    params = {"rnn": draw(rnn, XS[0]), "classify": draw(classify, jnp.ones(SIZE))}

    def logits_of(params, xs):
        _, ys = rnn.unroll(params["rnn"], None, xs, lengths=LENGTHS)
        y = readout(ys, lengths=LENGTHS)
        return classify.step(params["classify"], None, y)[1]

    def loss(params, carry, batch, key):
        logits = logits_of(params, batch["xs"])
        value, metrics = training.softmax_cross_entropy(logits, batch["label"])
        return value, (carry, metrics)

    padded = np.where((np.arange(LENGTH)[:, None] < LENGTHS)[..., None], XS, np.nan)
    logits = logits_of(params, padded)
    assert logits.shape == (BATCH, 2)
    _, ys = rnn.unroll(params["rnn"], None, XS[:2, 1])  # the second sequence, alone
    _, alone = classify.step(params["classify"], None, readout(ys))
    np.testing.assert_allclose(logits[1], alone, rtol=1e-5, atol=1e-6)
    assert_learns(loss, params, {"xs": padded, "label": np.asarray([0, 1, 1])})


def test_many_to_many_of_equal_length():
    net = rnnjax.stack(rnnjax.bidirectional(rnnjax.simple(SIZE)), rnnjax.dense(3))
    params = draw(net, XS[0])
    mask = np.arange(LENGTH)[:, None] < LENGTHS

    def loss(params, carry, batch, key):
        _, logits = net.unroll(params, None, batch["xs"], mask=mask, key=key)
        value, metrics = training.softmax_cross_entropy(logits, batch["labels"], mask)
        return value, (carry, metrics)

    _, logits = net.unroll(params, None, XS, mask=mask)
    assert logits.shape == (LENGTH, BATCH, 3)
    later = XS + np.asarray([0, 0, 0, 1], np.float32)[:, None, None]
    _, others = net.unroll(params, None, later, mask=mask)
    changed = np.abs(others - logits).max(-1) > 1e-4
    # All of the first sequence sees its end; for the others the change is padding.
    np.testing.assert_array_equal(changed, mask & np.asarray([True, False, False]))
    labels = GENERATOR.integers(0, 3, (LENGTH, BATCH))
    assert_learns(loss, params, {"xs": XS, "labels": labels})


def test_encoder_decoder(tolerance):
    encoder = rnnjax.stack(rnnjax.embed(4, 2), rnnjax.simple(SIZE))
    decoder = rnnjax.stack(rnnjax.embed(4, 2), rnnjax.simple(SIZE), rnnjax.dense(4))
    params = {"encoder": draw(encoder, TOKEN), "decoder": draw(decoder, TOKEN)}
    source = GENERATOR.integers(1, 4, (LENGTH, BATCH))
    target = GENERATOR.integers(1, 4, (2, BATCH))

    def encode(params, source, lengths):
        carry, _ = encoder.unroll(params["encoder"], None, source, lengths=lengths)
        return (*carry, ())

    def teacher_forced(params, source, target):
        given = jnp.concatenate([jnp.zeros_like(target[:1]), target[:-1]])
        carry = encode(params, source, LENGTHS)
        return decoder.unroll(params["decoder"], carry, given)[1]

    def greedy(params, source):
        def feed_back(previous, _):
            carry, logits = decoder.step(params["decoder"], *previous)
            token = jnp.argmax(logits, -1).astype(previous[1].dtype)
            return (carry, token), (logits, token)

        first = (encode(params, source, LENGTHS), jnp.zeros_like(source[0]))
        return rnnjax.scan(feed_back, first, length=3)[1]

    def loss(params, carry, batch, key):
        logits = teacher_forced(params, batch["source"], batch["target"])
        value, metrics = training.softmax_cross_entropy(logits, batch["target"])
        return value, (carry, metrics)

    logits, tokens = jax.jit(greedy)(params, source)
    assert tokens.shape == (3, BATCH)  # neither the length of the source nor the target
    given_its_own = teacher_forced(params, source, tokens)
    chex.assert_trees_all_close(logits, given_its_own, **tolerance)
    # The first decoder carry is that of each source's own end.
    carry = encode(params, source, LENGTHS)
    alone, _ = encoder.unroll(params["encoder"], None, source[:2, 1])
    np.testing.assert_allclose(carry[1][1], alone[1], rtol=1e-5, atol=1e-6)
    assert_learns(loss, params, {"source": source, "target": target})
