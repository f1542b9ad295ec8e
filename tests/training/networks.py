"""Parameters for tests, drawn without compiling an initialisation."""

import jax
import numpy as np


def draw(rnn, x):
    """Parameters of `rnn` for a step `x`, all of them normal: biases are not 0."""
    generator = np.random.default_rng(0)

    def normal(leaf):
        return jax.numpy.asarray(0.5 * generator.normal(size=leaf.shape), leaf.dtype)

    return jax.tree.map(normal, jax.eval_shape(rnn.init, jax.random.key(0), x))
