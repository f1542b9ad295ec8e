"""The command line: ``python -m examples.pixel_mnist``."""

from examples.common.command import start

if __name__ == "__main__":
    start("pixel_mnist")
