"""Augmentation, on the device: other speeds, and stretches that are hidden."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .config import Config

_HIDDEN_CHANNELS = 8
_HIDDEN_PART = 0.1
"""At most so many channels, and such a part of the steps, are hidden at a time."""


def augment(config: Config, key, xs, lengths):
    """Reads each recording at another speed and hides stretches of it.

    Args:
        config: the settings.
        key: randomness.
        xs: ``[T, B, stacked F]``, of mean 0.
        lengths: ``[B]``.

    Returns:
        The changed recordings ``[T, B, stacked F]`` and their lengths. None is slowed
        down so far that its end is lost.
    """
    keys = jax.random.split(key, 3)
    xs, lengths = _at_other_speed(config, keys[0], xs, lengths)
    kept = jnp.ones(xs.shape, bool)
    for k in range(config.time_masks):
        kept &= _times(jax.random.fold_in(keys[1], k), len(xs), lengths)[..., None]
    for k in range(config.channel_masks):
        one = _channels(
            jax.random.fold_in(keys[2], k), xs.shape[1], config.mel_channels
        )
        kept &= jnp.tile(one, (1, config.stacked))[None]
    return jnp.where(kept, xs, 0), lengths


def _at_other_speed(config: Config, key, xs, lengths):
    longest = len(xs)
    exponent = jax.random.uniform(key, lengths.shape, minval=-1, maxval=1)
    speed = jnp.maximum(config.speed**exponent, lengths / longest)
    new_lengths = jnp.clip((lengths / speed).astype(int), 1, longest)
    times = jnp.arange(longest)[:, None] * speed[None]
    last = (lengths - 1)[None]
    before = jnp.clip(times.astype(int), 0, last)
    after = jnp.minimum(before + 1, last)
    part = jnp.clip(times - before, 0, 1)[..., None]
    first = jnp.take_along_axis(xs, before[..., None], axis=0)
    second = jnp.take_along_axis(xs, after[..., None], axis=0)
    return first * (1 - part) + second * part, new_lengths


def _times(key, longest: int, lengths):
    """False in one stretch of each recording, bool ``[T, B]``."""
    place, size = jax.random.uniform(key, (2, *lengths.shape))
    start = (place * lengths)[None]
    end = start + (size * _HIDDEN_PART * lengths)[None]
    times = jnp.arange(longest)[:, None]
    return (times < start) | (times >= end)


def _channels(key, batch: int, channels: int):
    """False in one stretch of the channels of each recording, bool ``[B, F]``."""
    place, size = jax.random.uniform(key, (2, batch, 1))
    start = place * channels
    end = start + size * _HIDDEN_CHANNELS
    places = jnp.arange(channels)[None]
    return (places < start) | (places >= end)
