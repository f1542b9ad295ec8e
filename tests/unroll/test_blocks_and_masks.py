"""The small parts of the engine: blocks of steps, flags, lengths."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
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


def delay_line():
    """A cell whose output is its input of two steps ago."""

    def recur(w, carry, u):
        last, before_last = carry
        return (u * w, last), before_last

    return rnnjax.Cell(
        init=lambda key, x: {"input": {}, "recurrent": jnp.ones(())},
        initial_carry=lambda params, batch=(): (jnp.zeros((*batch, 3)),) * 2,
        project=lambda params, x, key=None: x,
        recur=recur,
    )


@pytest.mark.parametrize("block", [None, 2])
@pytest.mark.parametrize("wrap", [lambda r: r, rnnjax.with_carries])
def test_the_first_carry_takes_the_type_of_the_loop_in_shard_map(wrap, block):
    """Also where the type moves on one place a step, and where blocks are scanned."""
    rnn = wrap(rnnjax.layer(delay_line(), rnnjax.Schedule(block=block)))
    spec = jax.sharding.PartitionSpec(None, "data")
    mesh = jax.make_mesh((2,), ("data",), (jax.sharding.AxisType.Auto,))
    xs = jnp.arange(30.0).reshape(5, 2, 3)

    @jax.jit
    @partial(jax.shard_map, mesh=mesh, in_specs=spec, out_specs=spec)
    def run(xs):
        ys = rnn.unroll({"input": {}, "recurrent": jnp.ones(())}, None, xs)[1]
        return jax.tree.leaves(ys)[0]

    assert np.array_equal(run(xs)[2:], xs[:-2])


def test_blocks_under_explicit_sharding():
    rnn = rnnjax.simple(2, schedule=rnnjax.Schedule(block=2))
    xs = jnp.ones((5, 2, 3))
    params = rnn.init(jax.random.key(0), xs[0])
    mesh = jax.make_mesh((2,), ("data",), (jax.sharding.AxisType.Explicit,))
    spec = jax.sharding.PartitionSpec(None, "data")
    expected = rnn.unroll(params, None, xs)[1]
    with jax.set_mesh(mesh):
        sharded = jax.device_put(xs, jax.NamedSharding(mesh, spec))
        ys = jax.jit(lambda xs: rnn.unroll(params, None, xs)[1])(sharded)
    assert np.allclose(ys, expected, atol=1e-6)
