"""The series: Taylor's demand or a CSV file; its parts; windows of it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..common import data as packages
from ..common import text
from ..common.errors import InputError, bad_line
from .config import Config

TAYLOR = packages.PackageFile(
    "pmdarima",
    "2.1.1",
    "pmdarima/datasets/taylor.py",
    "3df2f44f654bfe4338ea39350912140c9710fa776270f50a2529b2f5c87a4e19",
)


@dataclass(frozen=True)
class Split:
    """A series and where its development and test parts begin.

    Attributes:
        values: float64 ``[N]``.
        dev: first step of the development part.
        test: first step of the test part.
    """

    values: np.ndarray
    dev: int
    test: int


def load(config: Config) -> tuple[Split, list[str]]:
    """The series of the settings, and a line on its file.

    Raises:
        FileNotFoundError: no such file.
        InputError: the file is not what it should be, or too short.
    """
    if config.data is None:
        path, sources = packages.locate(TAYLOR), [str(TAYLOR)]
        values = read_taylor(path)
    else:
        path, sources = config.data, packages.describe_own([config.data])
        values = read_column(path, config.column)
    return split(config, values, path), sources


def read_taylor(path: Path) -> np.ndarray:
    """The numbers in the source of pmdarima's ``taylor.py``, which is not run.

    Raises:
        InputError: there is no list of numbers in it.
    """
    lists = []
    for node in ast.walk(ast.parse(text.read_text(path))):
        if isinstance(node, ast.List):
            try:
                lists.append(np.array(ast.literal_eval(node), np.float64))
            except (TypeError, ValueError):
                continue  # A list of something else.
    longest = max(lists, key=len, default=np.zeros(0))
    if longest.ndim != 1 or not longest.size:
        raise InputError(f"{path}: expected a list of numbers, got none.")
    return longest


def read_column(path: Path, column: str) -> np.ndarray:
    """The numbers of one column of a CSV file.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: no such column, or something that is no finite number, with its
            line.
    """
    values = []
    for line, (cell,) in text.read_csv(path, [column]):
        try:
            values.append(float(cell))
        except ValueError:
            raise bad_line(path, line, f"a number in {column}", repr(cell)) from None
        if not np.isfinite(values[-1]):
            raise bad_line(path, line, f"a finite number in {column}", repr(cell))
    return np.array(values)


def split(config: Config, values: np.ndarray, path: Path) -> Split:
    """Cuts the series in order: training, development, test.

    Raises:
        InputError: a part is shorter than its windows.
    """
    test = len(values) - round(config.test_share * len(values))
    dev = test - round(config.dev_share * len(values))
    parts = {
        "training": dev - first_origin(config),
        "development": test - dev,
        "test": len(values) - test,
    }
    for name, steps in parts.items():
        if steps < config.horizon:
            raise InputError(
                f"{path}: {len(values)} steps are too short: expected at least "
                f"--horizon {config.horizon} in the {name} part after what is read "
                f"before it (--week {config.week} and --past {config.past}), got "
                f"{max(steps, 0)}."
            )
    return Split(values, dev, test)


def first_origin(config: Config) -> int:
    """The first step of which all that is read, and that a week before it, is known."""
    return config.week + max(config.past, config.day)


def origins(config: Config, begin: int, end: int) -> np.ndarray:
    """The first steps of all forecasts that lie in ``[begin, end)``."""
    return np.arange(max(begin, first_origin(config)), end - config.horizon + 1)


@dataclass(frozen=True)
class Windows:
    """Looks windows up in a series that was scaled to the mean 0 and deviation 1.

    Attributes:
        config: the settings.
        scaled: float32 ``[N]``.
        changes: float32 ``[N]``, how each value differs from that a week before, in
            units of the typical change; 0 in the first week.
        seasons: float32 ``[N, 8]``, the place of each step in day and week.
        change: the typical change.
    """

    config: Config
    scaled: np.ndarray
    changes: np.ndarray
    seasons: np.ndarray
    change: float

    def __call__(self, firsts: np.ndarray) -> dict[str, np.ndarray]:
        """The windows whose forecasts begin at ``firsts [B]``, time-major.

        ``past [P, B, 10]``: the values, their changes and seasons. ``coming [T, B,
        10]``: of the steps to foretell what is known beforehand, the values a week
        before, the changes a day before, and the seasons. ``base [T, B]``: what is
        foretold if nothing is learned, the value a week before and the last change.
        ``targets [T, B]``.
        """
        before = firsts + np.arange(-self.config.past, 0)[:, None]
        after = firsts + np.arange(self.config.horizon)[:, None]
        week_ago = self.scaled[after - self.config.week]
        last = self.changes[firsts - 1]
        # Relative to the last change, so that its level need not be learned.
        return {
            "past": self._features(before, self.scaled[before], before, last),
            "coming": self._features(after, week_ago, after - self.config.day, last),
            "base": week_ago + last * np.float32(self.change),
            "targets": self.scaled[after],
        }

    def _features(self, steps, values, of_changes, last):
        pair = np.stack([values, self.changes[of_changes] - last], axis=-1)
        return np.concatenate([pair, self.seasons[steps]], axis=-1)


def make_windows(config: Config, series: Split) -> tuple[Windows, float, float]:
    """The windows, and the mean and deviation of the training part."""
    known = series.values[: series.dev]
    mean, deviation = float(known.mean()), float(max(known.std(), 1e-12))
    scaled = (series.values - mean) / deviation
    differences = np.zeros_like(scaled)
    differences[config.week :] = scaled[config.week :] - scaled[: -config.week]
    change = float(max(differences[config.week : series.dev].std(), 1e-6))
    steps = np.arange(len(scaled))
    waves = [
        wave(2 * np.pi * harmonic * steps / season)
        for season in (config.day, config.week)
        for harmonic in (1, 2)
        for wave in (np.sin, np.cos)
    ]
    windows = Windows(
        config,
        scaled.astype(np.float32),
        (differences / change).astype(np.float32),
        np.stack(waves, axis=-1).astype(np.float32),
        change,
    )
    return windows, mean, deviation
