"""The series: files in the format of sktime, padding, folds, standardisation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..common import data as packages
from ..common import text
from ..common.errors import InputError, bad_line

_FOLDER = "sktime/datasets/data/JapaneseVowels/JapaneseVowels_"
TRAIN = packages.PackageFile(
    "sktime",
    "1.2.0",
    f"{_FOLDER}TRAIN.ts",
    "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd",
)
TEST = packages.PackageFile(
    "sktime",
    "1.2.0",
    f"{_FOLDER}TEST.ts",
    "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462",
)


@dataclass(frozen=True)
class Series:
    """Labelled series.

    Attributes:
        xs: float32 ``[N, T, F]``, zeros beyond the lengths.
        lengths: int32 ``[N]``.
        labels: int32 ``[N]``, places in ``classes``.
        classes: the names of the classes.
    """

    xs: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        """Number of series."""
        return len(self.xs)

    def take(self, places: np.ndarray) -> Series:
        """The series at some places."""
        return Series(
            self.xs[places], self.lengths[places], self.labels[places], self.classes
        )


def load(train: Path | None, test: Path | None) -> tuple[Series, Series, list[str]]:
    """The official split, or the user's own two files; and a line on each file.

    Raises:
        FileNotFoundError: a file is missing.
        InputError: a file is not what it should be, with its line.
    """
    if (train is None) != (test is None):
        raise InputError("Expected --train and --test together, got one of them.")
    if train is None or test is None:
        paths = packages.locate(TRAIN), packages.locate(TEST)
        sources = [str(TRAIN), str(TEST)]
    else:
        paths = train, test
        sources = packages.describe_own(paths)
    first = read(paths[0])
    second = read(paths[1], first.classes, first.xs.shape[2])
    longest = max(first.xs.shape[1], second.xs.shape[1])
    return pad(first, longest), pad(second, longest), sources


def read(
    path: Path, classes: tuple[str, ...] | None = None, channels: int | None = None
) -> Series:
    """Reads a ``.ts`` file: ``1.0,2.0,...:3.0,4.0,...:class``, one series a line.

    Args:
        path: a UTF-8 file; lines before ``@data`` are its header.
        classes: those that may occur; None takes them from the header.
        channels: of each series; None is what the first one has.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: no header, no series, or a bad line, which is named.
    """
    lines = text.read_lines(path)
    header = [line.strip().lower() for line in lines]
    if "@data" not in header:
        raise InputError(f"{path}: expected a line '@data', got none.")
    start = header.index("@data") + 1
    found = _classes(path, lines[:start])
    classes = found if classes is None else classes
    places = {name: i for i, name in enumerate(classes)}
    series, labels = [], []
    for number, line in enumerate(lines[start:], start + 1):
        if not line.strip():
            continue
        *parts, label = line.strip().split(":")
        channels = channels or len(parts)
        if len(parts) != channels or not channels:
            raise bad_line(
                path, number, f"{channels} channels and a class", f"{len(parts)}"
            )
        if label not in places:
            raise bad_line(path, number, f"a class of {', '.join(places)}", repr(label))
        series.append(_numbers(path, number, parts))
        labels.append(places[label])
    if not series:
        raise InputError(f"{path}: expected series below '@data', got none.")
    lengths = np.array([len(one) for one in series], np.int32)
    xs = np.zeros((len(series), lengths.max(), series[0].shape[1]), np.float32)
    for row, one in zip(xs, series, strict=True):
        row[: len(one)] = one
    return Series(xs, lengths, np.array(labels, np.int32), classes)


def _classes(path: Path, header: list[str]) -> tuple[str, ...]:
    for number, line in enumerate(header, 1):
        words = line.split()
        if words and words[0].lower() == "@classlabel":
            if len(words) < 4 or words[1].lower() != "true":
                raise bad_line(path, number, "'@classLabel true' and classes", line)
            return tuple(words[2:])
    raise InputError(f"{path}: expected a line '@classLabel true ...', got none.")


def _numbers(path: Path, line: int, parts: list[str]) -> np.ndarray:
    """The values of one series ``[T, F]``."""
    columns = []
    for i, part in enumerate(parts, 1):
        try:
            values = [float(value) for value in part.split(",")]
        except ValueError as error:
            raise bad_line(path, line, f"numbers in channel {i}", str(error)) from None
        if not np.isfinite(values).all():
            raise bad_line(path, line, f"finite numbers in channel {i}", "NaN or Inf")
        columns.append(values)
    lengths = {len(column) for column in columns}
    if len(lengths) != 1:
        raise bad_line(path, line, "channels of one length", f"{sorted(lengths)}")
    return np.array(columns, np.float32).T


def pad(series: Series, length: int) -> Series:
    """The series padded to a length."""
    missing = length - series.xs.shape[1]
    xs = np.pad(series.xs, ((0, 0), (0, missing), (0, 0)))
    return Series(xs, series.lengths, series.labels, series.classes)


def standardise(train: Series, *others: Series) -> list[Series]:
    """Mean 0 and deviation 1 in each channel, over the steps of the training series."""
    valid = _valid(train)
    mean, deviation = train.xs[valid].mean(0), train.xs[valid].std(0)
    scaled = []
    for series in (train, *others):
        xs = (series.xs - mean) / np.maximum(deviation, 1e-6)
        xs = np.where(_valid(series)[..., None], xs, 0).astype(np.float32)
        scaled.append(Series(xs, series.lengths, series.labels, series.classes))
    return scaled


def _valid(series: Series) -> np.ndarray:
    return np.arange(series.xs.shape[1]) < series.lengths[:, None]


def block_folds(labels: np.ndarray, folds: int) -> np.ndarray:
    """The fold of each series: of each class the first part, the second part, ...

    The series of a speaker are in the order in which they were recorded, and the test
    series are later ones. So a fold is a stretch of time, not a random choice.
    """
    fold = np.zeros(len(labels), int)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        fold[places] = np.arange(len(places)) * folds // len(places)
    return fold
