"""The entry of ``python -m examples.NAME``: errors of the user's as one line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from .errors import InputError

EXTRAS = frozenset(
    "jiwer matplotlib optax optuna orbax rich rouge_score sacrebleu sklearn soundfile "
    "tyro".split()
)


def start(name: str, arguments: Sequence[str] | None = None) -> None:
    """Calls ``main`` of ``examples.NAME.run``.

    Bad input and missing files end the process with the message alone; a missing
    package of the extra with the line that installs it.
    """
    try:
        module = importlib.import_module(f"examples.{name}.run")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRAS:
            raise
        sys.exit(
            f"examples.{name} needs {error.name}, which is not installed. "
            "From the repository: pip install -e '.[examples]'"
        )
    try:
        module.main(arguments)
    except (FileNotFoundError, InputError) as error:
        sys.exit(f"error: {error}")
