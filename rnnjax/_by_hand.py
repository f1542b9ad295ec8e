"""Recurrences scheduled by hand: what a cell may say of itself beside its equations.

A cell whose step is elementwise but for products with recurrent kernels can be run with
the products laid out for the device, the nonlinearities in few passes, and a backward
loop that holds nothing but multiplications and those products. `HandSchedule` is what
the engine needs to know for that; `schedule_by_hand` ties it to the cell's `recur`. A
wrapper that replaces `recur` thereby loses it, and runs the general path.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import NamedTuple
from weakref import WeakKeyDictionary

from rnnjax.base import Array, Carry, Cell


class HandSchedule(NamedTuple):
    r"""One step, split at its products, and its linearisation.

    The functions are written for one step and for any layout of the batch: gates follow
    one another on the last axis. With ``W_k`` the columns of the recurrent kernel that
    product ``k`` takes, ``u_k`` the same columns of the projected input and ``q_k`` its
    operand, the pre-activations are ``z_k = u_k + s_k * (q_k W_k)``; ``s_k`` is 1
    unless `product_scale` says otherwise. Carries are tuples, ``h`` first, and
    ``y_t = h_t``.

    The four functions of the linearisation are elementwise, and the first argument of
    each holds the `step`'s ``factors`` but for the slopes. The products between them
    are the engine's, and so is ``dv``: for each product a list of ``slope * dz``, gate
    by gate.

    Attributes:
      gates: number of gates of each product.
      scales: of each gate, what its columns of kernel and input are multiplied by
        before `step` sees them: one half for a sigmoid,
        ``sigmoid(x) = tanh(x / 2) / 2 + 1 / 2``, so that one pass of tanh serves all
        gates. Derivatives are with respect to the scaled ``z``.
      step: ``(product, carry, u) -> (carry, factors)``; ``product(k, q)`` is
        ``q_k W_k``, scaled, and ``factors`` a dict of what the others need.
      slopes: which factor is the slope of each gate: what its ``dz`` is multiplied by
        wherever it is read. On CPU the loop writes slopes where ``u`` was, and the
        backward loop the cotangent of ``z`` where they were (`Run.rewrite`).
      operands: ``(factors, h) -> (q_0, ...)``.
      operand: ``(factors, k, dcarry, dv) -> dq_k``; ``dv`` holds those before ``k``.
      update: ``(factors, dcarry, dv) -> dcarry`` of the step.
      product_scale: ``factors -> (s_0, ...)``; None where all are 1.
      apart: names of gates, shaped like ``h``, among the factors. Where no derivative
        is asked for a CPU loop carries them along; otherwise XLA makes one kernel of a
        step with one product, which takes three times as long as two kernels.
    """

    gates: tuple[int, ...]
    scales: tuple[float, ...]
    step: Callable[..., tuple[Carry, dict[str, Array]]]
    slopes: tuple[str, ...]
    operands: Callable[..., tuple[Array, ...]]
    operand: Callable[..., Array]
    update: Callable[..., Carry]
    product_scale: Callable[..., tuple[Array, ...]] | None = None
    apart: tuple[str, ...] = ()

    def set_apart(
        self, factors: dict[str, Array]
    ) -> tuple[list[list[Array]], dict[str, Array]]:
        """The slopes of each product, gate by gate, and the other factors."""
        names = iter(self.slopes)
        slopes = [[factors[name] for name in islice(names, n)] for n in self.gates]
        rest = {k: a for k, a in factors.items() if k not in self.slopes}
        return slopes, rest


class _Known(NamedTuple):
    schedule: HandSchedule
    project: Callable | None


_known: WeakKeyDictionary[Callable, _Known] = WeakKeyDictionary()


def schedule_by_hand(
    recur: Callable, schedule: HandSchedule, project: Callable | None = None
) -> Callable:
    """``recur``, known to the engine to have that schedule.

    ``project`` is the cell's own if it is nothing but ``x W + b`` of the kernel and the
    bias in ``params["input"]``; the engine then takes that product upon itself too.
    """
    _known[recur] = _Known(schedule, project)
    return recur


def hand_schedule(cell: Cell) -> HandSchedule | None:
    """The schedule tied to the cell's `recur`."""
    known = _known.get(cell.recur)
    return known.schedule if known else None


def projects_by_hand(cell: Cell) -> bool:
    """Whether the engine may project the inputs itself."""
    known = _known.get(cell.recur)
    return known is not None and known.project is cell.project
