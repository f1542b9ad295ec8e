"""Whether a film review is for or against: ``python -m examples.sentiment --help``."""
