"""Beam search, compiled, of one fixed shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax._checks import positive
from rnnjax.base import Array, Carry, PyTree, Shape
from rnnjax.decoding._generate import Step, check_prompt, first_state


class Hypotheses(NamedTuple):
    """The best hypotheses, best first.

    Attributes:
      tokens: int ``[n_best, length, *batch]``; after the end of one they are ``pad``.
      lengths: int ``[n_best, *batch]``, the stop token among them; 0 where there are
        fewer hypotheses than ``n_best``.
      scores: ``[n_best, *batch]``, what they are ranked by; minus infinity for none.
      log_probabilities: ``[n_best, *batch]``, of the whole hypothesis.
    """

    tokens: Array
    lengths: Array
    scores: Array
    log_probabilities: Array


class _Alive(NamedTuple):
    """Hypotheses that go on; ``K`` is the beam, ``N`` all of the batch in one axis."""

    carry: Carry
    """Leaves ``[K, *batch, ...]``."""
    token: Array
    """``[K, N]``, the last one, not read yet."""
    tokens: Array
    """``[K, N, length]``."""
    log_probabilities: Array
    """``[K, N]``; minus infinity for none."""


class _Ended(NamedTuple):
    """Hypotheses that have ended, best first."""

    tokens: Array
    """``[K, N, length]``."""
    lengths: Array
    log_probabilities: Array
    scores: Array
    """``[K, N]``, as the two before."""


def beam_search(
    step: Step,
    carry: Carry,
    prompt: Any,
    *,
    length: int,
    beam: int,
    stop: tuple[int, ...] = (),
    n_best: int | None = None,
    length_penalty: float = 0.0,
    coverage_penalty: float = 0.0,
    coverage: Callable[[Carry], Array] | None = None,
    pad: int = 0,
) -> Hypotheses:
    """Keeps the ``beam`` most probable beginnings, and of those that end the best.

    ``score = log P / ((5 + n) / 6)^alpha + beta sum_s log(min(coverage_s, 1))`` of a
    hypothesis of ``n`` tokens, with ``alpha`` and ``beta`` the two penalties.

    A hypothesis ends with a stop token, or by having ``length`` tokens. Those that go
    on are ranked by ``log P``, those that have ended by their score, apart from one
    another. The search stops early once no sequence of the batch can find a better one.
    If the beam holds all beginnings, the result is that of exhaustive search.

    Args:
      step: ``(carry, token) -> (carry, logits)``; it is vmapped over the beam, so that
        what it closes over (a bound memory) is not repeated.
      carry: the carry before the prompt.
      prompt: int ``[P, *batch]``, at least one token.
      length: number of tokens at most.
      beam: number of hypotheses.
      stop: tokens that end a hypothesis.
      n_best: how many to return; None is ``beam``.
      length_penalty: ``alpha``, 0 or more; the larger, the longer the hypotheses.
      coverage_penalty: ``beta``, 0 or more; it needs ``coverage``.
      coverage: from a carry to the attention ``[*batch, S]`` that each position of the
        memory has had so far, such as the ``coverage`` of an
        `rnnjax.attention.AttentionCarry`; 1 at padding.
      pad: what stands after the end of a hypothesis.

    Returns:
      `Hypotheses`.

    Raises:
      ValueError: numbers out of range; ``coverage_penalty`` without ``coverage``; and
        what `generate` raises.
      TypeError: what `generate` raises.

    Example:
      >>> import functools, jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import decoding
      >>> rnn = rnnjax.stack(rnnjax.embed(9, 4), rnnjax.gru(8), rnnjax.dense(9))
      >>> prompt = jnp.array([[1, 2]])
      >>> params = rnn.init(jax.random.key(0), prompt[0])
      >>> best = decoding.beam_search(
      ...     functools.partial(rnn.step, params),
      ...     rnn.initial_carry(params, (2,)),
      ...     prompt,
      ...     length=6,
      ...     beam=4,
      ...     stop=(0,),
      ...     length_penalty=0.6,
      ... )
      >>> best.tokens.shape, bool((best.scores[0] >= best.scores[1]).all())
      ((4, 6, 2), True)

    Reference: Wu et al., "Google's Neural Machine Translation System", 2016, section 7.
    """
    length, beam = positive("length", length), positive("beam", beam)
    n_best = beam if n_best is None else positive("n_best", n_best)
    if n_best > beam:
        raise ValueError(f"n_best: expected at most beam = {beam}, got {n_best}.")
    for name, value in (
        ("length_penalty", length_penalty),
        ("coverage_penalty", coverage_penalty),
    ):
        if value < 0:
            raise ValueError(f"{name}: expected 0 or more, got {value!r}.")
    if coverage_penalty and coverage is None:
        raise ValueError(
            "coverage: coverage_penalty needs a function from a carry to the attention "
            "so far, got None."
        )
    prompt, stop = check_prompt(prompt), tuple(map(int, stop))
    state = first_state(step, carry, prompt, stop)
    batch = prompt.shape[1:]
    rows = math.prod(batch)
    stops = jnp.asarray(sorted(set(stop)), prompt.dtype)

    def spread(a):
        return jnp.broadcast_to(a[None], (beam, *a.shape))

    def score(log_probabilities, n, carry):
        """Of hypotheses ``[K, N, ...]`` of ``n`` tokens, ``carry`` after the last."""
        scores = log_probabilities / ((5 + n) / 6) ** length_penalty
        if not coverage_penalty or coverage is None:
            return scores
        read = jax.vmap(coverage)(carry).astype(jnp.float32)
        read = jnp.clip(read, jnp.finfo(read.dtype).tiny, 1)
        penalty = coverage_penalty * jnp.sum(jnp.log(read), axis=-1)
        penalty = penalty.reshape(beam, rows, *(1,) * (scores.ndim - 2))
        return scores + jnp.broadcast_to(penalty, scores.shape)

    def going_on(loop):
        i, alive, ended = loop
        # Probabilities only fall, and no penalty is milder than that of full length.
        longest = ((5 + length) / 6) ** length_penalty
        reach = jnp.max(alive.log_probabilities, axis=0) / longest
        return (i < length) & jnp.any(ended.scores[n_best - 1] < reach)

    def one(loop):
        i, alive, ended = loop
        token = alive.token.reshape(beam, *batch)
        carry, logits = jax.vmap(step)(alive.carry, token)
        log_p = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
        log_p = log_p.reshape(beam, rows, log_p.shape[-1])
        totals = alive.log_probabilities[..., None] + log_p
        if stop:
            at_stop = totals[..., stops]
            scores = score(at_stop, i + 1, carry)
            ended = _with_stopped(ended, alive, at_stop, scores, stops, i)
            totals = totals.at[..., stops].set(-jnp.inf)
        return i + 1, _grown(alive._replace(carry=carry), totals, i, batch), ended

    first = jnp.arange(beam) == 0  # all beams are the same at first: one counts
    alive = _Alive(
        jax.tree.map(spread, state.carry),
        spread(state.token.reshape(rows)),
        jnp.full((beam, rows, length), pad, prompt.dtype),
        jnp.broadcast_to(jnp.where(first, 0.0, -jnp.inf)[:, None], (beam, rows)),
    )
    none = jnp.full((beam, rows), -jnp.inf)
    ended = _Ended(alive.tokens, jnp.zeros((beam, rows), jnp.int32), none, none)
    i, alive, ended = lax.while_loop(going_on, one, (jnp.int32(0), alive, ended))

    # Those that got to the full length have ended with it.
    at_end = jnp.where(i == length, alive.log_probabilities, -jnp.inf)
    cut = _Ended(
        alive.tokens,
        jnp.full((beam, rows), length, jnp.int32),
        at_end,
        score(at_end, length, alive.carry),
    )
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), ended, cut)
    _, order = _best(both.scores, n_best)
    best = _take(both, order)
    found = best.scores > -jnp.inf
    tokens = jnp.where(found[..., None], best.tokens, jnp.asarray(pad, prompt.dtype))
    return Hypotheses(
        jnp.moveaxis(tokens, -1, 1).reshape(n_best, length, *batch),
        *(
            a.reshape(n_best, *batch)
            for a in (
                jnp.where(found, best.lengths, 0),
                best.scores,
                best.log_probabilities,
            )
        ),
    )


def _with_stopped(
    ended: _Ended, alive: _Alive, totals: Array, scores: Array, stops: Array, i: Array
) -> _Ended:
    """The best of those that have ended and those that a stop token ends at ``i``.

    Args:
      ended: those before.
      alive: what the stop tokens are put to.
      totals: ``[K, N, E]``, log probabilities with each stop token.
      scores: ``[K, N, E]``.
      stops: ``[E]``.
      i: place of the stop token.
    """
    beam, rows, number = totals.shape

    def candidates(a):
        return jnp.moveaxis(a, -1, 1).reshape(beam * number, rows)

    every = jnp.concatenate([ended.scores, candidates(scores)])
    best, index = _best(every, beam)
    is_old = index < beam
    old = _take(ended, jnp.where(is_old, index, 0))
    parent, which = jnp.divmod(jnp.maximum(index - beam, 0), number)
    new = _take(alive.tokens, parent).at[..., i].set(stops[which])
    totals = _take(candidates(totals), parent * number + which)
    return _Ended(
        jnp.where(is_old[..., None], old.tokens, new),
        jnp.where(is_old, old.lengths, i + 1),
        jnp.where(is_old, old.log_probabilities, totals),
        best,
    )


def _grown(alive: _Alive, totals: Array, i: Array, batch: Shape) -> _Alive:
    """The most probable continuations by one token; ``totals [K, N, V]``."""
    beam, rows, size = totals.shape
    flat = jnp.moveaxis(totals, -1, 1).reshape(beam * size, rows)
    best, index = _best(flat, beam)
    parent, token = jnp.divmod(index, size)
    token = token.astype(alive.token.dtype)
    return _Alive(
        _take(alive.carry, parent, batch),
        token,
        _take(alive.tokens, parent).at[..., i].set(token),
        best,
    )


def _best(scores: Array, number: int) -> tuple[Array, Array]:
    """The largest of ``[candidates, N]`` and their places, both ``[number, N]``."""
    best, index = lax.top_k(scores.T, number)
    return best.T, index.T


def _take(tree: PyTree, index: Array, batch: Shape | None = None) -> PyTree:
    """``leaf[index[k, n], n]`` of leaves ``[K, N, ...]``, or ``[K, *batch, ...]``."""
    number, rows = index.shape
    rank = 1 if batch is None else len(batch)

    def take(leaf):
        rest = leaf.shape[1 + rank :]
        flat = leaf.reshape(leaf.shape[0], rows, *rest)
        taken = flat[index, jnp.broadcast_to(jnp.arange(rows), index.shape)]
        return taken.reshape(number, *leaf.shape[1:])

    return jax.tree.map(take, tree)
