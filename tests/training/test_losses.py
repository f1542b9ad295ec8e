"""Cross-entropy of tokens, and the losses of windows of a stream."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import training
from tests.training.networks import draw

LOGITS = np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32)
TARGETS = np.asarray([[0, 1], [2, 3], [3, 0]])


def by_hand(where):
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
    return -np.log(np.take_along_axis(p, TARGETS[..., None], -1)[..., 0][where]).mean()


def test_cross_entropy_equals_numpy():
    loss, metrics = training.softmax_cross_entropy(LOGITS, TARGETS)
    everywhere = np.ones((3, 2), bool)
    assert float(loss) == pytest.approx(by_hand(everywhere), rel=1e-5)
    assert float(metrics["bits"]) == pytest.approx(float(loss) / np.log(2), rel=1e-6)
    assert int(metrics["count"]) == 6
    half, _ = training.softmax_cross_entropy(LOGITS.astype(jnp.bfloat16), TARGETS)
    assert half.dtype == jnp.float32


def test_masked_places_reach_neither_loss_nor_gradient():
    mask = np.asarray([[True, True], [True, False], [False, False]])
    logits = np.where(mask[..., None], LOGITS, np.nan)
    targets = np.where(mask, TARGETS, -1)
    loss = lambda x, m: training.softmax_cross_entropy(x, targets, m)  # noqa: E731
    (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(logits, mask)
    assert float(value) == pytest.approx(by_hand(mask), rel=1e-5)
    assert int(metrics["count"]) == 3
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[~mask], 0)
    value, metrics = loss(logits, np.zeros_like(mask))
    assert float(value) == 0 and int(metrics["count"]) == 0


@pytest.mark.parametrize(
    "error, message, arguments",
    [
        (ValueError, r"targets: .*\(3, 2\).*got \(3,\)", (LOGITS, TARGETS[:, 0])),
        (TypeError, "targets: expected integers, got", (LOGITS, TARGETS + 0.5)),
        (ValueError, "mask: expected shape", (LOGITS, TARGETS, np.ones(3, bool))),
        (TypeError, "mask: expected bool", (LOGITS, TARGETS, np.ones((3, 2)))),
    ],
)
def test_cross_entropy_errors(error, message, arguments):
    with pytest.raises(error, match=message):
        training.softmax_cross_entropy(*arguments)


@pytest.fixture(scope="module")
def rnn():
    return rnnjax.stack(rnnjax.embed(4, 3), rnnjax.simple(3), rnnjax.dense(4))


@pytest.fixture(scope="module")
def params(rnn):
    return draw(rnn, jax.ShapeDtypeStruct((), jnp.int32))


def test_mask_and_resets_reach_the_rnn(rnn, params):
    loss = training.language_model_loss(rnn)
    batch = {"inputs": TARGETS, "targets": (TARGETS + 1) % 4}
    start = jax.tree.map(lambda a: a + 1, rnn.initial_carry(params, (2,)))
    flag = np.zeros((3, 2), bool)
    flag[0, 1] = True  # at the first step of the second sequence

    _, (plain, _) = loss(params, start, batch, None)
    _, (reset, _) = loss(params, start, {**batch, "resets": flag}, None)
    _, (fresh, _) = loss(params, None, batch, None)
    np.testing.assert_array_equal(reset[1][0], plain[1][0])
    np.testing.assert_allclose(reset[1][1], fresh[1][1], rtol=1e-6)
    assert np.abs(reset[1][1] - plain[1][1]).max() > 1e-3

    mask = np.ones((3, 2), bool)
    mask[:, 1] = False
    _, (masked, metrics) = loss(params, start, {**batch, "mask": mask}, None)
    np.testing.assert_array_equal(masked[1][1], start[1][1])
    assert int(metrics["count"]) == 3


def test_a_bidirectional_layer_cannot_be_trained_statefully():
    rnn = rnnjax.stack(rnnjax.bidirectional(rnnjax.simple(2)), rnnjax.dense(1))
    params = jax.eval_shape(rnn.init, jax.random.key(0), jnp.ones(1))
    loss = training.stateful_loss(rnn, lambda ys, targets, mask: (ys.sum(), {}))
    batch = {"inputs": np.ones((3, 2, 1)), "targets": np.ones((3, 2, 1))}
    with pytest.raises(ValueError, match="rnn: .*can step.*bidirectional.*whole"):
        jax.eval_shape(loss, params, None, batch, jax.random.key(0))


def test_batches_are_dicts_of_inputs_and_targets(rnn, params):
    loss = training.language_model_loss(rnn)
    with pytest.raises(ValueError, match=r"got \['inputs'\]; 'targets' is missing"):
        loss(params, None, {"inputs": TARGETS}, None)
    with pytest.raises(TypeError, match="batch: expected a dict .* got tuple"):
        loss(params, None, (TARGETS, TARGETS), None)
