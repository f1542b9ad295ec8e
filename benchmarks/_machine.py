"""The machine of a run: what it is called, its published peaks, its measured rate."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from . import _timing

PACKAGES = (
    *("rnnjax", "jax", "jaxlib", "numpy", "flax", "dm-haiku", "equinox", "keras"),
    *("torch", "memax", "libtpu", "jax-cuda12-pjrt"),
)


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def describe() -> dict[str, Any]:
    """Device, processor, cores and versions, as they go into every result."""
    device = jax.devices()[0]
    kind = processor() if device.platform == "cpu" else device.device_kind
    return {
        "name": name(),
        "device": kind,
        "platform": jax.default_backend(),
        "devices": len(jax.devices()),
        "cores": cores(),
        "processor": processor(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def name() -> str:
    """The device in the name of a file: ``cpu-2-cores``, ``nvidia-h200``."""
    device = jax.devices()[0]
    text = device.device_kind
    if device.platform == "cpu":
        text = f"cpu {cores()} cores"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def processor() -> str:
    """The model of the CPU."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return platform.processor()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def version(package: str) -> str:
    """The installed version, or that there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def commit() -> str:
    """The commit of this folder, "+" behind it where files differ; "" without git."""
    run = functools.partial(
        subprocess.run, capture_output=True, text=True, cwd=Path(__file__).parent
    )
    try:
        head = run(["git", "rev-parse", "--short=10", "HEAD"]).stdout.strip()
        changed = run(["git", "status", "--porcelain", "-uno"]).stdout.strip()
    except OSError:  # no git
        return ""
    return head + ("+" if changed else "")


def product_rate(*, tiny: bool = False) -> float:
    """FLOP/s of one large float32 product, the best of 3 just now."""
    size = 256 if tiny else 2048 if jax.default_backend() == "cpu" else 8192
    multiply, a = _large_product(size)
    run = lambda: multiply(a, a).block_until_ready()  # noqa: E731
    return 2 * size**3 / min(_timing.seconds(run) for _ in range(3))


@functools.cache
def _large_product(size: int):
    a = jax.random.normal(jax.random.key(0), (size, size), jnp.float32)
    multiply = jax.jit(jnp.matmul).lower(a, a).compile()
    multiply(a, a).block_until_ready()
    return multiply, a
