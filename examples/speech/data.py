"""The recordings and what is said in them: the prompts of Asterisk, or a CSV file."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from ..common import data as files
from ..common import debian, text
from ..common.errors import InputError, bad_line
from . import features, transcripts
from .config import Config

SOUNDS = debian.PACKAGES["asterisk-core-sounds-en-gsm"]
TEXTS = debian.PACKAGES["asterisk-core-sounds-en"]
_SOUNDS_FOLDER = "usr/share/asterisk/sounds/en_US_f_Allison"
_TEXTS_FILE = "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
_SHORTEST_SECONDS = 0.2
SPLITS = ("training", "development", "test")


@dataclass(frozen=True)
class Utterance:
    """One recording.

    Attributes:
        name: what it is called.
        samples: float32 ``[N]`` between -1 and 1.
        rate: samples in a second.
        text: the cleaned transcript.
    """

    name: str
    samples: np.ndarray
    rate: int
    text: str

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate


@dataclass(frozen=True)
class Example:
    """One recording as the network reads it.

    Attributes:
        utterance: where it comes from.
        spectrogram: float32 ``[frames, F]``.
        steps: float32 ``[T, stacked F]``.
        tokens: int32 ``[U]``.
    """

    utterance: Utterance
    spectrogram: np.ndarray
    steps: np.ndarray
    tokens: np.ndarray


def load(config: Config) -> tuple[dict[str, list[Example]], list[str]]:
    """The examples by their split, and a line on each file or package.

    All recordings of one transcript are in one split, which follows from its hash.

    Raises:
        FileNotFoundError: a package or a file is missing.
        InputError: a file is not what it should be, or a split stays empty.
    """
    if config.data is None:
        utterances, sources = read_asterisk(), [str(SOUNDS), str(TEXTS)]
    else:
        utterances = read_csv(config.data)
        sources = files.describe_own([config.data])
    kept = [u for u in utterances if u.seconds <= config.longest]
    splits: dict[str, list[Example]] = {name: [] for name in SPLITS}
    for utterance in kept:
        split = SPLITS[files.split_of(utterance.text)]
        splits[split].append(example(config, utterance))
    for name, members in splits.items():
        if not members:
            raise InputError(
                f"{config.data or _TEXTS_FILE}: expected recordings of up to "
                f"{config.longest:g} s in the {name} split, got none: of {len(kept)} "
                f"their transcripts chose others. More recordings help."
            )
    return splits, sources


def example(config: Config, utterance: Utterance) -> Example:
    """The features and tokens of a recording."""
    frames = features.log_mel(utterance.samples, utterance.rate, config.mel_channels)
    steps = features.stacked(features.normalised(frames), config.stacked)
    tokens = np.array(transcripts.encode(utterance.text), np.int32)
    return Example(utterance, frames, steps.astype(np.float32), tokens)


def read_asterisk() -> list[Utterance]:
    """The prompts of Asterisk, without tones, silences and long numbers.

    ``500`` may be said as "five hundred" or "five zero zero", so such prompts are left
    out; a single digit is said as its word.
    """
    sounds = debian.locate(SOUNDS) / _SOUNDS_FOLDER
    listed = debian.locate(TEXTS) / _TEXTS_FILE
    utterances = []
    for line in gzip.decompress(listed.read_bytes()).decode().splitlines():
        name, colon, transcript = line.partition(":")
        path = sounds / f"{name.strip()}.gsm"
        said = spoken(transcript)
        if line.startswith(";") or not colon or not path.is_file() or said is None:
            continue
        samples, rate = soundfile.read(
            path,
            dtype="float32",
            format="RAW",
            subtype="GSM610",
            channels=1,
            samplerate=8000,
        )
        utterances.append(Utterance(name.strip(), samples, rate, said))
    return utterances


def spoken(transcript: str) -> str | None:
    """The cleaned transcript of a prompt; None where it is not known what is said."""
    transcript = transcript.strip()
    if transcript.startswith(("[", "<", "(")) or re.search(
        r"\d\d|\d\.|\.\d", transcript
    ):
        return None
    without_notes = re.sub(r"\[.*?\]|\(.*?\)", " ", transcript)
    text = transcripts.clean(without_notes)
    return text if text and not transcripts.unknown(text) else None


def read_csv(path: Path) -> list[Utterance]:
    """The recordings of a CSV file with the columns path and transcript.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: a row that cannot be used, with its line.
    """
    utterances: list[Utterance] = []
    for line, (name, transcript) in text.read_csv(path, ["path", "transcript"]):
        said = transcripts.clean(transcript)
        strange = transcripts.unknown(said)
        if not said:
            raise bad_line(path, line, "a transcript", repr(transcript))
        if strange:
            raise bad_line(
                path,
                line,
                f"a transcript of {transcripts.ALPHABET.strip()}",
                repr(strange),
                "Spell numbers and abbreviations as they are said.",
            )
        utterances.append(_read_sound(path, line, name, said))
        rate, first = utterances[-1].rate, utterances[0].rate
        if rate != first:
            raise bad_line(
                path, line, f"{first} samples a second as in the first row", f"{rate}"
            )
    return utterances


def _read_sound(path: Path, line: int, name: str, said: str) -> Utterance:
    """One WAV or FLAC file, its channels averaged; its path begins at the CSV's."""
    sound = path.parent / name
    if not sound.is_file():
        raise bad_line(path, line, "a file", f"{sound}, which is not there")
    try:
        samples, rate = soundfile.read(sound, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise bad_line(path, line, "a WAV or FLAC file", f"{sound}: {error}") from None
    if len(samples) < _SHORTEST_SECONDS * rate:
        got = f"{len(samples) / rate:.3f} s in {sound}"
        raise bad_line(path, line, f"at least {_SHORTEST_SECONDS} s of sound", got)
    return Utterance(name, samples.mean(1), rate, said)


def collate(examples: list[Example]):
    """A function for `examples.common.buckets`: examples to a batch, time-major."""

    def batch(places: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        length, labels = shape
        chosen = [examples[place] for place in places]
        width = chosen[0].steps.shape[1]
        xs = np.zeros((length, len(chosen), width), np.float32)
        targets = np.zeros((labels, len(chosen)), np.int32)
        for i, one in enumerate(chosen):
            xs[: len(one.steps), i] = one.steps
            targets[: len(one.tokens), i] = one.tokens
        return {
            "xs": xs,
            "lengths": np.array([len(one.steps) for one in chosen], np.int32),
            "targets": targets,
            "target_lengths": np.array([len(one.tokens) for one in chosen], np.int32),
        }

    return batch


def sizes(examples: list[Example]) -> np.ndarray:
    """Steps and tokens of each example ``[N, 2]``."""
    return np.array([[len(one.steps), len(one.tokens)] for one in examples])
