"""The command line: ``python -m examples.summarize``."""

from examples.common.command import start

if __name__ == "__main__":
    start("summarize")
