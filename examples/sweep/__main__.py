"""The command line: ``python -m examples.sweep``."""

from examples.common.command import start

if __name__ == "__main__":
    start("sweep")
