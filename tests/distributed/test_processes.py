"""Several processes on loopback train as one: gloo, JAX's own runtime, Orbax."""

import shutil

import jax
import numpy as np
import pytest

from rnnjax import sharding, training
from tests.distributed import worker
from tests.distributed.launching import launch, logs
from tests.sharding.programs import assert_close

WORKER = "tests.distributed.worker"
STEPS = 6


def result(folder):
    with np.load(folder / "result.npz") as found:
        return dict(found)


def alone(steps=STEPS):
    """The same training on one device of this process."""
    fitted = worker.train(sharding.mesh("data=1"), steps)
    leaves = jax.tree.leaves(jax.device_get(fitted.state.params))
    losses = np.array([record["loss"] for record in fitted.history])
    return {f"arr_{i}": leaf for i, leaf in enumerate(leaves)} | {"losses": losses}


def test_two_processes_train_as_one_and_others_go_on(tmp_path):
    codes = launch(2, tmp_path, WORKER, tmp_path)
    assert codes == [0, 0], logs(tmp_path)
    expected, got = alone(), result(tmp_path)
    assert_close(got, expected)
    # What two processes saved is restored on the 8 devices of this one.
    mesh = sharding.mesh("data=8")
    like = worker.problem(mesh)[2]
    with training.Checkpoints(tmp_path / "checkpoints") as checkpoints:
        state = checkpoints.restore(like).state
    for leaf, where in zip(jax.tree.leaves(state), jax.tree.leaves(like), strict=True):
        assert leaf.sharding == where.sharding
    for i, leaf in enumerate(jax.tree.leaves(state.params)):
        np.testing.assert_array_equal(leaf, got[f"arr_{i}"])
    assert state.carry[0].h.addressable_shards[0].data.shape == (1, worker.H)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "devices"), [(2, 1), (4, 1), (2, 2)], ids=["2x1", "4x1", "2x2"]
)
def test_one_is_killed_and_all_are_started_again(tmp_path, count, devices):
    """It ends bit by bit as the run that was never stopped; on fewer, close to it."""

    def run(folder, count, devices, *options):
        folder.mkdir(exist_ok=True)
        return launch(count, folder, WORKER, folder, *options, devices=devices)

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(whole, count, devices) == [0] * count, logs(whole)
    assert run(killed, count, devices, "--signal", "SIGKILL")[-1] == -9, logs(killed)
    assert not (killed / "result.npz").exists()
    assert training.Checkpoints(killed / "checkpoints").steps()
    if count * devices > 2:
        for fewer in (1, 2):
            folder = shutil.copytree(killed, tmp_path / f"on {fewer}")
            assert run(folder, fewer, 1) == [0] * fewer, logs(folder)
            assert_close(result(folder), alone())
    assert run(killed, count, devices) == [0] * count, logs(killed)
    got = result(killed)
    jax.tree.map(np.testing.assert_array_equal, got, result(whole))
    assert_close(got, alone())


@pytest.mark.slow
def test_one_is_told_to_end_and_all_save_and_end(tmp_path):
    """JAX passes SIGTERM on: all end after the same step, with status 0."""
    folder = tmp_path / "told"
    folder.mkdir()
    command = WORKER, folder, "--steps", 40
    assert launch(2, folder, *command, "--signal", "SIGTERM") == [0, 0], logs(folder)
    assert not (folder / "result.npz").exists()
    checkpoints = training.Checkpoints(folder / "checkpoints")
    assert 5 < checkpoints.steps()[-1] < 40
    assert launch(2, folder, *command) == [0, 0], logs(folder)
    assert_close(result(folder), alone(40))


@pytest.mark.slow
def test_a_process_may_be_late(tmp_path):
    """Later for the first step than Gloo waits for devices that never met before."""
    arguments = WORKER, tmp_path, "--steps", 1, "--late", 40
    assert launch(2, tmp_path, *arguments, devices=2) == [0, 0], logs(tmp_path)


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with pytest.raises(RuntimeError, match="JAX_NUM_PROCESSES: expected a number"):
        sharding.initialize()
    monkeypatch.delenv("JAX_NUM_PROCESSES")
    with pytest.raises(RuntimeError, match="set JAX_COORDINATOR_ADDRESS=host:port"):
        sharding.initialize()
