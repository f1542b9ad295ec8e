"""Which randomness each layer of a stack gets: its own, and another at every step."""

import jax
import jax.numpy as jnp
import numpy as np

import rnnjax

T, B, F = 4, 3, 50
XS, KEY = jnp.ones((T, B, F)), jax.random.key(0)


def test_each_layer_uses_the_key_with_its_index_folded_in():
    layers = [rnnjax.dropout(0.5), rnnjax.dropout(0.5, variational=True)]
    stack = rnnjax.stack(*layers)
    params = stack.init(KEY, XS[0])
    _, ys = stack.unroll(params, None, XS, key=KEY)
    keys, by_hand = rnnjax.step_keys(KEY, T), XS
    for i, layer in enumerate(layers):
        _, by_hand = layer.unroll({}, None, by_hand, key=keys.fold_in(i))
    np.testing.assert_array_equal(ys, by_hand)


def test_layers_draw_different_masks():
    """Equal masks would keep half of the features, different ones a quarter."""
    stack = rnnjax.stack(rnnjax.dropout(0.5), rnnjax.dropout(0.5))
    _, ys = stack.unroll(stack.init(KEY, XS[0]), None, XS, key=KEY)
    assert 0.15 < np.mean(np.asarray(ys) != 0) < 0.35


def test_steps_and_examples_draw_different_masks_and_a_sequence_can_share_one():
    _, each = rnnjax.dropout(0.5).unroll({}, None, XS, key=KEY)
    _, shared = rnnjax.dropout(0.5, variational=True).unroll({}, None, XS, key=KEY)
    assert len({row.tobytes() for row in np.asarray(each).reshape(-1, F)}) == T * B
    assert (shared == shared[:1]).all()
    assert len({row.tobytes() for row in np.asarray(shared[0])}) == B
