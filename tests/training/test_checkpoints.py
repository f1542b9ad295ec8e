"""Checkpoints on their own: what is written, kept, checked and refused."""

import json
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rnnjax import training


@pytest.fixture(scope="module")
def state():
    """One leaf of every kind that a carry or an optimiser may have."""
    params = {"0": {"kernel": jnp.arange(6.0).reshape(2, 3)}, "1": {}}
    leaves = {
        "complex": jnp.asarray([1 + 2j, -0.5j], jnp.complex64),
        "half": jnp.asarray([1.5, -2.25], jnp.bfloat16),
        "flags": jnp.asarray([True, False]),
        "count": jnp.asarray(3, jnp.int32),
        "key": jax.random.key(5),
        "keys": jax.random.split(jax.random.key(6), 2),
        "empty": jnp.zeros((0, 3)),
        "none": None,
    }
    opt_state = optax.adam(1e-3).init(params)
    return training.TrainState(params, opt_state, (leaves, ()), jnp.asarray(7))


def values(tree):
    def value(leaf):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf)

    return jax.tree.map(value, tree)


def assert_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(*map(jax.tree.leaves, (values(a), values(b))), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def test_leaves_of_every_kind_come_back(state, tmp_path):
    with training.Checkpoints(tmp_path / "a" / "b", config={"x": [1]}) as checkpoints:
        assert checkpoints.steps() == []
        checkpoints.save(state, {"anything": [1, {"nan": float("inf")}]})
        checkpoints.wait()
        assert checkpoints.steps() == [7]
        restored = checkpoints.restore(state)
    assert_equal(restored.state, state)
    assert restored.step == 7
    assert restored.record == {"anything": [1, {"nan": float("inf")}]}
    assert restored.config == {"x": [1]}
    assert checkpoints.config_of() == {"x": [1]}


def test_the_state_that_is_saved_is_that_of_the_call(tmp_path):
    """The step after gives the memory of the state away."""
    donating = jax.jit(
        lambda state: jax.tree.map(lambda a: a * 0 - 1, state), donate_argnums=0
    )
    state = {"a": jnp.ones((500, 500)), "b": jnp.ones(3)}
    with training.Checkpoints(tmp_path, keep=4) as checkpoints:
        for step in range(4):
            checkpoints.save(state, step=step)
            state = donating(state)
            state = donating(state)
        for step in range(4):
            saved = checkpoints.restore(state, step).state
            expected = 1 if step == 0 else -1
            assert (np.asarray(saved["a"]) == expected).all()


def test_the_newest_and_the_best_are_kept(tmp_path):
    def save(checkpoints, step, metrics):
        checkpoints.save({"a": jnp.asarray(step)}, {"metrics": metrics}, step=step)

    with training.Checkpoints(tmp_path, keep=2, best="m", mode="max") as checkpoints:
        save(checkpoints, 1, {})
        with pytest.raises(FileNotFoundError, match="metric 'm'"):
            checkpoints.restore({"a": 0}, "best")
        for step, value in ((2, 0.5), (3, 0.9), (4, 0.9), (5, float("nan")), (6, 0.1)):
            save(checkpoints, step, {"m": value, "other": -step})
        checkpoints.wait()
        assert checkpoints.steps() == [3, 5, 6]
        assert checkpoints.best_step() == 3
    # Another process reads the metrics from the disk.
    with training.Checkpoints(tmp_path, best="other", mode="min") as checkpoints:
        assert checkpoints.best_step() == 6
        assert int(checkpoints.restore({"a": jnp.asarray(0)}, "best").state["a"]) == 6
    with pytest.raises(ValueError, match="best: expected the name"):
        training.Checkpoints(tmp_path).best_step()


def test_a_step_saved_again_is_replaced_and_later_ones_discarded(tmp_path):
    with training.Checkpoints(tmp_path, keep=3) as checkpoints:
        for step, value in ((1, 1), (2, 2), (2, 5), (3, 3)):
            checkpoints.save({"a": jnp.asarray(value)}, step=step)
        assert int(checkpoints.restore({"a": jnp.asarray(0)}, 2).state["a"]) == 5
        checkpoints.discard_after(1)
        assert checkpoints.steps() == [1]
        assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_what_a_killed_save_left_is_removed_and_never_taken(tmp_path):
    for name in ("9.new/state.orbax-checkpoint-tmp", "7.new", "8.deleted/state"):
        (tmp_path / name).mkdir(parents=True)
    with training.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == []
        checkpoints.save({"a": jnp.asarray(1)}, step=9)
    assert [path.name for path in tmp_path.iterdir()] == ["9"]


def test_all_differences_are_listed(tmp_path):
    state = {"a": jnp.zeros(2), "b": jnp.zeros(3)}
    config = {"hidden_size": 3, "cell": {"name": "lstm"}, "gone": 1}
    with training.Checkpoints(tmp_path, config=config) as checkpoints:
        checkpoints.save(state, step=1)
    other = {"hidden_size": 4, "cell": {"name": "gru"}, "new": None}
    checkpoints = training.Checkpoints(tmp_path, config=other)
    with pytest.raises(training.CheckpointMismatch) as error:
        checkpoints.restore({"a": jnp.zeros(2, jnp.int32), "c": jnp.zeros(3)})
    assert error.value.differences == [
        "hidden_size: was 3, is 4",
        "cell.name: was 'lstm', is 'gru'",
        "gone: was 1, is absent",
        "new: was absent, is None",
        "a: was 'float32[2]', is 'int32[2]'",
        "b: was 'float32[3]', is absent",
        "c: was absent, is 'float32[3]'",
    ]
    for line in error.value.differences:
        assert line in str(error.value)


def test_other_versions_are_refused_unless_accepted(tmp_path, monkeypatch):
    state = {"a": jnp.zeros(2)}
    with training.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, step=1)
    now = training._checkpoints.versions() | {"jax": "99.0", "rnnjax": "7"}
    monkeypatch.setattr("rnnjax.training._checkpoints.versions", lambda: now)
    with pytest.raises(training.CheckpointMismatch) as error:
        training.Checkpoints(tmp_path).restore(state)
    first, second = error.value.differences
    assert first.startswith("version of rnnjax: was ")
    assert second.startswith("version of jax: was ") and second.endswith("is '99.0'")
    training.Checkpoints(tmp_path, accept_versions=True).restore(state)
    monkeypatch.setattr("rnnjax.training._checkpoints.FORMAT", 2)
    with pytest.raises(training.CheckpointMismatch, match="format: was 1, is 2"):
        training.Checkpoints(tmp_path, accept_versions=True).restore(state)


def test_nothing_in_a_checkpoint_is_a_pickle(state, tmp_path):
    with training.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, {"a": 1})
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"SHA256SUMS", "manifest.ocdbt"} <= names
    assert not any(path.suffix in (".pkl", ".pickle", ".npy") for path in files)
    assert not any(
        path.read_bytes()[:2] in (b"\x80\x04", b"\x80\x05") for path in files
    )
    record = json.loads((tmp_path / "7" / "record.json").read_text())
    assert record["record"] == {"a": 1}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"keep": 1}, ValueError, "keep: expected 2 or more"),
        ({"every": 0}, ValueError, "every: expected a positive integer"),
        ({"mode": "low"}, ValueError, "mode: expected 'min' or 'max', got 'low'"),
        ({"config": {"a": {1}}}, TypeError, "config: expected what JSON can hold"),
    ],
)
def test_wrong_options(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        training.Checkpoints(tmp_path, **options)


def test_wrong_steps(tmp_path):
    with training.Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(FileNotFoundError, match="expected a checkpoint in .* none"):
            checkpoints.restore({})
        checkpoints.save({"a": jnp.zeros(2)}, step=3)
        checkpoints.wait()
        with pytest.raises(FileNotFoundError, match=r"one of \[3\] in .*, got 4"):
            checkpoints.restore({"a": jnp.zeros(2)}, 4)
        with pytest.raises(TypeError, match="record: expected what JSON can hold"):
            checkpoints.save({"a": jnp.zeros(2)}, {"a": jnp.zeros(2)}, step=4)


def test_checksums_are_those_of_the_program(tmp_path):
    program = shutil.which("sha256sum")
    if program is None:
        pytest.skip("there is no program sha256sum here")
    with training.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save({"a": jnp.zeros(2)}, step=3)
    command = [program, "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(command, cwd=tmp_path / "3", capture_output=True)
    assert done.returncode == 0, done.stderr
