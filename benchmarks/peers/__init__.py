"""One file a library: our weights in its layout, run as its documentation runs them."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from .. import _tasks
from .._tasks import Absent, Program, Task

Make = Callable[..., Task]


class Entry(NamedTuple):
    """Where a contender is found and what it needs."""

    title: str
    module: str
    package: str
    in_jax: bool = True
    library: bool = True
    """A library, not a loop written by hand."""


OURS = "rnnjax"
ENTRIES = {
    "lax": Entry("lax.scan", "_lax", "jax", library=False),
    "lax_hoisted": Entry("lax.scan, hoisted", "_lax", "jax", library=False),
    "nnx": Entry("flax nnx", "_flax", "flax"),
    "linen": Entry("flax linen", "_flax", "flax"),
    "haiku": Entry("haiku", "_haiku", "haiku"),
    "equinox": Entry("equinox", "_equinox", "equinox"),
    "keras": Entry("keras on jax", "_keras", "keras"),
    "cudnn": Entry("cuDNN", "_cudnn", "jax", library=False),
    "torch": Entry("torch", "_torch", "torch", in_jax=False),
}
NAMES = tuple(ENTRIES)
IN_JAX = tuple(name for name, entry in ENTRIES.items() if entry.in_jax)


def load(name: str) -> Any:
    """The module of a peer.

    Raises:
      Absent: the library is not installed.
    """
    entry = ENTRIES[name]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return importlib.import_module(f".{entry.module}", __package__)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != entry.package:
            raise
        raise Absent(f"{entry.package} is not installed") from error


def program(name: str, cell: str, features: int, hidden: int) -> Program:
    """A cell of a JAX library.

    Raises:
      Absent: the library is not installed or has no such cell.
    """
    if name == OURS:
        from . import _rnnjax as module

        programs = module.PROGRAMS
    else:
        programs = load(name).PROGRAMS[name]
    if cell not in programs:
        raise Absent(f"has no {cell.replace('_', ' ')} cell with these equations")
    return programs[cell](features, hidden)


def task(name: str, kind: str, cell: str, params: Any, xs: Any) -> Task:
    """One contender of one comparison.

    Args:
      name: of the peer, or "rnnjax".
      kind: "forward", "value_and_grad" or "step".
      cell: one of ours.
      params: our weights.
      xs: the sequence ``[T, B, D]``.

    Raises:
      Absent: it cannot run here.
    """
    if name != OURS and not ENTRIES[name].in_jax:
        return load(name).task(kind, cell, params, xs)
    hidden = params["recurrent"]["kernel"].shape[0]
    return _tasks.TASKS[kind](program(name, cell, xs.shape[-1], hidden), params, xs)


def tasks(
    names: Iterable[str], kind: str, cell: str, params: Any, xs: Any
) -> Mapping[str, Callable[[], Task]]:
    """Ours first, then the peers, by their titles; each is built when called."""
    titles = {OURS: OURS, **{name: ENTRIES[name].title for name in names}}
    return {
        title: partial(task, name, kind, cell, params, xs)
        for name, title in titles.items()
    }


def titles(*, in_jax: bool | None = None, library: bool | None = None) -> set[str]:
    """The titles of the peers of that sort."""
    return {
        entry.title
        for entry in ENTRIES.values()
        if in_jax in (None, entry.in_jax) and library in (None, entry.library)
    }
