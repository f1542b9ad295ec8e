"""Where arrays are put, and the errors where they do not fit."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import rnnjax
from rnnjax import sharding


@pytest.fixture(scope="module")
def mesh():
    return sharding.mesh("data=4,model=2")


class State(NamedTuple):
    params: Any
    moments: Any
    carry: Any


def specs(tree):
    return jax.tree.map(lambda leaf: leaf.sharding.spec, tree)


def test_replicated_leaves_are_whole_everywhere(mesh):
    (leaf,) = sharding.replicate([np.arange(3.0)], mesh)
    assert len(leaf.addressable_shards) == 8
    assert all(shard.data.shape == (3,) for shard in leaf.addressable_shards)


def test_a_batch_is_split_by_rows(mesh):
    batch = {"xs": np.zeros((5, 8, 3)), "lengths": np.zeros(8, int)}
    xs = sharding.shard_batch(batch["xs"], mesh)
    assert xs.addressable_shards[0].data.shape == (5, 2, 3)
    lengths = sharding.shard_batch(batch["lengths"], mesh, rows=0)
    assert lengths.sharding.spec == P("data")


def test_one_process_reads_all_rows(mesh):
    assert sharding.process_rows(8, mesh).tolist() == list(range(8))


def test_a_state_is_placed_by_rule_and_its_carry_by_rows(mesh):
    params = rnnjax.lstm(8).init(jax.random.key(0), jnp.ones(3))
    params = {"0": sharding.split_gates(params, 8), "1": {"kernel": jnp.ones((8, 5))}}
    moments = jax.tree.map(jnp.zeros_like, params)
    state = State(params, (moments, jnp.int32(0)), (jnp.zeros((4, 8)),))
    state = sharding.shard_state(state, mesh, rule=sharding.units("model"))
    expected = {
        "0": {
            "input": {"kernel": P(None, None, "model"), "bias": P(None, "model")},
            "recurrent": {"kernel": P(None, None, "model")},
        },
        "1": {"kernel": P()},
    }
    assert specs(state.params) == expected
    assert specs(state.moments) == (expected, P())
    assert specs(state.carry) == (P("data"),)
    whole = sharding.shard_state(state, mesh, None)
    assert specs(whole.params)["0"]["recurrent"]["kernel"] == P()


def test_no_carry_is_no_carry(mesh):
    assert sharding.shard_state(State({}, {}, None), mesh).carry is None


def test_parameters_are_made_in_pieces(mesh):
    """As those must be that no device has the memory for."""
    rnn = sharding.tensor_parallel(rnnjax.cells.gru, 8, mesh=mesh)
    x = jnp.ones(3)
    shapes = jax.eval_shape(rnn.init, jax.random.key(0), x)
    where = sharding.shardings(shapes, mesh, sharding.units("model"))
    params = jax.jit(rnn.init, out_shardings=where)(jax.random.key(0), x)
    kernel = params["recurrent"]["kernel"]
    assert kernel.addressable_shards[0].data.shape == (8, 3, 4)
    alone = rnnjax.gru(8).init(jax.random.key(0), x)
    merged = sharding.merge_gates(params)["recurrent"]["kernel"]
    np.testing.assert_allclose(merged, alone["recurrent"]["kernel"], atol=1e-6)


def test_what_does_not_fit_is_named(mesh):
    with pytest.raises(ValueError, match="batch: expected a multiple of 4.*got 6"):
        sharding.shard_batch(np.zeros((5, 6)), mesh)
    with pytest.raises(ValueError, match="rows on axis 1, got shape"):
        sharding.shard_batch(np.zeros(6), mesh)
    with pytest.raises(ValueError, match="one of .*data.*got 'rows'"):
        sharding.shard_batch(np.zeros((5, 8)), mesh, "rows")
    with pytest.raises(ValueError, match="a/kernel: expected a multiple of 2.*got 3"):
        sharding.shard({"a": {"kernel": np.zeros((8, 3))}}, mesh, P(None, "model"))
    with pytest.raises(ValueError, match="a: expected an array with 2 axes"):
        sharding.shard({"a": np.zeros(8)}, mesh, P(None, "model"))
    with pytest.raises(ValueError, match="batch_size: expected a multiple of 4"):
        sharding.process_rows(6, mesh)


def test_gates_are_split_and_merged_again():
    params = rnnjax.gru(4, reset_after=True).init(jax.random.key(0), jnp.ones(3))
    split = sharding.split_gates(params, 4)
    assert split["recurrent"]["bias"].shape == (3, 4)
    again = sharding.merge_gates(sharding.split_gates(split, 4))
    jax.tree.map(np.testing.assert_array_equal, again, params)
    with pytest.raises(ValueError, match=r"\['bias'\].*gates times 5"):
        sharding.split_gates(params, 5)


def test_a_barrier_of_one_process():
    sharding.barrier()
