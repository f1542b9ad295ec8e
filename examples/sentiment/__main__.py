"""The command line: ``python -m examples.sentiment``."""

from examples.common.command import start

if __name__ == "__main__":
    start("sentiment")
