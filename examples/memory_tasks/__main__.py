"""The command line: ``python -m examples.memory_tasks``."""

from examples.common.command import start

if __name__ == "__main__":
    start("memory_tasks")
