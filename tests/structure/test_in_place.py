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


# The simple cell: 0.67 under jax 0.10, 0.81 under 0.12, where autodiff holds less.
@pytest.mark.parametrize(
    ("name", "share"),
    [("simple", 0.85), ("lstm", 0.7), ("gru", 0.7), ("gru_reset_after", 0.7)],
)
def test_the_gradient_holds_less_than_that_of_autodiff(name, share):
    xs = jnp.ones((256, 32, 256))

    def held(schedule):
        reset = {"reset_after": True} if name == "gru_reset_after" else {}
        rnn = getattr(rnnjax, name.split("_")[0])(256, schedule=schedule, **reset)
        params = rnn.init(jax.random.key(0), xs[0])

        def loss(params, xs):
            return jnp.mean(rnn.unroll(params, None, xs)[1] ** 2)

        gradient = jax.jit(jax.value_and_grad(loss, (0, 1)))
        compiled = gradient.lower(params, xs).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    with jax.default_device(jax.devices("cpu")[0]):
        assert held(Schedule()) <= share * held(Schedule("autodiff", "scan"))
