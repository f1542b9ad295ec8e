"""A mesh of devices from a line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh


def mesh(
    spec: str, *, explicit: bool = False, devices: Sequence[Any] | None = None
) -> Mesh:
    """Makes a mesh of devices from ``"data=4,model=2"``.

    The last axis is that of the nearest neighbours: put the one that communicates most
    last (``model`` after ``data``).

    Args:
      spec: ``name=size`` for each axis, with commas. One size may be ``*``: as many as
        the devices allow.
      explicit: False leaves intermediate shardings to the compiler (`AxisType.Auto`);
        True makes them part of the types (`AxisType.Explicit`, under `jax.set_mesh`).
      devices: which; None takes all, of every process. Where the sizes ask for fewer,
        the first are taken if this is the only process.

    Returns:
      A `jax.sharding.Mesh`.

    Raises:
      ValueError: ``spec`` cannot be read, or does not fit the devices.

    Example:
      >>> from rnnjax import sharding
      >>> sharding.mesh("data=*,model=1").axis_names
      ('data', 'model')
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = _sizes(spec, len(devices))
    wanted = math.prod(sizes.values())
    if wanted < len(devices) and jax.process_count() == 1:
        devices = devices[:wanted]
    if wanted != len(devices):
        raise ValueError(
            f"spec: expected sizes whose product is the number of devices, "
            f"{len(devices)}, got {spec!r}, whose product is {wanted}. '*' as one size "
            f"takes what is left. On CPU, XLA_FLAGS=--xla_force_host_platform_device_"
            f"count=N, set before jax starts, makes N devices."
        )
    kind = AxisType.Explicit if explicit else AxisType.Auto
    return jax.make_mesh(
        tuple(sizes.values()), tuple(sizes), (kind,) * len(sizes), devices=devices
    )


def axis_size(name: str, mesh: Mesh, axis: str | None) -> int:
    """The size of a mesh axis, 1 for None, or an error that names the argument."""
    if axis is None:
        return 1
    if axis not in mesh.shape:
        raise ValueError(
            f"{name}: expected an axis of the mesh, one of {mesh.axis_names}, got "
            f"{axis!r}. Name it as in sharding.mesh('data=4,model=2')."
        )
    return mesh.shape[axis]


def check_divides(what: str, size: int, mesh: Mesh, axis: str | None, mend: str) -> int:
    """``size`` divided by that of a mesh axis, or an error."""
    count = axis_size(what, mesh, axis)
    if size % count:
        raise ValueError(
            f"{what}: expected a multiple of {count}, the size of the mesh axis "
            f"{axis!r}, got {size}. {mend}"
        )
    return size // count


def _sizes(spec: str, devices: int) -> dict[str, int]:
    """The size of each axis; what ``*`` stands for is found from the devices."""
    sizes: dict[str, int] = {}
    free = None
    for part in spec.split(","):
        name, equals, text = (piece.strip() for piece in part.partition("="))
        valid = text == "*" or (text.isdecimal() and int(text) > 0)
        if not (name.isidentifier() and equals and valid):
            raise ValueError(
                f"spec: expected name=size with commas between, each size a positive "
                f"integer or '*', such as 'data=4,model=2', got {part!r} in {spec!r}."
            )
        if name in sizes:
            raise ValueError(f"spec: expected every name once, got {spec!r}.")
        if text == "*" and free is not None:
            raise ValueError(f"spec: expected '*' for one axis at most, got {spec!r}.")
        free = name if text == "*" else free
        sizes[name] = 1 if text == "*" else int(text)
    if free is not None:
        sizes[free] = max(1, devices // math.prod(sizes.values()))
    return sizes
