"""Where a result was made and with which versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Sequence

import jax

VERSIONS = ("rnnjax", "jax", "jaxlib", "numpy", "optax")


def describe_machine() -> str:
    """Says how many processes train, on how many cores, and what JAX runs on."""
    device = jax.devices()[0]
    where = "no accelerator" if device.platform == "cpu" else device.device_kind
    count = jax.process_count()
    processes = f"{count} processes, each " if count > 1 else ""
    return f"{processes}{os.cpu_count()} cores, {where}"


def describe_versions(more: Sequence[str] = ()) -> dict[str, str]:
    """Versions that a result depends on: Python's and those of packages."""
    versions = {"python": platform.python_version()}
    for name in (*VERSIONS, *more):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"  # rnnjax run from its source folder.
    return versions
