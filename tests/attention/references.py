"""Attention as NumPy loops over examples and positions, from the equations."""

import numpy as np


def softmax(scores):
    """Of a list of numbers; of an empty one, an empty one."""
    if not len(scores):
        return np.zeros(0)
    e = np.exp(np.asarray(scores) - max(scores))
    return e / e.sum()


def attend(score, memory, lengths, query, place=None, window=None, coverage=None):
    """Contexts ``[B, M]`` and weights ``[B, S]`` of a score of one query and position.

    ``score(q, m, covered)``; `place` gives the centre of the window for a query.
    """
    positions, batch, size = memory.shape
    contexts, weights = np.zeros((batch, size)), np.zeros((batch, positions))
    for b in range(batch):
        valid = list(range(lengths[b]))
        centre = None
        if place is not None:
            centre = lengths[b] * place(query[b])
            valid = [s for s in valid if abs(s - centre) <= window]
        scores = [
            score(query[b], memory[s, b], 0 if coverage is None else coverage[b, s])
            for s in valid
        ]
        for s, a in zip(valid, softmax(scores), strict=True):
            if centre is not None:
                a *= np.exp(-((s - centre) ** 2) / (2 * (window / 2) ** 2))
            weights[b, s] = a
            contexts[b] += a * memory[s, b]
    return contexts, weights


def sigmoid(x):
    return 1 / (1 + np.exp(-x))
