"""The command line: ``python -m examples.translation``."""

from examples.common.command import start

if __name__ == "__main__":
    start("translation")
