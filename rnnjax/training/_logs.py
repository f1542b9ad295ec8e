"""Where records of training go: a file of JSON lines."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class MetricsLog:
    """Appends records to a file, one JSON object a line.

    Args:
      path: the file. It and its folders are made at the first record.

    Example:
      >>> import pathlib, tempfile, rnnjax.training as training
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "metrics.jsonl"
      >>> log = training.MetricsLog(path)
      >>> log({"step": 1, "loss": 0.5})
      >>> log({"step": 2, "loss": 0.25})
      >>> log.rewind([{"step": 1, "loss": 0.5}])      # as a resume does
      >>> training.read_metrics(path)
      [{'step': 1, 'loss': 0.5}]
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Appends one record."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def rewind(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Makes the file hold these records and no others, in one move."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_name(self.path.name + ".tmp")
        lines = "".join(json.dumps(record) + "\n" for record in records)
        aside.write_text(lines, encoding="utf-8")
        aside.replace(self.path)


def read_metrics(path: str | os.PathLike) -> list[dict]:
    """The records of a file that `MetricsLog` wrote; none where there is no file.

    A last line without its end, as a killed run may leave one, is left out.

    Args:
      path: the file.

    Returns:
      One dict a line.
    """
    path = Path(path)
    if not path.exists():
        return []
    *lines, rest = path.read_text(encoding="utf-8").split("\n")
    del rest  # Empty, or torn.
    return [json.loads(line) for line in lines if line]
