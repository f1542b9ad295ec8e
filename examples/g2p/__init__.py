"""How English words are spoken: ``python -m examples.g2p --help``."""
