"""Beam search against enumeration of everything, and against a search in Python."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import attention, decoding
from tests.decoding.networks import START, B, Scorer, V, network

CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def penalised(log_p, n, alpha):
    return log_p / ((5 + n) / 6) ** alpha


def every_hypothesis(length, stop):
    """All that end with a stop token, and all of full length without one."""
    others = [token for token in range(V) if token not in stop]
    for n in range(length):
        for begin in itertools.product(others, repeat=n):
            yield from ((*begin, token) for token in stop)
    yield from itertools.product(others, repeat=length)


def python_beam_search(scorer, length, beam, stop, alpha):
    """The textbook search, which never stops early."""
    alive, ended = {(): 0.0}, {}
    for n in range(1, length + 1):
        grown = {}
        for tokens, total in alive.items():
            for token, log_p in enumerate(scorer(tokens)[0]):
                grown[(*tokens, token)] = total + log_p
        for tokens, total in grown.items():
            if tokens[-1] in stop:
                ended[tokens] = penalised(total, n, alpha)
        grown = {t: total for t, total in grown.items() if t[-1] not in stop}
        alive = dict(sorted(grown.items(), key=lambda item: -item[1])[:beam])
    for tokens, total in alive.items():
        ended[tokens] = penalised(total, length, alpha)
    return sorted(ended.items(), key=lambda item: -item[1])[:beam]


def assert_same(result, row, expected):
    """The hypotheses of one row are those expected, ``(tokens, score)`` each."""
    for i, (tokens, score) in enumerate(expected):
        n = int(result.lengths[i, row])
        assert tuple(result.tokens[i, :n, row].tolist()) == tokens
        np.testing.assert_allclose(result.scores[i, row], score, **CLOSE)
        assert np.all(result.tokens[i, n:, row] == V)


@pytest.mark.parametrize("alpha", [0.0, 1.5])
@pytest.mark.parametrize("stop", [(), (0,), (3, 1)])
def test_equals_exhaustive_search_if_the_beam_holds_all(stop, alpha):
    length, (step, carry) = 3, network(scale=2.0)
    hypotheses = list(every_hypothesis(length, stop))
    run = functools.partial(
        decoding.beam_search,
        length=length,
        beam=V**length,
        stop=stop,
        length_penalty=alpha,
        pad=V,
    )
    result = run(step, carry, START)
    for row in range(B):
        scorer = Scorer(step, carry, START[0], row)
        scores = {
            tokens: penalised(scorer.log_probability(tokens), len(tokens), alpha)
            for tokens in hypotheses
        }
        expected = sorted(scores.items(), key=lambda item: -item[1])
        found = int((result.lengths[:, row] > 0).sum())
        assert found == len(expected)
        assert_same(result, row, expected)
        log_p = [scorer.log_probability(tokens) for tokens, _ in expected]
        np.testing.assert_allclose(
            result.log_probabilities[:found, row], log_p, **CLOSE
        )
        assert np.all(result.scores[found:, row] == -np.inf)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beam, n_best", [(1, 1), (2, 1), (3, 3)])
def test_equals_a_search_in_python(seed, beam, n_best):
    step, carry = network(scale=1.0 + seed, seed=seed)
    length, stop, alpha = 7, (0,), 0.3 * seed
    result = jax.jit(
        lambda carry: decoding.beam_search(
            step,
            carry,
            START,
            length=length,
            beam=beam,
            n_best=n_best,
            stop=stop,
            length_penalty=alpha,
            pad=V,
        )
    )(carry)
    assert result.tokens.shape == (n_best, length, B)
    for row in range(B):
        scorer = Scorer(step, carry, START[0], row)
        expected = python_beam_search(scorer, length, beam, stop, alpha)
        assert_same(result, row, expected[:n_best])


def test_a_beam_of_one_without_stop_tokens_is_greedy():
    step, carry = network()
    prompt = jnp.array([[1, 2], [3, 3]])
    greedy = decoding.generate(step, carry, prompt, length=9)
    best = decoding.beam_search(step, carry, prompt, length=9, beam=1)
    np.testing.assert_array_equal(best.tokens[0], greedy.tokens)
    np.testing.assert_allclose(best.scores[0], greedy.log_probabilities.sum(0), **CLOSE)


def test_it_stops_early():
    """After a sure stop token no further step is run; without one all are."""
    calls = []

    def step(carry, token):
        jax.debug.callback(lambda: calls.append(1))
        return carry, jnp.where(jnp.arange(V) == 0, 50.0, 0.0)

    for stop, number in (((0,), 1), ((), 20)):
        calls.clear()
        jax.block_until_ready(
            decoding.beam_search(step, (), [1], length=20, beam=2, n_best=1, stop=stop)
        )
        jax.effects_barrier()
        assert len(calls) == number


def test_the_coverage_penalty_is_its_formula():
    """An attentive decoder; every hypothesis scored by hand."""
    length, stop, alpha, beta = 3, (0,), 0.7, 0.9
    read = attention.bahdanau(3, coverage=True)
    cell = attention.attentive(rnnjax.cells.gru(4), read, 5)
    rnn = rnnjax.stack(rnnjax.embed(V, 3), rnnjax.layer(cell), rnnjax.dense(V))
    params = jax.tree.map(lambda a: 2 * a, rnn.init(jax.random.key(0), START[0]))
    memory = jax.random.normal(jax.random.key(1), (6, B, 5))
    lengths = jnp.array([6, 3])
    padding = jnp.arange(6)[None] >= lengths[:, None]
    bound = attention.bind(params, memory, lengths=lengths)
    step = functools.partial(rnn.step, bound)
    carry = rnn.initial_carry(bound, (B,))
    result = decoding.beam_search(
        step,
        carry,
        START,
        length=length,
        beam=V**length,
        stop=stop,
        length_penalty=alpha,
        coverage_penalty=beta,
        coverage=lambda carry: jnp.where(padding, 1.0, carry[1].coverage),
        pad=V,
    )
    for row in range(B):
        scorer = Scorer(step, carry, START[0], row)
        scores = {}
        for tokens in every_hypothesis(length, stop):
            total = scorer.log_probability(tokens)
            read = scorer(tokens[:-1])[1][1].coverage[row, : lengths[row]]
            of_coverage = sum(math.log(min(float(c), 1.0)) for c in read)
            scores[tokens] = penalised(total, len(tokens), alpha) + beta * of_coverage
        expected = sorted(scores.items(), key=lambda item: -item[1])
        assert_same(result, row, expected)


def test_any_batch_axes_and_leaves_of_any_kind():
    """Integers and keys in the carry go with their beam."""

    def step(carry, token):
        time, key, total = carry
        total = total + token
        logits = [v * jnp.sin(1.0 * total) for v in range(V)]
        return (time + 1, key, total), jnp.stack(logits, -1)

    def run(batch):
        keys = jnp.broadcast_to(jax.random.key(0), batch)
        carry = jnp.zeros(batch, int), keys, jnp.zeros(batch, int)
        prompt = jnp.arange(math.prod(batch)).reshape(1, *batch) % V
        return decoding.beam_search(step, carry, prompt, length=3, beam=2, stop=(0,))

    one, two = run((6,)), run((2, 3))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b.reshape(a.shape))
    alone = run(())
    for a, b in zip(alone, one, strict=True):
        np.testing.assert_array_equal(a, b[..., 0])


@pytest.mark.parametrize(
    "change, match",
    [
        ({"beam": 0}, "beam: expected a positive"),
        ({"n_best": 3}, "n_best: expected at most beam = 2"),
        ({"length_penalty": -1.0}, "length_penalty: expected 0 or more"),
        ({"coverage_penalty": 1.0}, "coverage: coverage_penalty needs"),
        ({"stop": (-1,)}, "stop: expected tokens"),
    ],
)
def test_errors(change, match):
    step, carry = network()
    with pytest.raises(ValueError, match=match):
        decoding.beam_search(step, carry, START, **{"length": 3, "beam": 2, **change})


def test_no_examples_small_tokens_and_stops_in_an_array():
    logits = jnp.zeros(300).at[280].set(9.0)

    def step(carry, token):
        return carry, jnp.broadcast_to(logits, (*token.shape, 300))

    start = np.array([[1, 1]], np.uint8)
    best = decoding.beam_search(step, (), start, length=2, beam=2, stop=np.array([280]))
    assert best.tokens.dtype == jnp.int32
    assert best.tokens[0, 0].tolist() == [280, 280]
    assert best.lengths[0].tolist() == [1, 1]
    empty = decoding.beam_search(step, (), start[:, :0], length=2, beam=2)
    assert 0 in empty.tokens.shape
