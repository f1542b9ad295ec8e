"""The LRU's outputs, states and all gradients equal those of memax, with resets."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import Schedule
from tests.interop.problems import CLOSE, F, T, peer

pytestmark = pytest.mark.interop
memax = peer("memax.equinox.semigroups.lru")
eqx = peer("equinox")

H = F  # memax checks the size of its outputs against that of the state
RESETS = np.array([False, False, True, False, True, False])


@pytest.mark.parametrize("backend", ["sequential", "associative"])
def test_lru(backend):
    rnn = rnnjax.lru(H, schedule=Schedule(backend=backend))
    draw = np.random.default_rng(0).normal
    xs, weights = (draw(size=(T, F)).astype(np.float32) for _ in range(2))
    params = rnn.init(jax.random.key(0), xs[0])
    with jax.numpy_rank_promotion("allow"):
        cell = memax.LRU(H, F, key=jax.random.key(1))

    def ours(params, xs):
        return rnn.unroll(params, None, xs, resets=RESETS)

    def theirs(params, xs):
        kernel, output = params["input"]["kernel"].T, params["output"]["kernel"].T
        own = {
            "B_re": kernel[:H],
            "B_im": kernel[H:],
            "gamma_log": params["input"]["gamma"],
            "nu_log": params["recurrent"]["nu"],
            "theta_log": params["recurrent"]["theta"],
            "C_re": output[:, :H],
            "C_im": -output[:, H:],
            "D": params["output"]["skip"],
        }
        fields = lambda c: [getattr(c, name) for name in own]  # noqa: E731
        with jax.numpy_rank_promotion("allow"):
            given = eqx.tree_at(fields, cell, list(own.values()))
            ((_, hs), _), ys = given(given.initialize_carry(), (xs, RESETS))
        return hs[-1], ys

    def results(run):
        def loss(params, xs):
            h, ys = run(params, xs)
            return jnp.sum(weights * ys) + jnp.sum(jnp.abs(h) ** 2), (h, ys)

        return jax.grad(loss, (0, 1), has_aux=True)(params, xs)

    actual, expected = jax.jit(lambda: (results(ours), results(theirs)))()
    chex.assert_trees_all_close(actual, expected, **CLOSE)
