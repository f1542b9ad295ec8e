"""Characters to symbols, and what an unseen character costs.

A character that occurs at least ``minimum_count`` times in the training text has a
symbol of its own. All others share the symbol `UNKNOWN`, and the model, or the n-gram
baseline, that meets one also pays for saying *which* one: a uniform choice among all
other Unicode scalar values, about 20 bits each. So bits are per Unicode character of
the text as it stands, and nothing of it is dropped.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

UNKNOWN = 0
UNICODE_SCALAR_VALUES = 0x110000 - 0x800  # All code points but the surrogates.


@dataclass(frozen=True)
class Vocabulary:
    """A fixed set of characters; symbol 0 stands for every other character.

    Attributes:
        characters: the characters of the symbols 1, 2, ...
    """

    characters: str

    @classmethod
    def from_text(cls, text: str, minimum_count: int = 10) -> Vocabulary:
        """Takes the characters that occur at least ``minimum_count`` times."""
        counts = Counter(text)
        return cls("".join(sorted(c for c, n in counts.items() if n >= minimum_count)))

    @property
    def size(self) -> int:
        """Number of symbols, with the one for unknown characters."""
        return len(self.characters) + 1

    @property
    def bits_per_unknown(self) -> float:
        """Bits to say which character an unknown one is."""
        return math.log2(UNICODE_SCALAR_VALUES - len(self.characters))

    def encode(self, text: str) -> np.ndarray:
        """Returns the symbols of a text, int32 ``[N]``."""
        points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        table = np.zeros(0x110000, np.int32)
        known = np.frombuffer(self.characters.encode("utf-32-le"), np.uint32)
        table[known] = np.arange(1, self.size)
        return table[points]

    def decode(self, symbols: Iterable[int]) -> str:
        """Returns the text of symbols; unknown characters become U+FFFD."""
        return "".join(
            "\N{REPLACEMENT CHARACTER}" if s == UNKNOWN else self.characters[s - 1]
            for s in map(int, symbols)
        )

    def escape_bits(self, symbols: np.ndarray) -> float:
        """Bits that the unknown characters among ``symbols`` cost on top, in all."""
        return float(np.count_nonzero(symbols == UNKNOWN)) * self.bits_per_unknown
