"""The first line of a docstring, from the rest: ``python -m examples.summarize``."""
