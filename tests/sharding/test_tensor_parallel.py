"""Hidden units split over devices: the results of one, and the collectives a step."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import sharding, training
from tests.sharding.programs import assert_close, loss_of, program

T, B, F, H = 6, 4, 3, 8
GRU_AFTER = partial(rnnjax.cells.gru, reset_after=True)
# The products of a recurrence: all-gathers a step, and reduce-scatters a step back.
PRODUCTS = {"simple": 1, "lstm": 1, "gru": 2, "gru_after": 1, "rg_lru": 0}
MAKE = {name: getattr(rnnjax.cells, name, GRU_AFTER) for name in PRODUCTS}
FLAGS = {
    "lengths": jnp.array([6, 3, 0, 5]),
    "resets": jnp.zeros((T, B), bool)
    .at[jnp.array([2, 4]), jnp.array([1, 3])]
    .set(True),
}


def given(name):
    alone = rnnjax.layer(MAKE[name](H))
    xs = jax.random.normal(jax.random.key(0), (T, B, F))
    params = alone.init(jax.random.key(1), xs[0])
    carry = jax.tree.map(lambda c: c + 0.5, alone.initial_carry(params, (B,)))
    return alone, (params, carry, xs)


@pytest.mark.parametrize(
    ("name", "spec", "explicit"),
    [
        ("lstm", "data=2,model=4", False),
        ("lstm", "data=2,model=4", True),
        ("gru", "model=8", False),
        ("gru_after", "model=2", False),
        pytest.param("simple", "model=8", False, marks=pytest.mark.slow),
        pytest.param("gru", "data=2,model=4", True, marks=pytest.mark.slow),
        pytest.param("rg_lru", "data=2,model=4", False, marks=pytest.mark.slow),
    ],
)
def test_value_and_gradients_and_collectives(name, spec, explicit):
    mesh = sharding.mesh(spec, explicit=explicit)
    data = "data" if "data" in spec else None
    rnn = sharding.tensor_parallel(MAKE[name], H, mesh=mesh, data=data)
    alone, args = given(name)
    expected = program(loss_of(alone, **FLAGS, reverse=True), *args)
    split = sharding.split_gates(args[0], H)
    split = sharding.shard(split, mesh, sharding.units("model"))
    placed = (split, *sharding.replicate(args[1:], mesh))
    got = program(loss_of(rnn, **FLAGS, reverse=True), *placed, mesh=mesh)
    value, (of_params, *rest) = got.result
    result = value, (sharding.merge_gates(of_params), *rest)
    assert_close(result, expected.result)
    count = PRODUCTS[name]
    loops = [{"all-gather": count}, {"reduce-scatter": count}] if count else []
    assert got.in_loops == loops


def test_parameters_as_on_one_device_are_taken_too():
    mesh = sharding.mesh("model=2")
    rnn = sharding.tensor_parallel(rnnjax.cells.lstm, H, mesh=mesh)
    alone, (params, carry, xs) = given("lstm")
    expected = alone.unroll(params, carry, xs)
    assert_close(jax.jit(rnn.unroll)(params, carry, xs), expected)
    assert_close(rnn.initial_carry(params, (B,)), alone.initial_carry(params, (B,)))


def test_a_stream_of_steps_equals_unroll():
    mesh = sharding.mesh("model=4")
    rnn = sharding.tensor_parallel(rnnjax.cells.gru, H, mesh=mesh)
    alone, (params, carry, xs) = given("gru")
    _, ys = alone.unroll(params, carry, xs)
    step, outputs = jax.jit(rnn.step), []
    for x in xs:
        carry, y = step(params, carry, x)
        outputs.append(y)
    assert_close(np.stack(outputs), np.asarray(ys))
    assert rnn.step(params, None, xs[0, 0])[1].shape == (H,)


def test_a_network_is_trained_with_its_optimiser_split_by_unit():
    mesh = sharding.mesh("data=2,model=4")
    layer = sharding.tensor_parallel(rnnjax.cells.lstm, H, mesh=mesh, data="data")
    optimizer = training.optimizer("adam", 1e-2, clip_norm=1.0)
    xs = np.asarray(given("lstm")[1][2])
    batch = {"inputs": xs, "targets": xs.sum(-1, keepdims=True)}

    def sequence_loss(ys, targets, mask):
        return jnp.mean((ys - targets) ** 2), {}

    def trained(recurrent, place, params):
        rnn = rnnjax.stack(recurrent, rnnjax.dense(1))
        loss = training.stateful_loss(rnn, sequence_loss)
        step = training.train_step(loss, optimizer)
        carry = rnn.initial_carry(params, (B,))
        state = place(training.init_state(params, optimizer, carry))
        for k in range(2):
            state, metrics = step(state, batch, jax.random.key(k))
        return state, metrics["loss"]

    whole = rnnjax.stack(rnnjax.lstm(H), rnnjax.dense(1))
    params = whole.init(jax.random.key(0), jnp.ones(F))
    expected, loss = trained(rnnjax.lstm(H), lambda state: state, params)
    rule = sharding.units("model")
    split = {**params, "0": sharding.split_gates(params["0"], H)}
    got, got_loss = trained(
        layer, lambda state: sharding.shard_state(state, mesh, rule=rule), split
    )
    kernel = got.params["0"]["recurrent"]["kernel"]
    assert kernel.addressable_shards[0].data.shape == (H, 4, H // 4)
    merged = {**got.params, "0": sharding.merge_gates(got.params["0"])}
    assert_close(jax.device_get((merged, got_loss)), (expected.params, loss))


def test_explain_says_what_the_devices_run():
    mesh = sharding.mesh("model=4")
    rnn = sharding.tensor_parallel(rnnjax.cells.lstm, H, mesh=mesh)
    _, (params, _, xs) = given("lstm")
    found = rnnjax.explain(rnn, params, xs)
    assert "2 of 8 units on each of 4 devices" in str(found)
    assert found.children[0].backend == "scan"
    assert found.output.shape == (T, B, H)
    assert found.parameters == 4 * H * (F + H + 1)


def test_what_cannot_be_split_is_named():
    mesh = sharding.mesh("data=2,model=4")
    make = partial(sharding.tensor_parallel, mesh=mesh)
    with pytest.raises(ValueError, match="hidden_size: expected a multiple of 4"):
        make(rnnjax.cells.lstm, 6)
    with pytest.raises(ValueError, match="one of .*data.*got 'units'"):
        make(rnnjax.cells.lstm, 8, axis="units")
    with pytest.raises(ValueError, match="expected a cell without a readout"):
        make(rnnjax.cells.lru, 8)
    normed = make(partial(rnnjax.cells.lstm, layer_norm=True), 8)
    params = normed.init(jax.random.key(0), jnp.ones(F))
    with pytest.raises(ValueError, match="layer normalisation, which needs all units"):
        normed.unroll(params, None, jnp.ones((T, B, F)))
    clock = make(lambda size: rnnjax.cells.clockwork(size, (1,)), 8)
    params = clock.init(jax.random.key(0), jnp.ones(F))
    with pytest.raises(ValueError, match=r"carry.*expected \[\*batch, 8\]"):
        clock.unroll(params, None, jnp.ones((T, B, F)))
    rows = make(rnnjax.cells.lstm, 8, data="data")
    params = rows.init(jax.random.key(0), jnp.ones(F))
    with pytest.raises(ValueError, match="batch axis.*multiple of 2.*got 3"):
        rows.unroll(params, None, jnp.ones((T, 3, F)))
    with pytest.raises(ValueError, match="got both"):
        rows.unroll(
            params,
            None,
            jnp.ones((T, 2, F)),
            mask=jnp.ones((T, 2), bool),
            lengths=[1, 1],
        )
