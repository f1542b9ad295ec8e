"""The command line: ``python -m examples.forecasting``."""

from ..common.command import start

if __name__ == "__main__":
    start("forecasting")
