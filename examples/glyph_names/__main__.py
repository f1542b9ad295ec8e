"""The command line: ``python -m examples.glyph_names``."""

from ..common.command import start

if __name__ == "__main__":
    start("glyph_names")
