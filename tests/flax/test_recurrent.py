"""The NNX module: parameters, carry, transformations, Optax, Orbax, sharding."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import rnnjax
from rnnjax import training
from rnnjax.flax import Carry, Recurrent

T, B, F, H = 5, 2, 3, 4
NET = rnnjax.stack(rnnjax.dropout(0.3), rnnjax.lstm(H), rnnjax.dense(1))
XS = jnp.asarray(np.random.default_rng(0).normal(size=(2 * T, B, F)), jnp.float32)


def module(**options):
    return Recurrent(NET, XS[0], rngs=nnx.Rngs(0), **options)


@pytest.fixture(scope="module")
def stateful():
    return module(batch_shape=(B,))


@pytest.fixture(scope="module")
def split(stateful):
    return nnx.split(stateful)


@pytest.fixture
def own(split):
    """A copy to be changed."""
    return nnx.merge(split[0], jax.tree.map(jnp.copy, split[1]))


def values(tree):
    is_variable = lambda v: isinstance(v, nnx.Variable)  # noqa: E731
    return jax.tree.map(lambda v: v.get_value(), tree, is_leaf=is_variable)


def params_of(net):
    return values(net.params)


def test_parameters_are_those_of_the_rnn(stateful):
    expected = NET.init(nnx.Rngs(0).params(), XS[0])
    params = params_of(stateful)
    chex.assert_trees_all_equal(params, expected)
    assert type(stateful.params["1"]["recurrent"]["kernel"]) is nnx.Param


def test_a_module_without_a_carry_starts_every_call_afresh():
    net = module()
    params = params_of(net)
    _, expected = NET.unroll(params, None, XS)
    np.testing.assert_array_equal(net(XS), expected)
    np.testing.assert_array_equal(net(XS), expected)
    assert not nnx.state(net, Carry)
    lengths = jnp.asarray([3, 5])
    key = jax.random.key(1)
    _, expected = NET.unroll(params, None, XS, lengths=lengths, reverse=True, key=key)
    ys = net(XS, lengths=lengths, reverse=True, key=key)
    np.testing.assert_array_equal(ys, expected)
    with pytest.raises(ValueError, match="batch_shape: expected one at construction"):
        net.reset_carry()


def test_the_carry_goes_from_call_to_call_and_is_reset_by_rows(own):
    whole = module()(XS)
    first, second = own(XS[:T]), own(XS[T:])
    np.testing.assert_allclose(jnp.concatenate([first, second]), whole, rtol=1e-5)

    own.reset_carry(jnp.asarray([True, False]))
    third = own(XS[:T])
    np.testing.assert_allclose(third[:, 0], first[:, 0], rtol=1e-5)
    assert np.abs(third[:, 1] - first[:, 1]).max() > 1e-3
    own.reset_carry()
    steps = jnp.stack([own.step(x) for x in XS])
    np.testing.assert_allclose(steps, whole, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"rows: expected \(2,\), got \(3,\)"):
        own.reset_carry(jnp.ones(3, bool))


def loss_of(net, xs):
    return jnp.mean((net(xs) - 1.0) ** 2)


def test_jit_grad_and_optimizer_train_it_statefully_as_train_step_does(own):
    """Three windows: parameters, and the carry between them, as by `train_step`."""
    adam = optax.adam(0.01)
    optimizer = nnx.Optimizer(own, adam, wrt=nnx.Param)
    traced = []

    @nnx.jit
    def step(net, optimizer, xs):
        traced.append(1)
        value, grads = nnx.value_and_grad(loss_of)(net, xs)
        optimizer.update(net, grads)
        return value

    def loss(params, carry, batch, key):
        carry, ys = NET.unroll(params, carry, batch)
        return jnp.mean((ys - 1.0) ** 2), (carry, {})

    params = params_of(own)
    state = training.init_state(params, adam, NET.initial_carry(params, (B,)))
    train = training.train_step(loss, adam)
    for k in range(3):
        xs = XS[k : k + T]
        value = step(own, optimizer, xs)
        state, metrics = train(state, xs, jax.random.key(k))
        np.testing.assert_allclose(value, metrics["loss"], rtol=1e-5)
    assert len(traced) == 1
    chex.assert_trees_all_close(params_of(own), state.params, rtol=1e-4)
    chex.assert_trees_all_close(values(own.carry), state.carry, rtol=1e-4)


def test_state_goes_through_orbax(own, tmp_path):
    own(XS)
    state = nnx.state(own)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "a", nnx.to_pure_dict(state))
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "a", nnx.to_pure_dict(state))
    fresh = module(batch_shape=(B,))
    target = nnx.state(fresh)
    nnx.replace_by_pure_dict(target, restored)
    nnx.update(fresh, target)
    np.testing.assert_array_equal(fresh(XS), own(XS))


def test_sharding_metadata():
    specs = {
        "input": {"kernel": PartitionSpec(None, "x"), "bias": PartitionSpec("x")},
        "recurrent": {"kernel": PartitionSpec(None, "x")},
    }
    auto = (AxisType.Auto,)
    mesh = jax.make_mesh((2,), ("x",), auto, devices=jax.devices()[:2])
    with jax.set_mesh(mesh):
        net = Recurrent(rnnjax.lstm(H), XS[0], rngs=nnx.Rngs(0), specs=specs)
        ys = net(XS)
    kernel = net.params["recurrent"]["kernel"]
    spec = PartitionSpec(None, "x")
    assert kernel.get_value().sharding == NamedSharding(mesh, spec)
    found = nnx.get_partition_spec(nnx.state(net))
    assert found["params"]["recurrent"]["kernel"].get_value() == spec
    alone = Recurrent(rnnjax.lstm(H), XS[0], rngs=nnx.Rngs(0))
    np.testing.assert_allclose(ys, alone(XS), rtol=1e-5, atol=1e-6)


def test_fit_trains_a_module_by_its_pure_state():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.lstm = Recurrent(rnnjax.lstm(H), XS[0], rngs=rngs)
            self.out = nnx.Linear(H, 1, rngs=rngs)

        def __call__(self, xs):
            return self.out(self.lstm(jnp.swapaxes(xs, 0, 1))[-1])

    graph, params = nnx.split(Net(nnx.Rngs(0)), nnx.Param)
    forward = lambda params, x, key=None: nnx.merge(graph, params)(x)  # noqa: E731
    loss = training.supervised_loss(forward, lambda y, t: jnp.mean((y - t) ** 2))
    adam = optax.adam(0.03)
    x, y = np.asarray(XS).swapaxes(0, 1).repeat(4, 0), np.ones((8, 1), np.float32)
    fitted = training.fit(
        loss,
        adam,
        training.init_state(params, adam),
        (x, y),
        key=jax.random.key(0),
        epochs=3,
        batch_size=4,
    )
    losses = [record["loss"] for record in fitted.history]
    assert losses[2] < losses[1] < losses[0]
    assert forward(fitted.state.params, x).shape == (8, 1)
