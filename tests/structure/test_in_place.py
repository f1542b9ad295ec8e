"""The schedule written by hand keeps one array of the gates for a whole gradient.

Slopes take the place of projected inputs, and gradients of pre-activations that of
slopes. XLA is free to copy the array instead, at every step and all of it: this reads
in the optimised HLO that it does not.
"""

import jax
import jax.numpy as jnp
import pytest

import rnnjax
from rnnjax import Schedule
from tests.structure import hlo

T, F, H = 64, 24, 40
FUSED = Schedule(backend="fused")
CELLS = {
    "simple": lambda: rnnjax.simple(H, schedule=FUSED),
    "relu": lambda: rnnjax.simple(H, activation=jax.nn.relu, schedule=FUSED),
    "lstm": lambda: rnnjax.lstm(H, schedule=FUSED),
    "gru": lambda: rnnjax.gru(H, schedule=FUSED),
    "gru_reset_after": lambda: rnnjax.gru(H, reset_after=True, schedule=FUSED),
}
# Columns, columns of one row, halves of the batch in rows, rows in one.
BATCHES = (8, 1, 32, 80)


def compiled(cell, batch, options):
    rnn, xs = CELLS[cell](), jnp.ones((T, batch, F))
    params = rnn.init(jax.random.key(0), xs[0])

    def loss(params, xs):
        flags = {name: jnp.arange(T)[:, None] % 7 + xs[..., 0] > 1 for name in options}
        return jnp.sum(rnn.unroll(params, None, xs, **flags)[1] ** 2)

    return jax.jit(jax.grad(loss, (0, 1))).lower(params, xs).compile()


@pytest.mark.parametrize("options", [(), ("resets", "mask")], ids=["plain", "flags"])
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("cell", CELLS)
def test_no_step_copies_what_belongs_to_all_steps(cell, batch, options):
    loops = hlo.innermost_loops(compiled(cell, batch, options).as_text())
    assert len(loops) == 2
    copied = [
        i.line
        for loop in loops
        for i in loop.instructions
        if i.opcode == "copy" and max(i.sizes) >= T * batch * H // 2
    ]
    assert not copied
