"""Prefix beam search of connectionist temporal classification, in NumPy on the host."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rnnjax._checks import describe, positive
from rnnjax.decoding._language_model import LanguageModel


class Transcript(NamedTuple):
    """One labelling.

    Attributes:
      tokens: the labels.
      score: what it is ranked by.
      log_probability: of the labelling, summed over the alignments that were kept.
    """

    tokens: tuple[int, ...]
    score: float
    log_probability: float


class _Beam(NamedTuple):
    """The prefixes kept, and arrays with a row for each."""

    prefixes: list[tuple[int, ...]]
    blank: np.ndarray
    """Log probability of the alignments that end with a blank."""
    label: np.ndarray
    """And of those that end with the last label."""
    bonus: np.ndarray
    """Weighted log probability of the language model and insertion bonus."""
    states: list[Any]


def ctc_beam_search(
    log_probabilities: Any,
    *,
    beam: int,
    blank: int = 0,
    n_best: int = 1,
    language_model: LanguageModel | None = None,
    weight: float = 1.0,
    insertion: float = 0.0,
    end: int | None = None,
) -> list[Transcript]:
    """The most probable labellings of one utterance, each summed over its alignments.

    ``score(l) = log P_ctc(l) + weight log P_lm(l) + insertion |l|``. If the beam holds
    every prefix, ``P_ctc`` is the exact sum; else it is a lower bound. With ``end``,
    ``P_lm(l)`` is the probability of l and no more; without, of all that begins so.

    It runs on the host: prefixes are merged by what they are, which has no fixed shape.

    Args:
      log_probabilities: ``[T, V]``, normalised (`jax.nn.log_softmax` of logits).
      beam: number of prefixes kept at each frame.
      blank: the token of no label.
      n_best: how many to return at most.
      language_model: over the same ``V`` tokens; what it says of ``blank`` is used for
        nothing but ``end``.
      weight: of the language model, ``alpha``.
      insertion: bonus of each label, ``beta``.
      end: the token by which the language model says that a sequence is over; it may
        well be ``blank``, which no labelling has. None leaves ends out.

    Returns:
      The best labellings, best first.

    Raises:
      ValueError: no ``[T, V]``; values above 0 or NaN; ``blank`` or ``end`` is no
        token; ``end`` without a language model; counts that are not positive.

    Example:
      >>> import numpy as np
      >>> from rnnjax import decoding
      >>> frames = np.log([[0.6, 0.4], [0.6, 0.4]])
      >>> best, *_ = decoding.ctc_beam_search(frames, beam=4)  # the best path is blank
      >>> best.tokens, round(float(np.exp(best.log_probability)), 2)
      ((1,), 0.64)

    References: Graves, "Supervised Sequence Labelling with Recurrent Neural Networks",
    2012; Hannun et al., "First-Pass Large Vocabulary Continuous Speech Recognition
    using Bi-Directional Recurrent DNNs", 2014.
    """
    beam, n_best = positive("beam", beam), positive("n_best", n_best)
    frames = np.asarray(log_probabilities, np.float64)
    if frames.ndim != 2:
        raise ValueError(
            f"log_probabilities: expected [T, V] of one utterance, got "
            f"{describe(frames)}. Cut padding off, and search a batch one by one."
        )
    for name, token in (("blank", blank), ("end", 0 if end is None else end)):
        if not 0 <= token < frames.shape[1]:
            raise ValueError(
                f"{name}: expected a token from 0 to {frames.shape[1] - 1}, got "
                f"{token}."
            )
    if end is not None and language_model is None:
        raise ValueError(
            f"end: expected a language_model beside it, which says how likely the end "
            f"is, got end={end} alone. Give one, or leave end out."
        )
    if np.isnan(frames).any() or (frames > 1e-5).any():
        raise ValueError(
            "log_probabilities: expected values of 0 or below, got larger ones or NaN. "
            "Normalise logits by jax.nn.log_softmax."
        )
    start = None if language_model is None else language_model.start
    kept = _Beam([()], np.zeros(1), np.full(1, -np.inf), np.zeros(1), [start])
    for frame in frames:
        kept = _advance(kept, frame, beam, blank, language_model, weight, insertion)
    totals = np.logaddexp(kept.blank, kept.label)
    scores = totals + kept.bonus
    if language_model is not None and end is not None and weight:
        said = [language_model.log_probabilities(state)[end] for state in kept.states]
        scores = scores + weight * np.array(said)
    order = np.argsort(-scores, kind="stable")[:n_best]
    return [
        Transcript(kept.prefixes[i], float(scores[i]), float(totals[i])) for i in order
    ]


def _advance(
    kept: _Beam,
    frame: np.ndarray,
    beam: int,
    blank: int,
    language_model: LanguageModel | None,
    weight: float,
    insertion: float,
) -> _Beam:
    """One frame: every prefix stays as it is or grows by a label; the best are kept."""
    number, size = len(kept.prefixes), len(frame)
    rows = np.arange(number)
    total = np.logaddexp(kept.blank, kept.label)
    last = np.array([p[-1] if p else blank for p in kept.prefixes], int)
    stay_blank = total + frame[blank]
    stay_label = kept.label + frame[last]  # of the empty prefix minus infinity
    grown = total[:, None] + frame[None, :]
    # The same label again grows the prefix only after a blank.
    grown[rows, last] = kept.blank + frame[last]
    grown[:, blank] = -np.inf
    place = {prefix: i for i, prefix in enumerate(kept.prefixes)}
    for j, prefix in enumerate(kept.prefixes):
        parent = place.get(prefix[:-1]) if prefix else None
        if parent is not None:  # it grows into a prefix that is there
            stay_label[j] = np.logaddexp(stay_label[j], grown[parent, last[j]])
            grown[parent, last[j]] = -np.inf
    bonus = np.full((number, size), insertion) + kept.bonus[:, None]
    if language_model is not None and weight:  # 0 silences its minus infinities too
        said = [language_model.log_probabilities(state) for state in kept.states]
        bonus = bonus + weight * np.stack(said)
    scores = np.concatenate(
        [np.logaddexp(stay_blank, stay_label) + kept.bonus, (grown + bonus).ravel()]
    )
    order = np.argsort(-scores, kind="stable")[:beam]
    order = order[scores[order] > -np.inf]
    stays = order < number
    parents, labels = np.divmod(np.maximum(order - number, 0), size)
    parents = np.where(stays, order, parents)
    prefixes, states = [], []
    for stay, i, label in zip(stays, parents, labels, strict=True):
        prefix, state = kept.prefixes[i], kept.states[i]
        if not stay:
            prefix = (*prefix, int(label))
            if language_model is not None:
                state = language_model.advance(state, int(label))
        prefixes.append(prefix)
        states.append(state)
    return _Beam(
        prefixes,
        np.where(stays, stay_blank[parents], -np.inf),
        np.where(stays, stay_label[parents], grown[parents, labels]),
        np.where(stays, kept.bonus[parents], bonus[parents, labels]),
        states,
    )
