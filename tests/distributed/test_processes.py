"""Several processes on loopback train as one: gloo, JAX's own runtime, Orbax."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from rnnjax import sharding, training
from tests.distributed import worker
from tests.sharding.programs import assert_close

ROOT = Path(__file__).parents[2]
STEPS = 6
SECONDS = 900


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def launch(count, folder, *options, devices=1):
    """The return codes; where one process fails, the others are ended, as SLURM does.

    A fresh port each time: that of a killed coordinator may be taken for a minute.
    """
    port, processes = free_port(), []
    flags = (
        f"--xla_force_host_platform_device_count={devices} "
        f"--xla_backend_optimization_level=0"
    )
    for index in range(count):
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": flags,
            "PYTHONPATH": str(ROOT),
            "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
            "JAX_NUM_PROCESSES": str(count),
            "JAX_PROCESS_ID": str(index),
        }
        command = [sys.executable, "-m", "tests.distributed.worker", str(folder)]
        with (folder / f"{index}.log").open("ab") as log:
            processes.append(
                subprocess.Popen(
                    [*command, *options],
                    env=environment,
                    stdout=log,
                    stderr=log,
                    cwd=ROOT,
                )
            )
    try:
        return wait(processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def wait(processes):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        codes = [process.poll() for process in processes]
        if all(code == 0 for code in codes) or any(codes):
            return codes
        time.sleep(0.1)
    raise TimeoutError(f"After {SECONDS} s: {[p.poll() for p in processes]}")


def logs(folder):
    return "".join(path.read_text()[-3000:] for path in sorted(folder.glob("*.log")))


def result(folder):
    with np.load(folder / "result.npz") as found:
        return dict(found)


def alone():
    """The same training on one device of this process."""
    fitted = worker.train(sharding.mesh("data=1"), STEPS)
    leaves = jax.tree.leaves(jax.device_get(fitted.state.params))
    losses = np.array([record["loss"] for record in fitted.history])
    return {f"arr_{i}": leaf for i, leaf in enumerate(leaves)} | {"losses": losses}


def test_two_processes_train_as_one_and_others_go_on(tmp_path):
    codes = launch(2, tmp_path)
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
@pytest.mark.parametrize(("count", "devices"), [(2, 1), (4, 1), (2, 2)])
def test_one_is_killed_and_all_are_started_again(tmp_path, count, devices):
    """It ends bit by bit as the run that was never stopped."""
    folders = tmp_path / "whole", tmp_path / "killed"
    for folder in folders:
        folder.mkdir()
    whole, killed = folders
    assert launch(count, whole, devices=devices) == [0] * count, logs(whole)
    codes = launch(count, killed, "--die-at", "5", devices=devices)
    assert codes[-1] == -9, logs(killed)
    assert not (killed / "result.npz").exists()
    assert training.Checkpoints(killed / "checkpoints").steps()
    assert launch(count, killed, devices=devices) == [0] * count, logs(killed)
    got, expected = result(killed), result(whole)
    jax.tree.map(np.testing.assert_array_equal, got, expected)
    assert_close(got, alone())


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with pytest.raises(RuntimeError, match="JAX_NUM_PROCESSES: expected a number"):
        sharding.initialize()
    monkeypatch.delenv("JAX_NUM_PROCESSES")
    with pytest.raises(RuntimeError, match="set JAX_COORDINATOR_ADDRESS=host:port"):
        sharding.initialize()
