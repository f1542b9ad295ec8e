import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax

READOUTS = {
    rnnjax.last_step: lambda steps: steps[-1],
    rnnjax.mean_pool: lambda steps: np.mean(steps, axis=0),
    rnnjax.max_pool: lambda steps: np.max(steps, axis=0),
}


def reference(take, ys, mask, resets):
    """Row by row, from the definition."""
    rows = []
    for b in range(ys.shape[1]):
        steps = []
        for t in range(ys.shape[0]):
            if mask[t, b]:
                steps = [] if resets[t, b] else steps
                steps.append(ys[t, b])
        rows.append(take(np.stack(steps)) if steps else np.zeros(ys.shape[2:]))
    return np.stack(rows)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("with_resets", [False, True])
def test_equals_the_definition(readout, with_resets):
    generator = np.random.default_rng(0)
    ys = generator.normal(size=(6, 8, 2)).astype(np.float32)
    mask = generator.random((6, 8)) < 0.6
    mask[:, 0] = False
    resets = (generator.random((6, 8)) < 0.3) & with_resets
    got = readout(ys, mask=mask, resets=resets if with_resets else None)
    expected = reference(READOUTS[readout], ys, mask, resets)
    chex.assert_trees_all_close(got, expected.astype(np.float32), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("readout", READOUTS)
def test_lengths_are_a_mask_and_nan_padding_reaches_no_gradient(readout):
    ys = jax.random.normal(jax.random.key(0), (3, 2, 2))
    lengths = jnp.array([2, 0])
    mask = jnp.arange(3)[:, None] < lengths[None]
    dirty = jnp.where(mask[..., None], ys, jnp.nan)
    value, grad = jax.value_and_grad(
        lambda ys: jnp.sum(readout(ys, lengths=lengths) ** 2)
    )(dirty)
    assert np.isfinite(value)
    chex.assert_tree_all_finite(grad)
    assert not np.any(grad[~mask])
    assert not np.any(readout(dirty, mask=mask)[1])
    chex.assert_trees_all_close(
        readout(dirty, lengths=lengths), readout(ys, mask=mask), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("readout", READOUTS)
def test_plain_unbatched_and_empty(readout):
    ys = jnp.arange(6.0).reshape(3, 2)
    chex.assert_trees_all_close(
        readout(ys), READOUTS[readout](np.asarray(ys)), rtol=1e-5, atol=1e-6
    )
    chex.assert_trees_all_close(readout(ys, lengths=1), ys[0], rtol=1e-5, atol=1e-6)
    assert readout(jnp.ones((0, 4, 2)), lengths=jnp.zeros(4, int)).shape == (4, 2)
    assert not np.any(readout(jnp.ones((0, 4, 2))))
    assert readout(jnp.ones((3, 0, 2)), mask=jnp.ones((3, 0), bool)).shape == (0, 2)


def test_resets_at_masked_steps_do_nothing():
    ys = jnp.arange(4.0)[:, None]
    mask = jnp.array([True, True, False, False])
    resets = jnp.array([False, False, True, False])
    assert rnnjax.mean_pool(ys, mask=mask, resets=resets).item() == 0.5


def test_bad_arguments():
    ys = jnp.ones((3, 2, 4))
    with pytest.raises(ValueError, match="expected one of them at most"):
        rnnjax.last_step(ys, mask=jnp.ones((3, 2), bool), lengths=jnp.ones(2, int))
    with pytest.raises(ValueError, match="mask: expected shape"):
        rnnjax.max_pool(ys, mask=jnp.ones((2, 2), bool))
    with pytest.raises(TypeError, match="resets: expected bool"):
        rnnjax.mean_pool(ys, resets=jnp.ones((3, 2)))
