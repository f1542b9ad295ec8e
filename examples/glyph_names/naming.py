"""Names for pictures: by the network, and of the nearest picture; and their scores."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax import decoding, metrics

from ..common.vocabulary import END, PAD, Vocabulary
from .data import Glyph
from .model import Namer

_BATCH = 64

Name = tuple[str, ...]


def name_all(
    namer: Namer,
    params,
    vocabulary: Vocabulary,
    glyphs: Sequence[Glyph],
    longest: int,
    beam: int,
) -> list[Name]:
    """The names that a beam search finds; with a beam of 1, the greedy ones.

    Args:
        namer: the network.
        params: its parameters.
        vocabulary: its words.
        glyphs: what to name.
        longest: words of a name at most, its end among them.
        beam: hypotheses that are kept.
    """

    @jax.jit
    def search(params, images):
        encoded = namer.encode(params, images)
        step = functools.partial(namer.decoder.step, encoded.params)
        prompt = jnp.full((1, len(images)), PAD)
        options = {"length": longest, "stop": (END,), "pad": PAD}
        if beam == 1:
            return decoding.generate(step, encoded.carry, prompt, **options).tokens
        found = decoding.beam_search(
            step, encoded.carry, prompt, beam=beam, length_penalty=1.0, **options
        )
        return found.tokens[0]

    names: list[Name] = []
    images = np.stack([glyph.image for glyph in glyphs])
    for start in range(0, len(images), _BATCH):
        part = images[start : start + _BATCH]
        full = np.resize(part, (_BATCH, *part.shape[1:]))
        tokens = np.asarray(search(params, full))[:, : len(part)]
        names += [tuple(vocabulary.decode(column)) for column in tokens.T]
    return names


def nearest_names(train: Sequence[Glyph], glyphs: Sequence[Glyph]) -> list[Name]:
    """The name of the training picture that differs least, pixel by pixel."""
    known = np.stack([glyph.image.ravel() for glyph in train])
    squares = (known**2).sum(1)
    names = []
    for glyph in glyphs:
        distances = squares - 2 * known @ glyph.image.ravel()
        names.append(train[int(distances.argmin())].name)
    return names


def score(names: Sequence[Name], glyphs: Sequence[Glyph]) -> dict[str, float]:
    """Share of names that are right in every word, of right words, and BLEU."""
    bleu = metrics.bleu()
    hypotheses = [" ".join(name) for name in names]
    references = [" ".join(glyph.name) for glyph in glyphs]
    state = bleu.update(bleu.init(), hypotheses, references)
    pairs = list(zip(hypotheses, references, strict=True))
    first = [h.split()[:1] == r.split()[:1] for h, r in pairs]
    return {
        "exact": float(np.mean([h == r for h, r in pairs])),
        "first_word": float(np.mean(first)),
        "bleu": float(bleu.compute(state)),
    }
