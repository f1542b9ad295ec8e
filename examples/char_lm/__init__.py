"""A character language model on real text: ``python -m examples.char_lm --help``."""
