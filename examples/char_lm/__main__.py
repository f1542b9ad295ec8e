"""The command line: ``python -m examples.char_lm``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

EXTRAS = {"matplotlib", "optax", "orbax", "rich", "tyro"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, evaluates, compares, samples and draws; see ``--help``."""
    try:
        from rnnjax.training import CheckpointError, CheckpointMismatch

        from .config import InputError, parse
        from .run import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRAS:
            raise
        sys.exit(
            f"examples.char_lm needs {error.name}, which is not installed. "
            "From the repository: pip install -e '.[examples]'"
        )
    try:
        run(parse(arguments))
    except (
        CheckpointError,
        CheckpointMismatch,
        FileNotFoundError,
        InputError,
    ) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
