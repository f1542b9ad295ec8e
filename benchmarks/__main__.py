"""The command line: ``python -m benchmarks [suite]``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

HELP = ("-h", "--help")
EXTRAS = {"matplotlib", "rich", "tyro"}
# JAX would take most of a GPU's memory and leave torch none.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one suite; all of them where none is named. See ``--help``."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == ["aot"]:  # which the plugin of a GPU that is not here must know
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
    try:
        import tyro

        from ._all import All, run_all
        from ._run import run
        from .suites import SUITES
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRAS:
            raise
        sys.exit(
            f"benchmarks needs {error.name}, which is not installed. "
            "From the repository: pip install -e '.[bench]'"
        )
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in HELP):
        arguments.insert(0, "all")
    settings = tyro.extras.subcommand_cli_from_dict(
        {"all": All, **SUITES}, prog="python -m benchmarks", args=arguments
    )
    if not isinstance(settings, All):
        run(settings)
    elif failed := run_all(settings):
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
