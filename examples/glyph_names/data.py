"""The glyphs of a font as pictures, and their names."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font

from ..common import data as files
from ..common.errors import InputError
from .config import Config

SPLITS = ("training", "development", "test")


@dataclass(frozen=True)
class Glyph:
    """One character.

    Attributes:
        code: its code point.
        image: float32 ``[size, size]``, 0 without ink, 1 with.
        name: the words of its name.
    """

    code: int
    image: np.ndarray
    name: tuple[str, ...]


def load(config: Config) -> tuple[dict[str, list[Glyph]], list[str]]:
    """The glyphs by their split, and a line on the font and one on the names.

    The split follows from the hash of the code point.

    Raises:
        FileNotFoundError: there is no such font.
        InputError: it is no font, or has too few glyphs.
    """
    path = config.font or default_font()
    splits: dict[str, list[Glyph]] = {name: [] for name in SPLITS}
    for glyph in read(path, config.image_size, config.first_code, config.last_code):
        splits[SPLITS[files.split_of(f"U+{glyph.code:04X}")]].append(glyph)
    for name, members in splits.items():
        if not members:
            raise InputError(
                f"{path}: expected glyphs with a name in the {name} split, got none "
                f"from U+{config.first_code:04X} to U+{config.last_code:04X}."
            )
    unicode = f"names of Unicode {unicodedata.unidata_version}"
    return splits, [*files.describe_own([path]), unicode]


def default_font() -> Path:
    """DejaVu Sans, as Matplotlib brings it."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def read(path: Path, size: int, first: int, last: int) -> list[Glyph]:
    """All glyphs of a font in a range that have a name and some ink.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is no font.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        font = FT2Font(str(path))
    except RuntimeError as error:
        raise InputError(
            f"{path}: expected a TrueType or OpenType font, got {error}."
        ) from None
    font.set_size(0.62 * size, 72)
    glyphs = []
    for code in sorted(font.get_charmap()):
        name = unicodedata.name(chr(code), "") if first <= code <= last else ""
        if name:
            image = draw(font, code, size)
            if image.any():
                glyphs.append(Glyph(code, image, tuple(name.split())))
    return glyphs


def draw(font: FT2Font, code: int, size: int) -> np.ndarray:
    """The picture of a glyph, its ink in the middle, shrunk where it is too large."""
    font.set_text(chr(code))
    font.draw_glyphs_to_bitmap(antialiased=True)
    ink = np.asarray(font.get_image(), np.float32) / 255
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    image = np.zeros((size, size), np.float32)
    if not rows.size:
        return image
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    every = -(-max(ink.shape) // size)
    ink = ink[::every, ::every]
    top, left = (size - ink.shape[0]) // 2, (size - ink.shape[1]) // 2
    image[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return image
