"""Where the first number that is not finite comes from."""

import jax
import jax.numpy as jnp

from rnnjax import training


def test_in_a_step_of_a_loop():
    """One with constants, several carried values and several inputs."""

    def loss(params, carry, batch, key):
        def step(carry, inputs):
            total, count = carry
            x, weight = inputs
            return (total + params * weight * jnp.log(x), count + 1), total

        start = jnp.zeros(2), jnp.zeros(())
        (total, _), _ = jax.lax.scan(step, start, (batch, jnp.ones(5)))
        return jnp.sum(total), carry

    batch = jnp.ones((5, 2)).at[3, 1].set(-1.0)
    place = training.locate_nonfinite(loss, 2.0, None, batch, jax.random.key(0))
    assert "Began in the loss, in `log`" in place
    assert "in step 3 of 5 of a loop" in place
    assert "nan at [1]" in place
