"""Training batches: lanes of text read side by side, window after window."""

from __future__ import annotations

import numpy as np

from .config import InputError


class Windows:
    """Training batches, found by the number of the step alone, so a resume is exact.

    The text is a circle. Lane ``b`` of ``batch_size`` starts ``b / batch_size`` of the
    way round and reads on without a gap, ``window`` characters a step; after one
    round's share of the text it stands where the next lane began. So the carry that one
    window leaves is always the right one for the next.

    Args:
        symbols: ``[N]`` int32.
        batch_size: number of lanes.
        window: characters a step.
    """

    def __init__(self, symbols: np.ndarray, batch_size: int, window: int):
        if len(symbols) < batch_size * window:
            raise InputError(
                f"Expected at least batch_size * window = {batch_size * window:,} "
                f"characters of training text, got {len(symbols):,}: give a smaller "
                "--batch-size or --window, or more text."
            )
        self.symbols = symbols
        self.window = window
        self.starts = np.arange(batch_size) * len(symbols) // batch_size

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        """``inputs`` and ``targets`` (one character on), both ``[T, B]``."""
        times = step * self.window + np.arange(self.window + 1)[:, None]
        lanes = self.symbols[(self.starts + times) % len(self.symbols)]
        return {"inputs": lanes[:-1], "targets": lanes[1:]}
