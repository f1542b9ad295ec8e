"""Means of the metrics of many batches, as sums that JSON can hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass
class RunningMeans:
    """Sums in float64 for ``metric = sum_k count_k metric_k / sum_k count_k``.

    Batches are weighted by their metric "count" where they have one, else alike.

    Attributes:
      sums: of each metric, times its count; numbers or nested lists.
      weight: sum of the counts.
      counted: whether there are counts.
    """

    sums: dict[str, Any] = dataclasses.field(default_factory=dict)
    weight: float = 0.0
    counted: bool = False

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Takes the metrics of one batch, arrays on the host."""
        self.counted = "count" in metrics
        count = float(metrics.get("count", 1.0))
        self.weight += count
        for name, value in metrics.items():
            if name != "count":
                before = np.asarray(self.sums.get(name, 0.0), np.float64)
                added = before + count * np.asarray(value, np.float64)
                self.sums[name] = added.tolist()

    def means(self) -> dict[str, np.ndarray]:
        """The means; NaN where all counts are 0."""
        weight = self.weight or np.nan
        return {name: np.asarray(total) / weight for name, total in self.sums.items()}
