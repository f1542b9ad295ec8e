"""The command line: ``python -m examples.g2p``."""

from examples.common.command import start

if __name__ == "__main__":
    start("g2p")
