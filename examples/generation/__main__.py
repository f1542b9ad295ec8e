"""The command line: ``python -m examples.generation``."""

from ..common.command import start

if __name__ == "__main__":
    start("generation")
