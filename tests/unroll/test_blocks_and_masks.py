"""The small parts of the engine: blocks of steps, flags, lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax.unroll import canonical_flags, scan_blocks, select, zero_where_masked


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("length", "block"), [(7, 3), (6, 3), (2, 3), (3, 3), (1, 1), (4, 1), (0, 3)]
)
def test_blocks_are_all_steps_in_order(length, block, reverse):
    """A running decimal number: every step, once, in the order of processing."""
    seen = []

    def run(carry, xs):
        seen.append(xs.shape[0])

        def step(carry, x):
            carry = carry * 10 + x
            return carry, carry

        return jax.lax.scan(step, carry, xs, reverse=reverse)

    xs = jnp.arange(1, length + 1)
    carry, ys = scan_blocks(
        run, jnp.array(9), xs, block=block, length=length, reverse=reverse
    )
    expected, number = [], 9
    for x in (xs[::-1] if reverse else xs).tolist():
        number = number * 10 + x
        expected.append(number)
    assert carry == number
    assert ys.tolist() == (expected[::-1] if reverse else expected)
    assert max(seen) <= block


def test_lengths_are_a_mask():
    _, mask = canonical_flags(None, np.array([0, 2, 3]), None, 3, (3,))
    expected = [[False, True, True], [False, True, True], [False, False, True]]
    np.testing.assert_array_equal(mask, expected)
    _, mask = canonical_flags(None, np.array(2), None, 3, ())
    np.testing.assert_array_equal(mask, [True, True, False])


def test_a_reset_at_a_masked_step_is_taken_out():
    flags = np.array([True, True, False, False])
    resets, mask = canonical_flags(flags, None, flags[::-1].copy(), 4, ())
    assert not resets.any()
    resets, _ = canonical_flags(flags, None, None, 4, ())
    np.testing.assert_array_equal(resets, flags)
    assert canonical_flags(None, None, None, 4, ()) == (None, None)


def test_select_over_leading_axes_and_every_kind_of_leaf():
    flags = jnp.array([True, False])
    keys, others = (
        jax.random.split(jax.random.key(0), 2),
        jax.random.split(jax.random.key(1), 2),
    )
    a = {"x": jnp.ones((2, 3)), "n": jnp.array([1, 2]), "key": keys, "none": None}
    b = {"x": jnp.zeros((2, 3)), "n": jnp.array([3, 4]), "key": others, "none": None}
    chosen = select(flags, a, b)
    np.testing.assert_array_equal(chosen["x"], [[1, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(chosen["n"], [1, 4])
    assert chosen["key"][0] == keys[0] and chosen["key"][1] == others[1]
    assert chosen["none"] is None
    assert select(None, a, b) is a


def test_zeros_in_every_dtype_and_keys_kept():
    mask = jnp.array([False, True])
    keys = jax.random.split(jax.random.key(0), 2)
    tree = jnp.full((2, 2), jnp.nan), jnp.array([5, 6]), jnp.array([True, True]), keys
    x, n, flag, kept = zero_where_masked(mask, tree)
    assert np.asarray(x[0]).tolist() == [0, 0] and np.isnan(x[1]).all()
    assert n.tolist() == [0, 6] and flag.tolist() == [False, True]
    assert (kept == keys).all()
