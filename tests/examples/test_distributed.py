"""What --distributed does in one process: the same batches, split over 8 devices."""

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from examples.common import distributed
from examples.common.errors import InputError
from rnnjax.training import TrainState

BATCHES = [
    {"inputs": np.full((3, 8, 2), k, "float32"), "lengths": np.arange(8)}
    for k in range(2)
]
STATE = TrainState({"kernel": np.ones(3)}, (), (np.zeros((8, 4)),), np.int32(0))


def test_state_and_batches_are_spread_over_the_devices():
    state, batches = distributed.spread(STATE, BATCHES, 8)
    assert state.carry[0].sharding.spec == P("data")
    assert len(batches) == 2
    batch = batches[1]
    assert batch["inputs"].addressable_shards[0].data.shape == (3, 1, 2)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(batch), BATCHES[1])
    assert not distributed.console().quiet and distributed.is_first()


def test_what_the_devices_do_not_divide_is_named(monkeypatch):
    with pytest.raises(InputError, match="--batch-size: .*a multiple of 8.*got 6"):
        distributed.spread(STATE, BATCHES, 6)
    _, batches = distributed.spread(STATE, BATCHES, 16)
    with pytest.raises(InputError, match="--batch-size 16, on axis 1"):
        batches[0]
    with pytest.raises(InputError, match="--distributed: .*JAX_COORDINATOR_ADDRESS"):
        distributed.join()
