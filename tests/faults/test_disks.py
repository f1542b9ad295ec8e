"""Damaged checkpoints, full and read-only disks."""

import contextlib
import os
import resource
import shutil
import subprocess

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import training
from tests.faults import trainer

# When a write fails, Orbax leaves other writes to an event loop that it closes.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)
LIKE = {"a": jnp.zeros((40, 40)), "b": jnp.zeros(3, jnp.int32)}


def state(step):
    return {"a": jnp.full((40, 40), 1.0 * step), "b": jnp.arange(3) + step}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints of the steps 1 and 2."""
    folder = tmp_path_factory.mktemp("saved")
    with training.Checkpoints(folder) as checkpoints:
        for step in (1, 2):
            checkpoints.save(state(step), {"step": step}, step=step)
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flip(path):
    content = bytearray(path.read_bytes() or b"0")
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2]) if content else path.unlink()


@pytest.mark.parametrize(
    "damage",
    [flip, truncate, lambda path: path.unlink()],
    ids=["flipped", "truncated", "missing"],
)
def test_damage_to_any_file_is_found(saved, tmp_path, damage):
    """Each file in turn; the checkpoint before is used, and both are named."""
    names = [path.relative_to(saved / "2") for path in files(saved / "2")]
    assert len(names) > 10
    for number, name in enumerate(names):
        copy = shutil.copytree(saved, tmp_path / str(number))
        target = copy / "2" / name
        damage(target)
        checkpoints = training.Checkpoints(copy)
        with pytest.warns(UserWarning, match=r"/2 \(.*\): using .*/1\."):
            assert checkpoints._choose("newest") == 1


def test_the_checkpoint_before_a_damaged_one_is_restored(copy):
    flip(max(files(copy / "2" / "state"), key=lambda path: path.stat().st_size))
    checkpoints = training.Checkpoints(copy)
    with pytest.warns(UserWarning) as warned:
        restored = checkpoints.restore(LIKE)
    (message,) = [str(w.message) for w in warned]
    assert f"{copy}/2 (state/" in message and "is not as it was written" in message
    assert f"using the one before it, {copy}/1." in message
    assert restored.step == 1
    chex.assert_trees_all_equal(restored.state, state(1))
    with pytest.raises(training.CheckpointError, match=r"/2 is damaged.*are \[1\]"):
        checkpoints.restore(LIKE, 2)
    flip(files(copy / "1" / "state")[0])
    with pytest.raises(training.CheckpointError, match="only damaged ones: .*/2.*/1"):
        checkpoints.restore(LIKE)


def test_a_run_goes_on_from_before_the_damage_to_the_same_end(tmp_path):
    whole = trainer.train(tmp_path / "whole", 9)
    trainer.train(tmp_path / "part", 6)
    checkpoints = tmp_path / "part" / "checkpoints"
    newest = checkpoints / "6"
    truncate(max(files(newest), key=lambda path: path.stat().st_size))
    with pytest.warns(UserWarning, match="/6 .*using .*/4"):
        fitted = trainer.train(tmp_path / "part", 9)
    chex.assert_trees_all_equal(*(trainer.leaves(f.state) for f in (fitted, whole)))
    strip = lambda r: r | {"seconds": 0}  # noqa: E731
    assert [*map(strip, fitted.history)] == [*map(strip, whole.history)]


@contextlib.contextmanager
def small_files():
    """No file may grow beyond 2 kB: a disk that is full, for those who are not root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def mount(folder, *options):
    """A disk of its own at ``folder``, where this process may mount one."""
    program = shutil.which("mount")
    command = [program, "-t", "tmpfs", *options, "tmpfs", str(folder)]
    done = program and subprocess.run(command, capture_output=True, text=True)
    if not done or done.returncode:
        pytest.skip(f"cannot mount a small disk here: {done and done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path):
    """A disk of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "-o", "size=256k")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def random_state(size, step):
    values = np.random.default_rng(step).normal(size=size).astype(np.float32)
    return {"a": jnp.asarray(values)}  # noise, which cannot be compressed


def test_a_file_that_cannot_grow(tmp_path):
    with training.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(random_state(5000, 1), step=1)
        checkpoints.wait()
        with small_files(), pytest.raises(training.CheckpointError) as error:
            checkpoints.save(random_state(5000, 2), step=2)
            checkpoints.wait()
        message = str(error.value)
        assert f"checkpoint of step 2 to {tmp_path}" in message
        assert "(the newest is that of step 1) are intact" in message
        assert checkpoints.steps() == [1]
        assert [path.name for path in tmp_path.iterdir()] == ["1"]
        # The same object goes on when there is room again.
        checkpoints.save(random_state(5000, 2), step=2)
        checkpoints.wait()
        restored = checkpoints.restore(random_state(5000, 0))
        chex.assert_trees_all_equal(restored.state, random_state(5000, 2))


def test_a_full_disk(disk):
    with training.Checkpoints(disk / "checkpoints") as checkpoints:
        checkpoints.save(random_state(10_000, 1), step=1)
        checkpoints.wait()
        big = random_state(100_000, 2)
        with pytest.raises(training.CheckpointError, match="step 2(.|\n)*space|full"):
            checkpoints.save(big, step=2)
            checkpoints.wait()
        np.testing.assert_array_equal(big["a"], random_state(100_000, 2)["a"])
        assert checkpoints.steps() == [1]
        restored = checkpoints.restore(random_state(10_000, 0))
        chex.assert_trees_all_equal(restored.state, random_state(10_000, 1))


def test_fit_on_a_full_disk_gives_the_state_back(tmp_path):
    whole = trainer.train(tmp_path / "whole", 6)
    folder = tmp_path / "part"
    trainer.train(folder, 4)
    limits = contextlib.ExitStack()

    def fill(record):
        if record["step"] == 6:
            limits.enter_context(small_files())

    with limits, pytest.raises(training.CheckpointError) as error:
        fit_logging(folder, 6, fill)
    chex.assert_trees_all_equal(
        trainer.leaves(error.value.state), trainer.leaves(whole.state)
    )
    checkpoints = training.Checkpoints(folder / "checkpoints")
    assert checkpoints.steps()[-1] == 4
    fitted = trainer.train(folder, 6)
    chex.assert_trees_all_equal(*(trainer.leaves(f.state) for f in (fitted, whole)))


def fit_logging(folder, steps, log):
    return training.fit(
        trainer.loss,
        trainer.OPTIMIZER,
        trainer.first_state(),
        trainer.batches,
        key=jax.random.key(3),
        steps=steps,
        step=trainer.STEP,
        log_every=2,
        logs=[log],
        checkpoints=training.Checkpoints(
            folder / "checkpoints", every=2, best="loss", config={"batch": 2}
        ),
        resume=True,
    )


@pytest.fixture
def read_only(tmp_path):
    """A disk with the checkpoints of the steps 1 and 2 that cannot be written to."""
    folder = tmp_path / "read_only"
    folder.mkdir()
    if os.geteuid():
        with training.Checkpoints(folder) as checkpoints:
            checkpoints.save(state(1), step=1)
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)
        return
    mount(folder)
    with training.Checkpoints(folder) as checkpoints:
        checkpoints.save(state(1), step=1)
    remount = ["mount", "-o", "remount,ro", str(folder)]
    subprocess.run(remount, check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_read_only_disk_can_be_read_and_says_that_it_cannot_be_written(read_only):
    with training.Checkpoints(read_only) as checkpoints:
        given = state(2)
        with pytest.raises(training.CheckpointError, match="step 2(.|\n)*writable"):
            checkpoints.save(given, step=2)
            checkpoints.wait()
        chex.assert_trees_all_equal(given, state(2))
        chex.assert_trees_all_equal(checkpoints.restore(LIKE).state, state(1))


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with training.Checkpoints(tmp_path / "file" / "checkpoints") as checkpoints:
        with pytest.raises(training.CheckpointError, match=r"\(none yet\) are intact"):
            checkpoints.save(state(1), step=1)
