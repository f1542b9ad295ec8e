"""What every test runs under: platform, strictness, seeds, float64, tolerances.

`RNNJAX_TEST_PLATFORM=gpu|tpu pytest` runs the tests marked `device` on that device
and nothing else. Without it all tests run on CPU, as 8 emulated devices.
"""

import gc
import importlib.metadata
import os
import random
import sys

PLATFORM = os.environ.get("RNNJAX_TEST_PLATFORM", "cpu")
JAX_PLATFORMS = {"cpu": "cpu", "gpu": "cuda,cpu", "tpu": "tpu,cpu"}

# What the oracle comparisons of float32 values may differ by. Products are made at
# the highest precision (below), so that what is left on a device is other orders of
# summation and other approximations of tanh and exp.
TOLERANCES = {
    "cpu": {"rtol": 1e-5, "atol": 1e-5},
    "gpu": {"rtol": 1e-4, "atol": 1e-5},
    "tpu": {"rtol": 1e-3, "atol": 1e-4},
}

if PLATFORM not in JAX_PLATFORMS:
    raise RuntimeError(
        f"RNNJAX_TEST_PLATFORM: expected one of {', '.join(JAX_PLATFORMS)}, "
        f"got {PLATFORM!r}."
    )
if "jax" in sys.modules:
    raise RuntimeError("jax was imported before tests/conftest.py could set it up.")
os.environ["JAX_PLATFORMS"] = JAX_PLATFORMS[PLATFORM]
if PLATFORM == "cpu":
    # Compilation is most of the time of these tests: level 0 takes a third off, and
    # half of a loop's is the fusion emitters', which later jaxlibs cannot do without.
    flags = (
        "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    )
    if importlib.metadata.version("jaxlib").startswith("0.10."):
        flags += " --xla_cpu_use_fusion_emitters=false"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
os.environ["KERAS_BACKEND"] = "jax"

import hypothesis  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
if PLATFORM != "cpu":
    jax.config.update("jax_default_matmul_precision", "highest")
    jax.devices(PLATFORM)  # raises where there is none

# The first example of each shape compiles, so there is no deadline.
hypothesis.settings.register_profile("rnnjax", derandomize=True, deadline=None)
hypothesis.settings.load_profile("rnnjax")


def pytest_xdist_auto_num_workers():
    """A worker a core that we may use; on a device one process, alone on it."""
    if PLATFORM != "cpu":
        return 0
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pytest_collection_modifyitems(config, items):
    """On a device, keep only the tests marked `device`."""
    if PLATFORM == "cpu":
        return
    kept = [item for item in items if item.get_closest_marker("device")]
    dropped = [item for item in items if not item.get_closest_marker("device")]
    config.hook.pytest_deselected(items=dropped)
    items[:] = kept


def pytest_collection_finish():
    """What importing made stays: no need for the collector to walk it ever again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _fixed_seeds():
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (for code that still draws from the global state)


@pytest.fixture(autouse=True)
def _peers_may_promote_ranks(request):
    """Other libraries add a bias to a batch; only ours must not."""
    if request.node.get_closest_marker("interop") is None:
        yield
    else:
        with jax.numpy_rank_promotion("allow"):
            yield


@pytest.fixture
def x64():
    """Enable float64 inside the test: `@pytest.mark.usefixtures("x64")`."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def tolerance():
    """How close float32 results must be: `assert_trees_all_close(**tolerance)`."""
    return TOLERANCES[PLATFORM]
