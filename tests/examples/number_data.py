"""Small files of the kinds that the examples of numbers read, made by chance."""

import gzip

import numpy as np

from examples.common.data import split_of

RATE = 4000  # Samples of a second.
# Of one length, so that there are few shapes to compile.
WORDS = ["yes", "not", "one", "two", "six", "ten", "bye", "key", "dot", "red"]
VOWELS_HEADER = "@problemName made up\n@classLabel true a b\n@data\n"


def series(path, count=120):
    """A CSV file of a series with two seasons, of 4 and 12 steps."""
    steps = np.arange(count)
    values = 10 + np.sin(2 * np.pi * steps / 4) + np.cos(2 * np.pi * steps / 12)
    values += 0.1 * np.random.default_rng(0).normal(size=count)
    lines = "".join(f"{i},{v:.4f}\n" for i, v in enumerate(values))
    path.write_text("time,load\n" + lines)
    return path


def vowels(path, count=10, channels=3):
    """Series of two classes in sktime's format."""
    generator = np.random.default_rng(0)
    lines = []
    for i in range(count):
        length = generator.integers(3, 7)
        rows = generator.normal(size=(channels, length)) + (i % 2)
        parts = [",".join(f"{value:.3f}" for value in row) for row in rows]
        lines.append(":".join([*parts, "ab"[i % 2]]))
    path.write_text(VOWELS_HEADER + "\n".join(lines) + "\n")
    return path


def image_lines(count):
    """Random images; the label is also the value of the first pixel."""
    generator = np.random.default_rng(0)
    table = generator.integers(0, 256, (count, 785))
    table[:, 784] = table[:, 0] = np.arange(count) % 10
    return [",".join(map(str, row)) for row in table]


def digits(path):
    """A gzipped CSV file of 120 such images."""
    path.write_bytes(gzip.compress("\n".join(image_lines(120)).encode()))
    return path


def tones(seconds, *hertz, rate=RATE):
    """The sum of tones of some frequencies."""
    times = np.arange(round(seconds * rate)) / rate
    waves = [0.2 * np.sin(2 * np.pi * f * times) for f in hertz]
    return np.sum(waves, axis=0).astype(np.float32)


def recordings(folder, of_each_split=4):
    """Tones that are called words, so many of each split, as WAV and FLAC."""
    import soundfile

    texts = {0: [], 1: [], 2: []}
    for text in [f"{a} {b}" for a in WORDS for b in WORDS]:
        texts[split_of(text)].append(text)
    chosen = [text for some in texts.values() for text in some[:of_each_split]]
    lines = ["path,transcript"]
    for i, text in enumerate(chosen):
        kind = ("wav", "flac")[i % 2]
        soundfile.write(folder / f"{i}.{kind}", tones(1.0, 200 + 100 * i), RATE)
        lines.append(f"{i}.{kind},{text.capitalize()}!")
    path = folder / "list.csv"
    path.write_text("\n".join(lines) + "\n")
    return path
