"""What --distributed does in one process: the same batches, split over its devices."""

import json
import runpy
import sys

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from examples.common import distributed
from examples.common.buckets import Buckets
from examples.common.errors import InputError
from examples.common.results import set_aside
from rnnjax import sharding, training
from rnnjax.training import TrainState
from tests.examples import small_runs

BATCHES = [
    {"inputs": np.full((3, 8, 2), k, "float32"), "lengths": np.arange(8)}
    for k in range(2)
]
STATE = TrainState({"kernel": np.ones(3)}, (), (np.zeros((8, 4)),), np.int32(0))


def shards(leaf):
    return leaf.addressable_shards[0].data.shape


def test_state_and_batches_are_spread_over_the_devices():
    spread = distributed.Spread(8)
    state, batches = spread.state(STATE), spread.data(BATCHES)
    assert state.carry[0].sharding.spec == P("data")
    assert len(batches) == 2
    batch = batches[1]
    assert shards(batch["inputs"]) == (3, 1, 2) and shards(batch["lengths"]) == (1,)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(batch), BATCHES[1])


def test_all_forms_of_data_keep_their_form():
    spread = distributed.Spread(8)

    class Endless:
        def __getitem__(self, k):
            return BATCHES[k % 2]

    endless = spread.data(Endless())
    assert not hasattr(endless, "__len__") and shards(endless[9]["lengths"]) == (1,)
    buckets = Buckets(np.ones(16), 8, lambda rows, shape: {"x": rows}, count=1)
    epoch = spread.data(buckets)(3)
    assert len(epoch) == 2
    for k in range(2):
        np.testing.assert_array_equal(epoch[k]["x"], buckets(3)[k]["x"])
        assert shards(epoch[k]["x"]) == (1,)
    passed = spread.data(lambda epoch: iter(BATCHES[epoch:]))(1)
    assert [int(batch["inputs"][0, 0, 0]) for batch in passed] == [1]


def test_rows_are_where_they_are_said_to_be():
    batch = {
        "images": np.zeros((8, 4, 4)),
        "characters": np.zeros((5, 3, 8)),
        "words": np.zeros((3, 8)),
        "step": np.int32(7),
    }
    axes = {"images": 0, "characters": 2}
    split = distributed.Spread(8, axes).batch(batch)
    assert shards(split["images"]) == (1, 4, 4)
    assert shards(split["characters"]) == (5, 3, 1)
    assert shards(split["words"]) == (3, 1)
    assert split["step"] == 7
    with pytest.raises(ValueError, match=r"axis 1.*'images': \(8, 4, 4\)"):
        distributed.Spread(8, {"characters": 2}).batch(batch)
    pair = distributed.Spread(8, {"0": 0}).batch((np.zeros((8, 3)), np.zeros(8)))
    assert [shards(leaf) for leaf in pair] == [(1, 3), (1,)]


def test_a_smaller_batch_is_whole_where_the_devices_do_not_divide_it():
    spread = distributed.Spread(16)
    assert shards(spread.batch(BATCHES[0])["lengths"]) == (1,)
    rest = {"lengths": np.arange(6)}
    assert spread.batch(rest) is rest


def test_units_are_counted_in_whole_batches_of_the_host():
    spread = distributed.Spread(8)
    seen = []
    units = spread.units({"rows": lambda batch: seen.append(batch) or 8})
    split = spread.batch(BATCHES[1])
    assert units["rows"](split) == 8 and seen[0] is BATCHES[1]


def test_validation_is_of_this_process_and_exact():
    params = distributed.Spread(8).state(STATE).params

    def validate(params):
        assert params["kernel"].devices() == {jax.devices()[0]}
        return {"loss": 1 / 3, "count": np.float32(params["kernel"].sum())}

    assert distributed.agreed(validate)(params) == {"loss": 1 / 3, "count": 3.0}


def test_what_the_devices_do_not_divide_is_named():
    with pytest.raises(InputError, match="--distributed: batch_size: .*of 8.*got 6"):
        distributed.Spread(6)


def test_an_earlier_run_is_set_aside_by_the_first_process_alone(tmp_path, monkeypatch):
    output = tmp_path / "out"
    set_aside(output)
    (output / "result.json").touch()
    monkeypatch.setattr(distributed, "is_first", lambda: False)
    set_aside(output)
    assert (output / "result.json").exists()
    monkeypatch.undo()
    set_aside(output)
    assert (tmp_path / "out.1" / "result.json").exists() and output.is_dir()


# --- Every example that trains --------------------------------------------------------


@pytest.mark.parametrize("name", small_runs.NAMES)
def test_every_example_joins_the_others_first(name, monkeypatch, tmp_path):
    """None of them is there, and nothing was begun."""
    output = tmp_path / "out"
    words = [name, "--distributed", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.delitem(sys.modules, f"examples.{name}.__main__", raising=False)
    with pytest.raises(SystemExit, match="--distributed: .*JAX_COORDINATOR_ADDRESS"):
        runpy.run_module(f"examples.{name}", run_name="__main__", alter_sys=False)
    assert not output.exists()


class Reached(Exception):
    """A batch came to the devices."""


@pytest.mark.parametrize("name", small_runs.NAMES)
def test_every_example_splits_its_batches(name, monkeypatch, tmp_path):
    """Two devices of this process stand for those of two.

    Nor is the option in the checkpoints: a run goes on with it or without.
    """
    kept = []

    class Checkpoints(training.Checkpoints):
        def __init__(self, *arguments, config, **options):
            kept.append(json.dumps(config))
            super().__init__(*arguments, config=config, **options)

    monkeypatch.setattr(training, "Checkpoints", Checkpoints)
    mesh = sharding.mesh("data=2")
    monkeypatch.setattr(sharding, "initialize", lambda: None)
    monkeypatch.setattr(sharding, "mesh", lambda spec: mesh)
    real = distributed.Spread.batch

    def batch(self, whole):
        split = real(self, whole)
        if split is whole:  # A small bucket; the next batch is another one.
            return whole
        for before, after in zip(
            jax.tree.leaves(whole), jax.tree.leaves(split), strict=True
        ):
            assert not before.ndim or 2 * np.prod(shards(after)) == before.size
        raise Reached

    monkeypatch.setattr(distributed.Spread, "batch", batch)
    options = small_runs.options(name, tmp_path)
    with pytest.raises(Reached):
        small_runs.run(name, [*options, "--output", str(tmp_path), "--distributed"])
    assert "distributed" not in "".join(kept)
    assert len(kept) == (name != "memory_tasks")
