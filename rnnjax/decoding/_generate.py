"""`generate`: greedy decoding and ancestral sampling, compiled, of one fixed shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax._checks import describe, positive
from rnnjax.base import Array, Carry
from rnnjax.decoding._sampling import GREEDY, Sampling

Step: TypeAlias = Callable[[Carry, Array], tuple[Carry, Array]]
"""``(carry, token [*batch]) -> (carry, logits [*batch, V])``."""


class Generated(NamedTuple):
    """What was generated.

    Attributes:
      tokens: int ``[length, *batch]``; after a stop token they are ``pad``.
      lengths: int ``[*batch]``, tokens up to the stop token, itself among them.
      log_probabilities: ``[length, *batch]``, of each token under the network itself,
        before any filter; 0 after a stop token.
      carry: the carry before the last token was read.
    """

    tokens: Array
    lengths: Array
    log_probabilities: Array
    carry: Carry


class State(NamedTuple):
    """What goes from one token to the next."""

    carry: Carry
    token: Array
    """``[*batch]``, the last token, which has not been read yet."""
    seen: Array
    """bool ``[*batch, V]``."""
    done: Array
    """bool ``[*batch]``."""


def generate(
    step: Step,
    carry: Carry,
    prompt: Any,
    *,
    length: int,
    sampling: Sampling = GREEDY,
    stop: tuple[int, ...] = (),
    pad: int = 0,
    key: Array | None = None,
) -> Generated:
    """Continues a prompt, token by token.

    ``carry, logits = step(carry, token)``, ``token = sampling.choose(logits)``

    All shapes are fixed, so that it runs under `jax.jit`; the loop ends as soon as
    every sequence has met a stop token.

    Args:
      step: ``(carry, token) -> (carry, logits)``, such as
        ``functools.partial(rnn.step, params)``.
      carry: the carry before the prompt.
      prompt: int ``[P, *batch]``, at least one token (a start token, say). All are
        read; none is given back.
      length: number of tokens to generate at most.
      sampling: greedy by default.
      stop: tokens that end a sequence.
      pad: what stands after them.
      key: for the draws; without one the most probable token of those that the filters
        keep is taken.

    Returns:
      `Generated`.

    Raises:
      ValueError: an empty prompt, or a length below 1; a ``step`` whose logits are not
        ``[*batch, V]``; a stop token that is no token.
      TypeError: a prompt that is not of integers.

    Example:
      >>> import functools, jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import decoding
      >>> rnn = rnnjax.stack(rnnjax.embed(9, 4), rnnjax.gru(8), rnnjax.dense(9))
      >>> prompt = jnp.array([[1, 2]])
      >>> params = rnn.init(jax.random.key(0), prompt[0])
      >>> @jax.jit
      ... def continued(params, key):
      ...     return decoding.generate(
      ...         functools.partial(rnn.step, params),
      ...         rnn.initial_carry(params, (2,)),
      ...         prompt,
      ...         length=5,
      ...         sampling=decoding.Sampling(temperature=0.7, top_p=0.9),
      ...         stop=(0,),
      ...         key=key,
      ...     )
      >>> continued(params, jax.random.key(1)).tokens.shape
      (5, 2)
    """
    length = positive("length", length)
    prompt = check_prompt(prompt)
    state = first_state(step, carry, prompt, stop)
    batch = prompt.shape[1:]
    tokens = jnp.full((length, *batch), pad, prompt.dtype)
    scores = jnp.zeros((length, *batch), jnp.float32)

    def going_on(loop):
        i, state, _, _ = loop
        return (i < length) & ~jnp.all(state.done)

    def one(loop):
        i, state, tokens, scores = loop
        state, token, score = advance(step, state, i, sampling, stop, pad, key)
        return i + 1, state, tokens.at[i].set(token), scores.at[i].set(score)

    loop = jnp.int32(0), state, tokens, scores
    _, state, tokens, scores = lax.while_loop(going_on, one, loop)
    return Generated(tokens, lengths_of(tokens, stop), scores, state.carry)


def advance(
    step: Step,
    state: State,
    index: Any,
    sampling: Sampling,
    stop: tuple[int, ...],
    pad: int,
    key: Array | None,
) -> tuple[State, Array, Array]:
    """One token more: the new state, the token, and its log probability."""
    carry, logits = step(state.carry, state.token)
    key = None if key is None else jax.random.fold_in(key, index)
    token = sampling.choose(logits, state.seen, key).astype(state.token.dtype)
    score = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    score = jnp.take_along_axis(score, token[..., None], axis=-1)[..., 0]
    token = jnp.where(state.done, jnp.asarray(pad, token.dtype), token)
    score = jnp.where(state.done, 0, score)
    seen = state.seen | (jax.nn.one_hot(token, logits.shape[-1]) > 0)
    done = state.done | is_stop(token, stop)
    return State(carry, token, seen, done), token, score


def first_state(
    step: Step, carry: Carry, prompt: Array, stop: tuple[int, ...]
) -> State:
    """The state after the prompt, its last token not read yet."""
    logits = jax.eval_shape(step, carry, prompt[0])[1]
    batch = prompt.shape[1:]
    check_logits(logits, batch, stop)
    seen = jax.nn.one_hot(prompt, logits.shape[-1]).any(axis=0)
    if prompt.shape[0] > 1:
        carry, _ = lax.scan(
            lambda c, token: (step(c, token)[0], None), carry, prompt[:-1]
        )
    return State(carry, prompt[-1], seen, jnp.zeros(batch, bool))


def is_stop(token: Array, stop: tuple[int, ...]) -> Array:
    """Whether a token is one of ``stop``."""
    return jnp.isin(token, jnp.asarray(stop, token.dtype))


def lengths_of(tokens: Array, stop: tuple[int, ...]) -> Array:
    """Number of tokens ``[length, *batch]`` up to the first stop token, with it."""
    stops = is_stop(tokens, stop).astype(jnp.int32)
    before = jnp.cumsum(stops, axis=0) == stops
    return jnp.sum(before, axis=0).astype(jnp.int32)


def check_prompt(prompt: Any) -> Array:
    """``prompt`` as int ``[P, *batch]`` with ``P`` of 1 or more."""
    prompt = jnp.asarray(prompt)
    if not jnp.issubdtype(prompt.dtype, jnp.integer):
        raise TypeError(f"prompt: expected integer tokens, got {describe(prompt)}.")
    if not prompt.ndim or not prompt.shape[0]:
        raise ValueError(
            f"prompt: expected [P, *batch] with at least one token, got "
            f"{describe(prompt)}. Begin with a start token."
        )
    return prompt.astype(jnp.int32)  # a small type would wrap the tokens to come


def check_logits(logits: Any, batch: tuple[int, ...], stop: tuple[int, ...]) -> None:
    """Raises unless a step gave ``[*batch, V]`` and the stop tokens are among them."""
    shape = getattr(logits, "shape", None)
    if shape is None or shape[:-1] != batch or len(shape) != len(batch) + 1:
        raise ValueError(
            f"step: expected logits [*batch, V] with batch axes {batch}, those of the "
            f"tokens, got {logits}."
        )
    outside = [token for token in stop if not 0 <= token < shape[-1]]
    if outside:
        raise ValueError(
            f"stop: expected tokens from 0 to {shape[-1] - 1}, got {outside}."
        )
