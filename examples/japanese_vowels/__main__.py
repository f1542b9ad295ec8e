"""The command line: ``python -m examples.japanese_vowels``."""

from ..common.command import start

if __name__ == "__main__":
    start("japanese_vowels")
