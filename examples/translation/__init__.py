"""Verses from English to Spanish: ``python -m examples.translation --help``."""
