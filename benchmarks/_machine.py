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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from . import _timing

PACKAGES = (
    *("rnnjax", "jax", "jaxlib", "numpy", "flax", "dm-haiku", "equinox", "keras"),
    *("torch", "memax"),
)


class Peaks(NamedTuple):
    """What the maker publishes of one device, without sparsity."""

    flops: float
    """FLOP/s of a float32 product at JAX's default precision."""
    bandwidth: float
    """Bytes/s of its memory."""


# By device_kind. JAX multiplies float32 arrays by default in TF32 on NVIDIA devices
# that have it, and in bfloat16 on TPUs.
PEAKS = {
    "NVIDIA A100-SXM4-40GB": Peaks(156e12, 1.555e12),
    "NVIDIA A100-SXM4-80GB": Peaks(156e12, 2.039e12),
    "NVIDIA A100-PCIE-40GB": Peaks(156e12, 1.555e12),
    "NVIDIA A100 80GB PCIe": Peaks(156e12, 1.935e12),
    "NVIDIA A10G": Peaks(35e12, 0.6e12),
    "NVIDIA B200": Peaks(1.1e15, 8e12),
    "NVIDIA GeForce RTX 3090": Peaks(35.6e12, 0.936e12),
    "NVIDIA GeForce RTX 4090": Peaks(82.6e12, 1.008e12),
    "NVIDIA H100 80GB HBM3": Peaks(494.7e12, 3.35e12),
    "NVIDIA H100 PCIe": Peaks(378e12, 2.0e12),
    "NVIDIA H200": Peaks(494.7e12, 4.8e12),
    "NVIDIA L4": Peaks(60e12, 0.3e12),
    "NVIDIA L40S": Peaks(183e12, 0.864e12),
    "Tesla T4": Peaks(8.1e12, 0.32e12),
    "Tesla V100-SXM2-16GB": Peaks(15.7e12, 0.9e12),
    "Tesla V100-SXM2-32GB": Peaks(15.7e12, 0.9e12),
    "TPU v4": Peaks(275e12, 1.228e12),
    "TPU v5 lite": Peaks(197e12, 0.819e12),
    "TPU v5": Peaks(459e12, 2.765e12),
    "TPU v6 lite": Peaks(918e12, 1.64e12),
    "TPU7x": Peaks(2307e12, 7.38e12),
}


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
