"""rnnjax itself, under its default `Schedule` or another."""

from __future__ import annotations

from functools import partial

from rnnjax import RNN, Schedule

from .. import _problem
from .._tasks import Program


def program(rnn: RNN) -> Program:
    """Any layer of ours."""
    return Program(
        to_weights=lambda params: params,
        unroll=lambda params, xs: rnn.unroll(params, None, xs)[1],
        step=rnn.step,
        initial_carry=lambda batch: rnn.initial_carry(None, (batch,)),
    )


def scheduled(cell: str, hidden: int, schedule: Schedule) -> Program:
    """One of the built-in cells under that schedule."""
    return program(_problem.layer(cell, hidden, schedule))


def _default(cell: str, features: int, hidden: int) -> Program:
    return scheduled(cell, hidden, Schedule())


PROGRAMS = {cell: partial(_default, cell) for cell in _problem.CELLS}
