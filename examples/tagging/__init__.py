"""The word class of every word of a sentence: ``python -m examples.tagging --help``."""
