"""The error that a user's input causes."""

from __future__ import annotations

from pathlib import Path


class InputError(ValueError):
    """What the user gave cannot be used; the message is all that is shown of it."""


def bad_line(
    path: Path, line: int, expected: str, got: str, mend: str = ""
) -> InputError:
    """An `InputError` that names file and line; ``line`` counts from 1."""
    message = f"{path}, line {line}: expected {expected}, got {got}."
    return InputError(f"{message} {mend}".rstrip())
