"""The command line: ``python -m examples.from_equations``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

EXTRAS = {"matplotlib", "rich", "tyro"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains, compares and draws; see ``--help``. Exits with 1 if gradients differ."""
    try:
        import tyro

        from examples.from_equations.run import Config, run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRAS:
            raise
        sys.exit(
            f"examples.from_equations needs {error.name}, which is not installed. "
            "From the repository: pip install -e '.[examples]'"
        )
    prog = "python -m examples.from_equations"
    try:
        equal = run(tyro.cli(Config, args=arguments, prog=prog))
    except ValueError as error:
        sys.exit(f"error: {error}")
    if not equal:
        sys.exit(1)


if __name__ == "__main__":
    main()
