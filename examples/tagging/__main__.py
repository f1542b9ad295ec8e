"""The command line: ``python -m examples.tagging``."""

from examples.common.command import start

if __name__ == "__main__":
    start("tagging")
