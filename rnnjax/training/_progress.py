"""A live bar: step, metrics, throughput, time left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rnnjax._extras import require


class ProgressBar:
    """A bar on the console, drawn by rich; a context manager.

    Args:
      total: number of steps; None where it is not known.
      done: number of steps made already.
      console: a `rich.console.Console`; None is the standard output.

    Raises:
      ModuleNotFoundError: rich is not installed.

    Example:
      >>> import rich.console, rnnjax.training as training
      >>> console = rich.console.Console(quiet=True)
      >>> with training.ProgressBar(100, console=console) as bar:
      ...     for step in range(1, 101):
      ...         bar.update(step)
      ...         if step % 50 == 0:
      ...             bar.show({"loss": 1 / step, "tokens_per_second": 2048.0})
    """

    def __init__(self, total: int | None, done: int = 0, console: Any = None):
        require("rich", extra="train")
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[metrics]}"),
            TextColumn("[green]{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task(
            "training", total=total, completed=done, metrics="", rate=""
        )
        self._shown: dict[str, str] = {}

    def __enter__(self) -> ProgressBar:
        """Draws it."""
        self._bar.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        """Draws it for the last time."""
        self._bar.stop()

    def update(self, step: int) -> None:
        """Moves it to ``step`` steps."""
        self._bar.update(self._task, completed=step)

    def show(self, record: Mapping[str, Any]) -> None:
        """Shows the metrics and rates of a record; others stay as they are."""
        rates = [
            f"{value:,.0f} {name.removesuffix('_per_second')}/s"
            for name, value in record.items()
            if name.endswith("_per_second")
        ]
        hidden = {"step", "epoch", "seconds", "grad_norm"}
        for name, value in record.items():
            if isinstance(value, float) and not name.endswith("_per_second"):
                if name not in hidden:
                    self._shown[name] = f"{name} {value:.4g}"
        fields: dict[str, Any] = {"metrics": "  ".join(self._shown.values())}
        if rates:
            fields["rate"] = "  ".join(rates)
        self._bar.update(self._task, **fields)
