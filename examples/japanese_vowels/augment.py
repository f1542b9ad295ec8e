"""Augmentation, on the device: crops, other speeds, noise, channels left out."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .config import Config


def augment(config: Config, key, xs, lengths):
    """Changes each series of a batch by chance.

    A stretch of at least ``config.crop`` of the series is read at a speed between
    ``1 / config.speed`` and ``config.speed``, with linear interpolation between steps;
    then comes noise.

    Args:
        config: the settings.
        key: randomness.
        xs: ``[T, B, F]``, of unit deviation.
        lengths: ``[B]``.

    Returns:
        The new series ``[T, B, F]`` and their lengths.
    """
    length, batch, _ = xs.shape
    keys = jax.random.split(key, 5)
    part = jax.random.uniform(keys[0], (batch,), minval=config.crop)
    speed = config.speed ** jax.random.uniform(keys[1], (batch,), minval=-1, maxval=1)
    start = jax.random.uniform(keys[2], (batch,)) * (1 - part) * (lengths - 1)
    span = part * (lengths - 1)
    new_lengths = jnp.clip((span / speed).astype(int) + 1, 1, length)
    times = start[None] + jnp.arange(length)[:, None] * speed[None]
    last = (lengths - 1)[None].astype(times.dtype)
    xs = interpolate(xs, jnp.minimum(times, last))
    offset = jax.random.normal(keys[3], (1, *xs.shape[1:]))
    noise = jax.random.normal(keys[4], xs.shape)
    return xs + config.offset * offset + config.noise * noise, new_lengths


def interpolate(xs, times):
    """The values of ``xs [T, B, F]`` at fractional ``times [T', B]``."""
    before = jnp.clip(jnp.floor(times).astype(int), 0, len(xs) - 1)
    after = jnp.minimum(before + 1, len(xs) - 1)
    part = (times - before)[..., None]
    first = jnp.take_along_axis(xs, before[..., None], axis=0)
    second = jnp.take_along_axis(xs, after[..., None], axis=0)
    return first * (1 - part) + second * part
