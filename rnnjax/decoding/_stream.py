"""`stream`: generation as a Python iterator, a token at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from rnnjax._checks import positive
from rnnjax.base import Array, Carry
from rnnjax.decoding._generate import Step, advance, check_prompt, first_state
from rnnjax.decoding._sampling import GREEDY, Sampling


def stream(
    step: Step,
    carry: Carry,
    prompt: Any,
    *,
    length: int,
    sampling: Sampling = GREEDY,
    stop: tuple[int, ...] = (),
    pad: int = 0,
    key: Array | None = None,
) -> Iterator[np.ndarray]:
    """Yields the tokens of `generate` one by one, as they are chosen.

    Args:
      step: as in `generate`; it is compiled once for the whole stream.
      carry: as in `generate`.
      prompt: as in `generate`.
      length: as in `generate`.
      sampling: as in `generate`.
      stop: as in `generate`; the stream ends where every sequence has ended.
      pad: as in `generate`.
      key: as in `generate`; the same key gives the same tokens.

    Returns:
      An iterator of int arrays ``[*batch]``.

    Raises:
      ValueError: what `generate` raises, at once.
      TypeError: what `generate` raises, at once.

    Example:
      >>> import functools, jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import decoding
      >>> rnn = rnnjax.stack(rnnjax.embed(9, 4), rnnjax.gru(8), rnnjax.dense(9))
      >>> params = rnn.init(jax.random.key(0), jnp.array(0))
      >>> step, carry = functools.partial(rnn.step, params), rnn.initial_carry(params)
      >>> len([int(t) for t in decoding.stream(step, carry, [1, 2, 3], length=4)])
      4
    """
    length = positive("length", length)
    prompt = check_prompt(prompt)
    state = first_state(step, carry, prompt, stop)

    @jax.jit
    def one(state, index):
        return advance(step, state, index, sampling, stop, pad, key)

    def tokens(state):
        for index in range(length):
            state, token, _ = one(state, index)
            yield np.asarray(token)
            if bool(state.done.all()):
                return

    return tokens(state)
