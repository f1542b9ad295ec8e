"""What two runs differ in: settings, versions, the arrays of their states."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import PyTree

# Packages that the numbers of a run depend on.
PACKAGES = ("rnnjax", "jax", "jaxlib", "optax", "orbax-checkpoint", "numpy")
_ABSENT = object()


@functools.cache
def versions() -> dict[str, str]:
    """The versions that the numbers of a run depend on."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"  # Run from a source folder.
    return found


def encoded(name: str, value: Any) -> str:
    """``value`` as JSON.

    Raises:
      TypeError: JSON cannot hold it.
    """
    try:
        return json.dumps(value)
    except TypeError as error:
        raise TypeError(
            f"{name}: expected what JSON can hold (dicts, lists, strings, numbers), "
            f"got: {error}. Convert paths by str(...) and arrays by .tolist()."
        ) from error


def as_json(name: str, value: Any) -> Any:
    """``value`` as it comes back from JSON.

    Raises:
      TypeError: JSON cannot hold it.
    """
    return json.loads(encoded(name, value))


def describe_state(state: PyTree) -> dict[str, str]:
    """Type and shape of every array, by its path."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}"
        )
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def differences(was: Any, now: Any, name: str = "") -> list[str]:
    """One line for each entry in which two JSON values differ."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        names = [*was, *(key for key in now if key not in was)]
        return [
            line
            for key in names
            for line in differences(
                was.get(key, _ABSENT),
                now.get(key, _ABSENT),
                f"{name}.{key}" if name else str(key),
            )
        ]
    if was == now or (was != was and now != now):  # NaN is NaN here.
        return []
    shown = ["absent" if v is _ABSENT else repr(v) for v in (was, now)]
    return [f"{name}: was {shown[0]}, is {shown[1]}"]
