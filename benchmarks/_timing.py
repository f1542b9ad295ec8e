"""Times of contenders that take turns, round by round, in one process."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

# A call shorter than this is repeated within its turn, and preceded by one that is not
# timed: the threads of the contender before may still be spinning.
_SHORT = 0.005
_MOST_CALLS = 100


def seconds(run: Callable[[], Any], calls: int = 1) -> float:
    """Seconds of one call, the mean of ``calls`` in a row."""
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def race(
    runs: Mapping[str, Callable[[], Any]], rounds: int, *, repeat: bool = True
) -> dict[str, list[float]]:
    """Seconds of every contender in every round.

    Each round lets each contender run once, in an order drawn anew. A slow minute of
    the machine then slows all of them, and the ratio within a round is fair.

    Args:
      runs: by name; a call has finished its work when it returns.
      rounds: number of turns of each.
      repeat: call short ones several times in their turn, after one untimed call.
    """
    calls = dict.fromkeys(runs, 1)
    if repeat:
        for name, run in runs.items():
            run()
            calls[name] = _calls(seconds(run))
    times: dict[str, list[float]] = {name: [] for name in runs}
    order = np.random.default_rng(0)
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name in order.permutation(list(runs)):
                if calls[name] > 1:
                    runs[name]()
                times[name].append(seconds(runs[name], calls[name]))
    finally:
        gc.enable()
    return times


def _calls(duration: float) -> int:
    return min(max(math.ceil(_SHORT / duration), 1), _MOST_CALLS)


def statistics(times: list[float], reference: list[float]) -> dict[str, Any]:
    """Minimum and median, and how many times those of the reference they are.

    The quartiles are those of the ratio within each round.
    """
    ratios = np.divide(times, reference)
    return {
        "min_seconds": min(times),
        "median_seconds": float(np.median(times)),
        "ratio_of_minima": min(times) / min(reference),
        "ratio_of_medians": float(np.median(times) / np.median(reference)),
        "ratio_quartiles": np.quantile(ratios, [0.25, 0.75]).tolist(),
    }
