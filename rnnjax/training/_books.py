"""What `fit` remembers beside the state: it goes into every checkpoint."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, NamedTuple

from rnnjax.training._means import RunningMeans


class EarlyStopping(NamedTuple):
    """Ends `fit` when a metric has not become better for a while.

    Attributes:
      metric: its name in the records, such as "val_loss".
      patience: how many records with it may pass without a better one.
      mode: "min" or "max", which values are better.
      min_delta: by how much a value has to be better to count.
    """

    metric: str
    patience: int
    mode: str = "min"
    min_delta: float = 0.0


class Best(NamedTuple):
    """The best value of a metric.

    Attributes:
      step: number of steps made then.
      value: the metric.
    """

    step: int
    value: float


@dataclasses.dataclass
class Books:
    """All numbers of a run that are no arrays, as JSON can hold them.

    Attributes:
      step: number of steps made.
      seconds: spent so far.
      units: what was counted of the batches, by name.
      running: metrics since the last record.
      skipped: steps skipped since the last record.
      skipped_in_a_row: steps skipped since the last good one.
      history: all records.
      latest: metrics of the records at ``step``.
      recorded: step of the last record of training.
      validated: step of the last validation.
      due: what was still to be done at ``step`` when the run was told to end.
      best: step and value of the best metric, for "checkpoint" and for "stopping".
      stale: records since early stopping saw a better one.
      lines: the history as lines of JSON, as far as it was saved.
    """

    step: int = 0
    seconds: float = 0.0
    units: dict[str, int] = dataclasses.field(default_factory=dict)
    running: RunningMeans = dataclasses.field(default_factory=RunningMeans)
    skipped: int = 0
    skipped_in_a_row: int = 0
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    latest: dict[str, Any] = dataclasses.field(default_factory=dict)
    recorded: int = -1
    validated: int = -1
    due: list[str] = dataclasses.field(default_factory=list)
    best: dict[str, list] = dataclasses.field(default_factory=dict)
    stale: int = 0
    lines: list[str] = dataclasses.field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The numbers as dicts and lists, the history as its lines.

        Each record is encoded once in a run, for a save must not take long.
        """
        self.lines += map(json.dumps, self.history[len(self.lines) :])
        fields = {**vars(self), "running": vars(self.running)}
        del fields["history"]
        return fields

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Books:
        """The books of a checkpoint."""
        history = [json.loads(line) for line in value["lines"]]
        running = RunningMeans(**value["running"])
        return cls(**{**value, "history": history, "running": running})

    def note_best(
        self, name: str, metric: str, mode: str, min_delta: float = 0.0
    ) -> bool:
        """Whether a metric of this step is the best so far; then it is noted.

        Raises:
          ValueError: there is no such metric.
        """
        if metric not in self.latest:
            raise ValueError(
                f"metric: expected one of the records, {sorted(self.latest)}, to watch "
                f"for the best checkpoint or for early stopping, got {metric!r}."
            )
        value = self.latest[metric]
        if math.isnan(value):
            return False
        if name in self.best:
            before = self.best[name][1]
            gain = before - value if mode == "min" else value - before
            if not gain > min_delta:
                return False
        self.best[name] = [self.step, value]
        return True
