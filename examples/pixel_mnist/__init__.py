"""Digits read pixel by pixel: ``python -m examples.pixel_mnist --help``."""
