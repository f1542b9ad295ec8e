"""The command line: ``python -m examples.speech``."""

from ..common.command import start

if __name__ == "__main__":
    start("speech")
