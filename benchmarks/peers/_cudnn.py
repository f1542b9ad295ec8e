"""cuDNN's LSTM, by ``Schedule(backend="cudnn")``: on NVIDIA GPUs alone."""

from __future__ import annotations

import jax

from rnnjax import Schedule

from .._tasks import Absent, Program
from . import _rnnjax


def _lstm(features: int, hidden: int) -> Program:
    del features
    if jax.default_backend() != "gpu":
        raise Absent(f"runs on NVIDIA GPUs, and this is a {jax.default_backend()}")
    program = _rnnjax.scheduled("lstm", hidden, Schedule(backend="cudnn"))
    return program._replace(note='Schedule(backend="cudnn")')


PROGRAMS = {"cudnn": {"lstm": _lstm}}
