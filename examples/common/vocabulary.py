"""Tokens to numbers: words, characters or phones, with a few special ones in front."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

PAD, END, UNKNOWN = 0, 1, 2
"""Padding, also what a decoder starts from; the end of a sequence; any other token."""
SPECIAL = 3


@dataclass(frozen=True)
class Vocabulary:
    """A fixed set of tokens.

    Attributes:
        tokens: those of the numbers 3, 4, ...
    """

    tokens: tuple[str, ...]

    def __post_init__(self):
        """Makes the table from tokens to numbers."""
        numbers = {token: SPECIAL + n for n, token in enumerate(self.tokens)}
        object.__setattr__(self, "_numbers", numbers)

    @classmethod
    def of(
        cls,
        sequences: Iterable[Sequence[str]],
        minimum: int = 1,
        most: int | None = None,
    ) -> Vocabulary:
        """The tokens that occur ``minimum`` times, the ``most`` frequent first."""
        counts = Counter(token for sequence in sequences for token in sequence)
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls(tuple(t for t, n in ranked[:most] if n >= minimum))

    @property
    def size(self) -> int:
        """Number of tokens, the special ones among them."""
        return SPECIAL + len(self.tokens)

    def encode(self, tokens: Sequence[str], end: bool = False) -> np.ndarray:
        """Returns the numbers of tokens, int32 ``[N]``, with the end if asked for."""
        numbers = [self._numbers.get(token, UNKNOWN) for token in tokens]
        return np.asarray(numbers + [END] * end, np.int32)

    def decode(
        self, numbers: Iterable[int], unknown: Sequence[str] | None = None
    ) -> list[str]:
        """Returns the tokens of numbers, up to the end or the first padding.

        Args:
            numbers: of the tokens.
            unknown: what to say in the place of each number, were it of an unknown
                token; by default a question mark.
        """
        tokens = []
        for place, number in enumerate(map(int, numbers)):
            if number in (PAD, END):
                break
            if number != UNKNOWN:
                tokens.append(self.tokens[number - SPECIAL])
            else:
                tokens.append("?" if unknown is None else unknown[place])
        return tokens
