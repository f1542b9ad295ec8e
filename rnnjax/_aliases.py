"""``rnnjax.NAME(...)`` for every cell: ``layer(cells.NAME(...), schedule)``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable

from rnnjax import cells
from rnnjax.base import RNN, Cell, Schedule
from rnnjax.combinators import layer


def _alias(cell: Callable[..., Cell]) -> Callable[..., RNN]:
    """The layer factory of a cell factory."""

    @functools.wraps(cell, assigned=("__name__", "__qualname__"))
    def make(*args, schedule: Schedule = Schedule(), **options) -> RNN:  # noqa: B008
        return layer(cell(*args, **options), schedule)

    make.__module__ = "rnnjax"
    own = inspect.signature(cell)
    schedule = inspect.Parameter(
        "schedule", inspect.Parameter.KEYWORD_ONLY, default=Schedule()
    )
    make.__signature__ = own.replace(  # pyright: ignore[reportAttributeAccessIssue]
        parameters=[*own.parameters.values(), schedule], return_annotation=RNN
    )
    make.__doc__ = (
        f"``layer(cells.{cell.__name__}(...), schedule)``: takes what "
        f"`rnnjax.cells.{cell.__name__}` takes, and ``schedule``."
    )
    return make


clockwork = _alias(cells.clockwork)
gru = _alias(cells.gru)
lru = _alias(cells.lru)
lstm = _alias(cells.lstm)
min_gru = _alias(cells.min_gru)
rg_lru = _alias(cells.rg_lru)
simple = _alias(cells.simple)
