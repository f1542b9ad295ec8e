"""One program, written with the scan as its argument, run with both scans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chex
import jax
import numpy as np
import pytest

import rnnjax
from tests.interop.problems import CLOSE

T, B, F, H = 6, 2, 3, 5
XS = np.random.default_rng(0).normal(size=(T, B, F)).astype(np.float32)
SCANS = (jax.lax.scan, rnnjax.scan)


def check_same(program: Callable[..., Any], *args: Any, jit: Any = None) -> None:
    """``program(scan, *args)`` gives the same outputs and gradients with both scans.

    ``jit`` is the library's own; `jax.jit` where none is given.
    """

    def both(*args):
        return [program(scan, *args) for scan in SCANS]

    compiled = jit(both) if jit else jax.jit(both)
    expected, got = compiled(*args)
    chex.assert_trees_all_close(got, expected, **CLOSE)


def check_raises_the_same(program: Callable[..., Any]) -> None:
    """``program(scan)`` raises the same type and message with both scans."""
    raised = []
    for scan in SCANS:
        with pytest.raises(Exception) as info:  # noqa: PT011, B017
            program(scan)
        raised.append((info.type, str(info.value)))
    assert raised[1] == raised[0]
