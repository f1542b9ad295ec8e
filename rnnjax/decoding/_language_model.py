"""Language models that a search on the host asks for the next token."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax import RNN
from rnnjax._checks import positive
from rnnjax.base import Params


class LanguageModel(NamedTuple):
    """Next-token probabilities, as functions of a state of any kind.

    Attributes:
      start: the state before the first token.
      log_probabilities: ``state -> [V]``, a NumPy array.
      advance: ``(state, token) -> state``.
    """

    start: Any
    log_probabilities: Callable[[Any], np.ndarray]
    advance: Callable[[Any, int], Any]


def ngram(
    sequences: Iterable[Sequence[int]],
    *,
    order: int,
    size: int,
    strength: float = 1.0,
) -> LanguageModel:
    """An n-gram model, each order smoothed by the one below.

    ``p(w | h) = (count(h w) + strength p(w | h')) / (count(h) + strength)``, where
    ``h'`` is ``h`` without its first token; below the empty history it is ``1 / size``.

    Args:
      sequences: of tokens, what is counted.
      order: tokens of an n-gram, the predicted one among them.
      size: number of tokens, ``V``.
      strength: of the order below, in counts.

    Returns:
      A `LanguageModel` whose state is the last ``order - 1`` tokens.

    Raises:
      ValueError: numbers that are not positive; a token that is not below ``size``.

    Example:
      >>> from rnnjax import decoding
      >>> model = decoding.ngram([[0, 1, 0, 1, 0]], order=2, size=2)
      >>> after_zero = model.advance(model.start, 0)
      >>> [round(float(p), 2) for p in model.log_probabilities(after_zero)]
      [-1.64, -0.22]

    Reference: MacKay and Peto, "A Hierarchical Dirichlet Language Model", Natural
    Language Engineering 1995.
    """
    order, size = positive("order", order), positive("size", size)
    if not strength > 0:
        raise ValueError(f"strength: expected a number above 0, got {strength!r}.")
    counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for sequence in sequences:
        tokens = [int(token) for token in sequence]
        if tokens and not 0 <= min(tokens) <= max(tokens) < size:
            raise ValueError(
                f"sequences: expected tokens from 0 to {size - 1}, got {min(tokens)} "
                f"to {max(tokens)}."
            )
        for t, token in enumerate(tokens):
            for n in range(min(order - 1, t) + 1):
                counts[tuple(tokens[t - n : t])][token] += 1
    counts = dict(counts)
    known: dict[tuple[int, ...], np.ndarray] = {}

    def probabilities(history: tuple[int, ...]) -> np.ndarray:
        if history in known:
            return known[history]
        below = probabilities(history[1:]) if history else np.full(size, 1 / size)
        found = counts.get(history, Counter())
        p = strength * below
        for token, count in found.items():
            p[token] += count
        known[history] = p / (found.total() + strength)
        return known[history]

    def advance(state, token):
        return (*state, int(token))[max(0, len(state) + 2 - order) :]

    return LanguageModel((), lambda state: np.log(probabilities(state)), advance)


def rnn_language_model(rnn: RNN, params: Params, start: int) -> LanguageModel:
    """A recurrent language model; one compiled step a token.

    Args:
      rnn: from tokens to logits.
      params: its parameters.
      start: the token that it is given before the first.

    Returns:
      A `LanguageModel` whose state is a carry and the probabilities that came with it.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np, rnnjax
      >>> from rnnjax import decoding
      >>> rnn = rnnjax.stack(rnnjax.embed(5, 3), rnnjax.gru(4), rnnjax.dense(5))
      >>> params = rnn.init(jax.random.key(0), jnp.array(0))
      >>> model = decoding.rnn_language_model(rnn, params, 0)
      >>> round(float(np.exp(model.log_probabilities(model.start)).sum()), 3)
      1.0
    """

    @jax.jit
    def step(carry, token):
        carry, logits = rnn.step(params, carry, token)
        return carry, jax.nn.log_softmax(logits.astype(jnp.float32))

    def advance(state, token):
        carry, log_probabilities = step(state[0], jnp.int32(token))
        return carry, np.asarray(log_probabilities, np.float64)

    first = rnn.initial_carry(params)
    return LanguageModel(advance((first, None), start), lambda state: state[1], advance)
