import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax


def build(inner=None, shape=(3,), **options):
    rnn = rnnjax.bidirectional(inner or rnnjax.gru(2), **options)
    return rnn, rnn.init(jax.random.key(0), jnp.ones(shape))


def draw(*shape):
    return jax.random.normal(jax.random.key(1), shape)


def test_halves_run_in_their_directions_and_are_concatenated():
    half = rnnjax.gru(2)
    rnn, params = build(half)
    xs = draw(4, 2, 3)
    (_, backward), ys = rnn.unroll(params, None, xs)
    _, forward_ys = half.unroll(params["forward"], None, xs)
    last, backward_ys = half.unroll(params["backward"], None, xs[::-1])
    expected = jnp.concatenate([forward_ys, backward_ys[::-1]], axis=-1)
    chex.assert_trees_all_close(ys, expected, rtol=1e-6, atol=1e-6)
    chex.assert_trees_all_close(backward, last, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("merge", ["sum", "mean", "none"])
def test_merges(merge):
    rnn, params = build(merge=merge)
    concat, _ = build()
    xs = draw(3, 2, 3)
    _, ys = rnn.unroll(params, None, xs)
    a, b = jnp.split(concat.unroll(params, None, xs)[1], 2, -1)
    expected = {"sum": a + b, "mean": (a + b) / 2, "none": (a, b)}[merge]
    chex.assert_trees_all_close(ys, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_resets_cut_both_directions_across_padding(reverse):
    rnn, params = build()
    # Two segments with padding between: steps 0, 1 and 4, 5.
    mask = np.array([1, 1, 0, 0, 1, 1], bool)
    resets = np.zeros(6, bool)
    resets[1 if reverse else 4] = True  # a start in the order of processing
    xs = draw(6, 3).at[2:4].set(jnp.nan)
    _, ys = rnn.unroll(params, None, xs, resets=resets, mask=mask, reverse=reverse)
    for part in (slice(0, 2), slice(4, 6)):
        _, alone = rnn.unroll(params, None, xs[part], reverse=reverse)
        chex.assert_trees_all_close(ys[part], alone, rtol=1e-5, atol=1e-6)
    assert not np.any(ys[2:4])


def test_reverse_is_flipping_all():
    rnn, params = build()
    xs = draw(5, 2, 3)
    flags = jax.random.bernoulli(jax.random.key(2), 0.5, (2, 5, 2))
    resets, mask = flags
    got = rnn.unroll(params, None, xs, resets=resets, mask=mask, reverse=True)
    carry, ys = rnn.unroll(params, None, xs[::-1], resets=resets[::-1], mask=mask[::-1])
    chex.assert_trees_all_close(got, (carry, ys[::-1]), rtol=1e-5, atol=1e-6)


def test_lengths_and_nan_padding_in_the_gradient():
    rnn, params = build()
    xs = draw(4, 2, 3)
    lengths = jnp.array([2, 0])

    @jax.jit
    @jax.value_and_grad
    def loss(params, xs):
        return jnp.sum(rnn.unroll(params, None, xs, lengths=lengths)[1] ** 2)

    dirty = xs.at[2:, 0].set(jnp.nan).at[:, 1].set(jnp.nan)
    chex.assert_trees_all_close(
        loss(params, dirty), loss(params, xs), rtol=1e-5, atol=1e-6
    )


def test_stacks_and_draws_from_one_key_for_each_half():
    rnn = rnnjax.stack(
        rnnjax.bidirectional(rnnjax.stack(rnnjax.dropout(0.5), rnnjax.gru(2))),
        rnnjax.bidirectional(rnnjax.gru(2), merge="sum"),
    )
    params = rnn.init(jax.random.key(0), jnp.ones(3))
    assert params["1"]["forward"]["input"]["kernel"].shape == (4, 6)
    xs = draw(3, 3)
    ys = [rnn.unroll(params, None, xs, key=jax.random.key(k))[1] for k in (0, 0, 1)]
    chex.assert_trees_all_close(ys[0], ys[1], rtol=1e-5, atol=1e-6)
    assert not np.allclose(ys[0], ys[2])


@pytest.mark.parametrize("shape", [(0, 2, 3), (3, 0, 3)])
def test_no_steps_or_no_rows(shape):
    rnn, params = build()
    flags = jnp.zeros(shape[:2], bool)
    carry, ys = rnn.unroll(params, None, jnp.ones(shape), resets=flags, mask=flags)
    assert ys.shape == (*shape[:2], 4)
    assert carry[0].shape == (shape[1], 2)


def test_cannot_step():
    rnn, params = build()
    with pytest.raises(ValueError, match="cannot run step by step.*layers that run"):
        rnn.step(params, None, jnp.ones(3))
    with pytest.raises(ValueError, match="cannot carry on"):
        rnnjax.stack(rnn, rnnjax.dense(1)).step({"0": params}, None, jnp.ones(3))


def test_bad_arguments():
    with pytest.raises(ValueError, match="merge=.*expected one of.*got 'max'"):
        rnnjax.bidirectional(rnnjax.gru(2), merge="max")
    with pytest.raises(TypeError, match="bidirectional: expected layers"):
        rnnjax.bidirectional(rnnjax.cells.gru(2))
    with pytest.raises(ValueError, match="same input, got event_ndim 1 and 0"):
        rnnjax.bidirectional(rnnjax.gru(2), rnnjax.embed(2, 2))
    rnn, params = build()
    with pytest.raises(ValueError, match="tuple of 2 carries"):
        rnn.unroll(params, jnp.zeros(2), jnp.ones((3, 3)))
