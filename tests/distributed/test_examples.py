"""Every example that trains, as a command on two processes: gloo on loopback."""

import json
import shutil

import pytest

from rnnjax import training
from tests.distributed.launching import launch, logs
from tests.examples import small_runs

# The others are slow: half a minute and more each.
QUICK = {"memory_tasks"}
# Of time and place, and what is only words.
UNEQUAL = (
    "seconds training_seconds seconds_in_all load_average machine config command rows"
).split()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)
        for name in small_runs.NAMES
    ],
)
def test_two_processes_end_as_one_and_one_goes_on(name, tmp_path):
    options = small_runs.options(name, tmp_path)
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    small_runs.run(name, [*options, "--output", str(alone)])
    command = [f"examples.{name}", *options, "--output", shared, "--distributed"]
    assert launch(2, tmp_path, *command) == [0, 0], logs(tmp_path)
    assert files(shared) == files(alone)
    assert_equal(found(shared), found(alone))
    machine = found(shared)["result.json"]["machine"]
    assert machine.startswith("2 processes, each ")

    # As if killed before the last save, and gone on with by one process.
    for folder in [*shared.rglob("checkpoints"), shared / "checkpoints" / "chosen"]:
        steps = training.Checkpoints(folder).steps()
        if len(steps) > 1:
            shutil.rmtree(folder / str(steps[-1]))
    again = ["--resume"]
    if name in ("memory_tasks", "pixel_mnist"):  # These go on by themselves.
        again = []
        for path in shared.rglob("checkpoints"):
            (path.parent / "result.json").unlink()
    small_runs.run(name, [*options, "--output", str(shared), *again])
    assert_equal(found(shared), found(alone))


def files(output):
    """All that a run leaves, but for what is in checkpoints."""
    paths = {path.relative_to(output) for path in output.rglob("*") if path.is_file()}
    return {path for path in paths if "checkpoints" not in path.parts}


def found(output):
    """The results and the records of a run, by file."""
    read = {".json": lambda path: json.loads(path.read_text())}
    read[".jsonl"] = training.read_metrics
    return {
        str(path): read[path.suffix](output / path)
        for path in files(output)
        if path.suffix in read
    }


def assert_equal(got, expected, place=""):
    """Trees of JSON: numbers to 1e-4, all else exactly."""
    if isinstance(expected, dict):
        assert got.keys() == expected.keys(), place
        for name in expected:
            if name not in UNEQUAL and not str(name).endswith("_per_second"):
                assert_equal(got[name], expected[name], f"{place}/{name}")
    elif isinstance(expected, list):
        assert len(got) == len(expected), place
        for i, pair in enumerate(zip(got, expected, strict=True)):
            assert_equal(*pair, f"{place}/{i}")
    elif isinstance(expected, float):
        assert got == pytest.approx(expected, rel=1e-4, abs=1e-6), place
    else:
        assert got == expected, place
