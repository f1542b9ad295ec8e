"""`generate` and `stream` against Python loops of `step`."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import decoding
from tests.decoding.networks import START, B, Scorer, V, network

LENGTH = 12
SAMPLING = decoding.Sampling(temperature=0.8, top_k=3, repetition_penalty=1.3)


def greedy_loop(prompt, stop):
    """Tokens, lengths and log probabilities of each row, as lists."""
    step, carry = network()
    results = []
    for row in range(B):
        scorer = Scorer(step, carry, prompt[0], row)
        # Each row alone: the others of the batch are told the same.
        tokens = tuple(int(token) for token in prompt[1:, row])
        number = len(tokens)
        while len(tokens) - number < LENGTH:
            tokens = (*tokens, int(np.argmax(scorer(tokens)[0])))
            if tokens[-1] in stop:
                break
        scores = [scorer(tokens[:t])[0][tokens[t]] for t in range(number, len(tokens))]
        results.append((tokens[number:], scores))
    return results


@pytest.mark.parametrize("stop", [(), (0,), (0, 3)])
@pytest.mark.parametrize("prompt", [START, jnp.array([[1, 2], [3, 3], [2, 0]])])
def test_greedy_is_a_loop(prompt, stop):
    step, carry = network()
    result = decoding.generate(step, carry, prompt, length=LENGTH, stop=stop, pad=V)
    for row, (tokens, scores) in enumerate(greedy_loop(prompt, stop)):
        n = len(tokens)
        assert result.lengths[row] == n
        assert tuple(result.tokens[:n, row].tolist()) == tokens
        assert np.all(result.tokens[n:, row] == V)
        np.testing.assert_allclose(
            result.log_probabilities[:n, row], scores, rtol=1e-4, atol=1e-5
        )
        assert not np.any(result.log_probabilities[n:, row])


@pytest.mark.parametrize("stop", [(), (0,)])
@pytest.mark.parametrize("key", [None, jax.random.key(3)])
def test_a_stream_is_what_is_generated(stop, key):
    step, carry = network(scale=1.0)
    options = {"length": LENGTH, "stop": stop, "key": key, "sampling": SAMPLING}
    generated = decoding.generate(step, carry, START, **options)
    streamed = np.stack(list(decoding.stream(step, carry, START, **options)))
    assert len(streamed) == generated.lengths.max()
    np.testing.assert_array_equal(streamed, generated.tokens[: len(streamed)])


def test_draws_have_the_probabilities_of_the_network():
    logits = jnp.array([0.0, 1.0, 2.0, -1.0])

    def step(carry, token):
        return carry, jnp.broadcast_to(logits, (*token.shape, V))

    result = decoding.generate(
        step,
        (),
        jnp.zeros((1, 4000), int),
        length=2,
        sampling=decoding.Sampling(temperature=0.5),
        key=jax.random.key(0),
    )
    frequencies = np.bincount(result.tokens[1], minlength=V) / 4000
    np.testing.assert_allclose(frequencies, jax.nn.softmax(2 * logits), atol=0.03)
    assert np.any(result.tokens[0] != result.tokens[1])


def test_the_penalty_counts_prompt_and_output():
    def step(carry, token):
        return carry, jnp.broadcast_to(jnp.array([4.0, 3.0, 2.0, 1.0]), (V,))

    sampling = decoding.Sampling(repetition_penalty=100.0, temperature=0.0)
    result = decoding.generate(step, (), [3, 1], length=2, sampling=sampling)
    assert result.tokens.tolist() == [0, 2]


def test_jit_compiles_once_and_runs_on_a_vmapped_ensemble():
    step, carry = network()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def run(carry, prompt, key):
        return decoding.generate(
            step, carry, prompt, length=4, sampling=SAMPLING, key=key
        ).tokens

    first = run(carry, START, jax.random.key(0))
    assert first.shape == (4, B)
    assert np.any(run(carry, START, jax.random.key(1)) != first)


@pytest.mark.parametrize(
    "change, error, match",
    [
        ({"prompt": jnp.zeros((0, B), int)}, ValueError, "at least one token"),
        ({"prompt": jnp.zeros((1, B))}, TypeError, "integer tokens"),
        ({"length": 0}, ValueError, "length: expected a positive"),
        ({"stop": (V,)}, ValueError, f"stop: expected tokens from 0 to {V - 1}"),
        ({"step": lambda carry, token: (carry, token)}, ValueError, "step: expected"),
    ],
)
@pytest.mark.parametrize("decode", [decoding.generate, decoding.stream])
def test_errors(decode, change, error, match):
    step, carry = network()
    given = {"step": step, "carry": carry, "prompt": START, "length": 3, **change}
    with pytest.raises(error, match=match):
        decode(given.pop("step"), given.pop("carry"), given.pop("prompt"), **given)
