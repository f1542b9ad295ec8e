"""How a text is written: how sure the model is of it, and how varied it is."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from rnnjax import training

from .trained import Trained


def distinct(texts: Sequence[str], n: int) -> float:
    """Different n-grams of words as a share of all of them; NaN where there are none.

    Li et al., "A Diversity-Promoting Objective Function for Neural Conversation
    Models", NAACL 2016.
    """
    grams = []
    for text in texts:
        words = text.split()
        grams += [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else float("nan")


def repeated(texts: Sequence[str], n: int = 20) -> float:
    """The share of stretches of n characters that the same text had before."""
    seen_before, total = 0, 0
    for text in texts:
        seen = set()
        for i in range(len(text) - n + 1):
            stretch = text[i : i + n]
            seen_before += stretch in seen
            total += 1
            seen.add(stretch)
    return seen_before / total if total else float("nan")


def make_perplexity(trained: Trained):
    """A function ``(prompts [P, B], continuations [N, B]) -> perplexity``.

    It is per character, and of the continuations alone: the prompts are read for
    nothing.
    """
    step = training.eval_step(training.language_model_loss(trained.model))

    def perplexity(prompts: np.ndarray, continuations: np.ndarray) -> float:
        whole = np.concatenate([prompts, continuations])
        carry = trained.model.initial_carry(trained.params, whole.shape[1:])
        read = len(prompts) - 1  # The last character of a prompt is the first input.
        for part in (slice(0, read), slice(read, None)):
            batch = {"inputs": whole[:-1][part], "targets": whole[1:][part]}
            carry, metrics = step(trained.params, carry, batch)
        return float(2 ** jax.device_get(metrics["bits"]))

    return perplexity
