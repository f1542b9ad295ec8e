"""From samples to logarithms of mel energies."""

from __future__ import annotations

import numpy as np

WINDOW_SECONDS, HOP_SECONDS = 0.025, 0.01
_FLOOR = 1e-8


def log_mel(samples: np.ndarray, rate: int, channels: int) -> np.ndarray:
    """The logarithms of the energies in mel channels.

    ``log(max(|FFT(hann * x)|^2 M, 1e-8))``, with triangles M that are as wide as their
    neighbours are far, evenly spaced on the mel scale.

    Args:
        samples: ``[N]`` between -1 and 1, at least one window long.
        rate: samples in a second.
        channels: ``F``.

    Returns:
        float32 ``[T, F]``, a frame every 10 ms.
    """
    window, hop = round(WINDOW_SECONDS * rate), round(HOP_SECONDS * rate)
    emphasised = np.append(samples[:1], samples[1:] - 0.97 * samples[:-1])
    frames = np.lib.stride_tricks.sliding_window_view(emphasised, window)[::hop]
    size = 2 ** int(np.ceil(np.log2(window)))
    spectrum = np.fft.rfft(frames * np.hanning(window), size)
    energies = np.abs(spectrum) ** 2 @ mel_triangles(channels, size, rate)
    return np.log(np.maximum(energies, _FLOOR)).astype(np.float32)


def mel_triangles(channels: int, size: int, rate: int) -> np.ndarray:
    """Weights ``[size // 2 + 1, F]`` of the bins of a Fourier transform."""
    edges = _edges(channels, rate)[:, None]
    bins = np.linspace(0, rate / 2, size // 2 + 1)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(np.minimum(rising, falling), 0).T


def centres(channels: int, rate: int) -> np.ndarray:
    """The frequencies in the middle of the channels, in Hz."""
    return _edges(channels, rate)[1:-1]


def _edges(channels: int, rate: int) -> np.ndarray:
    """Frequencies from 60 Hz to half the rate, evenly spaced on the mel scale."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (60.0, rate / 2))
    return 700 * (10 ** (np.linspace(low, high, channels + 2) / 2595) - 1)


def normalised(features: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1 in each channel of one recording."""
    deviation = np.maximum(features.std(0), 1e-3)
    return (features - features.mean(0)) / deviation


def stacked(features: np.ndarray, count: int) -> np.ndarray:
    """``count`` frames side by side as one step, ``[ceil(T / count), count F]``."""
    missing = -len(features) % count
    padded = np.pad(features, ((0, missing), (0, 0)), mode="edge")
    return padded.reshape(-1, count * features.shape[1])
