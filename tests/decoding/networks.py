"""A small network over tokens, and its log probabilities token by token."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import rnnjax

V, B = 4, 2
START = jnp.array([[1, 2]])


@functools.cache
def network(scale=3.0, seed=0):
    """``(step, carry)``; the larger the scale, the surer it is."""
    rnn = rnnjax.stack(rnnjax.embed(V, 4), rnnjax.gru(6), rnnjax.dense(V))
    params = rnn.init(jax.random.key(seed), START[0])
    params = jax.tree.map(lambda a: scale * a, params)
    return functools.partial(rnn.step, params), rnn.initial_carry(params, (B,))


class Scorer:
    """Log probabilities of the next token after any beginning, remembered.

    For one row of the batch, by the step alone.
    """

    def __init__(self, step, carry, start, row):
        self.step, self.row = jax.jit(step), row
        self.known = {}
        self.start, self.carry = start, carry

    def __call__(self, tokens):
        """``(log_p [V], carry after the last token was read)``."""
        if tokens not in self.known:
            before = self(tokens[:-1])[1] if tokens else self.carry
            token = jnp.full(self.start.shape, tokens[-1]) if tokens else self.start
            carry, logits = self.step(before, token)
            log_p = np.asarray(jax.nn.log_softmax(logits), np.float64)[self.row]
            self.known[tokens] = log_p, carry
        return self.known[tokens]

    def log_probability(self, tokens):
        return sum(self(tokens[:t])[0][tokens[t]] for t in range(len(tokens)))
