"""CTC and the transducer: every alignment is enumerated; torch; padding; errors."""

import itertools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from rnnjax import losses
from tests.interop.problems import peer

T, U, B, K = 4, 2, 3, 4
LENGTHS = np.asarray([4, 3, 2])
TARGETS = np.asarray([[1, 3, 2], [2, 3, 0]])
TARGET_LENGTHS = np.asarray([2, 2, 1])


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def softmax(x):
    p = np.exp(x - x.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def ctc_by_enumeration(logits, targets, blank):
    """Sum over all labellings of the steps; ``logits [T, K]``."""
    p, total = softmax(logits), 0.0
    for labelling in itertools.product(range(p.shape[1]), repeat=len(p)):
        merged = [k for k, _ in itertools.groupby(labelling)]
        if [k for k in merged if k != blank] == list(targets):
            total += np.prod([p[t, k] for t, k in enumerate(labelling)])
    return total


def transducer_by_enumeration(logits, targets, blank):
    """Sum over all orders of T blanks and U labels, a blank last."""
    p, total = softmax(logits), 0.0
    steps, labels = len(p), len(targets)
    for places in itertools.combinations(range(steps + labels - 1), labels):
        t, u, path = 0, 0, 1.0
        for move in range(steps + labels):
            if move in places:
                path, u = path * p[t, u, targets[u]], u + 1
            else:
                path, t = path * p[t, u, blank], t + 1
        total += path
    return total


def problem(name):
    shape = (T, B, K) if name == "ctc" else (T, U + 1, B, K)
    return draw(0, *shape), TARGETS


def loss_of(name, lengths=LENGTHS, target_lengths=TARGET_LENGTHS, **options):
    loss = getattr(losses, name)
    return lambda logits, targets: loss(
        logits, targets, lengths, target_lengths, **options
    )


both = pytest.mark.parametrize("name", ["ctc", "transducer"])


@both
@pytest.mark.parametrize("blank", [0, K - 1])
def test_equal_to_the_enumeration_of_all_alignments(name, blank):
    logits, _ = problem(name)
    targets = (TARGETS + (blank == 0)) % 3 + (blank == 0)  # no blank among them
    value, metrics = jax.jit(loss_of(name, blank=blank))(logits, targets)
    nats = []
    for b, (t, u) in enumerate(zip(LENGTHS, TARGET_LENGTHS, strict=True)):
        if name == "ctc":
            p = ctc_by_enumeration(logits[:t, b], targets[:u, b], blank)
        else:
            p = transducer_by_enumeration(logits[:t, : u + 1, b], targets[:u, b], blank)
        nats.append(-np.log(p))
    possible = np.isfinite(nats)
    assert float(value) == pytest.approx(np.mean(np.asarray(nats)[possible]), 1e-5)
    assert int(metrics["count"]) == possible.sum()
    assert int(metrics["impossible"]) == (~possible).sum() == 0


@both
@pytest.mark.usefixtures("x64")
def test_numerical_gradients(name):
    logits, targets = problem(name)
    value = jax.jit(lambda x: loss_of(name)(x, targets)[0])
    check_grads(value, (logits,), 1, rtol=1e-6, eps=1e-5)


@pytest.mark.usefixtures("x64")
def test_both_derivatives_of_the_transducer():
    logits, targets = draw(0, 2, 2, K), np.asarray([1])
    value = lambda x: losses.transducer(x, targets)[0]  # noqa: E731
    gradient, hessian = jax.jit(jax.grad(value)), jax.jit(jax.hessian(value))(logits)
    for place in np.ndindex(*logits.shape):
        bump = np.zeros_like(logits)
        bump[place] = 1e-6
        ends = [logits + bump, logits - bump]
        up, down = (-np.log(transducer_by_enumeration(x, targets, 0)) for x in ends)
        slope = (up - down) / 2e-6
        assert float(gradient(logits)[place]) == pytest.approx(slope, 1e-6, 1e-8)
        up, down = map(gradient, ends)
        np.testing.assert_allclose(hessian[place], (up - down) / 2e-6, atol=1e-8)


@both
def test_padding_reaches_neither_value_nor_gradient(name):
    logits, targets = problem(name)
    inside = np.arange(T)[:, None] < LENGTHS
    if name == "transducer":
        nodes = np.arange(U + 1)[:, None] <= TARGET_LENGTHS
        inside = inside[:, None] & nodes[None]
    poisoned = np.where(inside[..., None], logits, np.nan)
    within = np.arange(U)[:, None] < TARGET_LENGTHS
    loss = jax.jit(jax.value_and_grad(loss_of(name), has_aux=True))
    expected = loss(logits, np.where(within, targets, 1))
    chex.assert_trees_all_equal(loss(poisoned, np.where(within, targets, -9)), expected)
    (_, _), gradient = expected
    assert np.isfinite(gradient).all()
    assert (gradient[~inside] == 0).all() and (gradient[inside] != 0).all()


@both
def test_filler_rows_and_impossible_ones_do_not_count(name):
    logits, targets = problem(name)
    lengths, target_lengths = np.asarray([4, 0, 0]), np.asarray([2, 0, 1])
    loss = loss_of(name, lengths, target_lengths)
    loss = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, metrics), gradient = loss(np.float32(logits), targets)
    one = loss_of(name, lengths[:1], target_lengths[:1])
    alone, _ = one(logits[..., :1, :], targets[:, :1])
    assert float(value) == pytest.approx(float(alone), 1e-6)
    assert int(metrics["count"]) == 1 and int(metrics["impossible"]) == 1
    assert (gradient[..., 1:, :] == 0).all()
    value, metrics = loss_of(name, 0 * lengths, 0 * lengths)(logits, targets)
    assert float(value) == 0 and int(metrics["count"]) == 0


def test_equal_neighbours_need_a_blank_between_them():
    targets = np.asarray([[1], [1]])
    logits = np.float32(draw(0, 3, 1, K))
    value, _ = losses.ctc(logits, targets)
    p = ctc_by_enumeration(logits[:, 0], [1, 1], 0)
    assert float(value) == pytest.approx(-np.log(p), 1e-5)
    loss = jax.value_and_grad(lambda x: losses.ctc(x, targets), has_aux=True)
    (value, metrics), gradient = loss(logits[:2])
    assert float(value) == 0 and int(metrics["impossible"]) == 1
    assert (gradient == 0).all()


@both
def test_batch_axes_and_empty_axes(name):
    loss = jax.jit(getattr(losses, name))
    nodes = () if name == "ctc" else (U + 1,)
    logits, targets = problem(name)
    targets = np.maximum(targets, 1)
    mean, _ = loss(logits, targets)
    each = jax.vmap(lambda x, y: loss(x, y)[0], (-2, 1))(logits, targets)
    assert float(mean) == pytest.approx(float(each.mean()), 1e-5)  # no batch axis
    grid, _ = loss(logits.reshape(T, *nodes, B, 1, K), targets.reshape(U, B, 1))
    assert float(grid) == pytest.approx(float(mean), 1e-6)
    # No target: blanks all along. No step, or no sequence: nothing to score.
    empty = np.zeros((0, B), int)
    value, _ = loss(logits if name == "ctc" else logits[:, :1], empty)
    blanks = softmax(logits)[..., 0] if name == "ctc" else softmax(logits)[:, 0, :, 0]
    assert float(value) == pytest.approx(-np.log(blanks).sum(0).mean(), 1e-5)
    assert float(loss(logits[:0], targets)[0]) == 0
    assert float(loss(logits[..., :0, :], targets[:, :0])[0]) == 0


@pytest.mark.interop
def test_ctc_equals_torch():
    torch = peer("torch")
    rng = np.random.default_rng(3)
    steps, labels, size, classes = 12, 4, 6, 5
    logits = rng.normal(size=(steps, size, classes)).astype(np.float32) * 3
    targets = rng.integers(1, classes, (labels, size))
    lengths = rng.integers(9, steps + 1, size)
    target_lengths = rng.integers(0, labels + 1, size)
    value, gradient = jax.value_and_grad(
        lambda x: losses.ctc(x, targets, lengths, target_lengths)[0]
    )(logits)
    theirs = torch.tensor(logits, requires_grad=True)
    nats = torch.nn.functional.ctc_loss(
        theirs.log_softmax(-1),
        torch.tensor(targets.T),
        torch.tensor(lengths),
        torch.tensor(target_lengths),
        reduction="none",
    ).mean()
    nats.backward()
    assert float(value) == pytest.approx(nats.item(), 1e-5)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=1e-4, atol=1e-6)


@both
@pytest.mark.parametrize(
    "error, message, change",
    [
        (ValueError, "blank: .*0 to 3, got 4", {"blank": 4}),
        (ValueError, r"targets: .*\(3,\), got shape \(2,\)", {"targets": [1, 2]}),
        (ValueError, "targets: .*0 to 3, got 3 to 5", {"targets": TARGETS + 2}),
        (ValueError, "targets: .*to be the blank, 2", {"blank": 2}),
        (TypeError, "targets: expected integers", {"targets": TARGETS * 1.0}),
        (ValueError, r"target_lengths: .*\(3,\).*got \(1,\)", {"target_lengths": [2]}),
        (TypeError, "lengths: expected integers", {"lengths": LENGTHS * 1.0}),
        (ValueError, "lengths: .* 0 to 4, got 3 to 5", {"lengths": LENGTHS + 1}),
        (
            TypeError,
            "logits: expected floating",
            {"logits": np.ones((4, 3, 3), int)},
        ),
        (ValueError, "logits: expected .T, ", {"logits": np.ones(4)}),
    ],
)
def test_errors(name, error, message, change):
    arguments = {
        "logits": problem(name)[0],
        "targets": TARGETS,
        "lengths": LENGTHS,
        "target_lengths": TARGET_LENGTHS,
    }
    with pytest.raises(error, match=message):
        getattr(losses, name)(**(arguments | change))


def test_the_transducer_needs_a_node_before_the_first_label():
    with pytest.raises(ValueError, match=r"logits: expected .T, U \+ 1, .*U = 2"):
        losses.transducer(problem("transducer")[0][:, :2], TARGETS)


def test_lengths_are_clamped_under_a_trace():
    logits, targets = problem("ctc")
    long = jax.jit(losses.ctc)(logits, np.maximum(targets, 1), LENGTHS + 9)
    chex.assert_trees_all_close(long, losses.ctc(logits, np.maximum(targets, 1)))


@pytest.mark.parametrize("name", ["ctc", "transducer"])
def test_targets_out_of_range_are_nan_under_a_trace(name):
    logits, targets = problem(name)
    loss = jax.jit(lambda *args: getattr(losses, name)(logits, *args)[0])
    assert np.isfinite(loss(targets, LENGTHS, TARGET_LENGTHS))
    for wrong in (-1, 0, K):  # 0 is the blank
        changed = targets.copy()
        changed[0, 1] = wrong
        assert np.isnan(loss(changed, LENGTHS, TARGET_LENGTHS))
        beyond = targets.copy()
        beyond[1, 2] = wrong  # padding
        assert np.isfinite(loss(beyond, LENGTHS, TARGET_LENGTHS))


def test_long_lattices_stay_finite():
    logits = jnp.zeros((300, 51, 1, 3))
    value, gradient = jax.jit(
        jax.value_and_grad(lambda x: losses.transducer(x, np.ones((50, 1), int))[0])
    )(logits)
    # 349 choose 50 alignments of 350 moves, each of probability 1/3.
    expected = 350 * math.log(3) - math.log(math.comb(349, 50))
    assert float(value) == pytest.approx(expected, 1e-5)
    assert np.isfinite(gradient).all()
