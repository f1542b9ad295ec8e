"""Outputs, final states and all gradients equal those of torch.nn.RNN, LSTM, GRU."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax.cells import LSTMCarry
from tests.interop.problems import (
    CLOSE,
    DEFERRED,
    LENGTHS,
    F,
    H,
    peer,
    problem,
    results,
    update_gate_keeps,
)

pytestmark = pytest.mark.interop
torch = peer("torch")
torch.set_num_threads(1)


def arrays(params, arrange=lambda a: a):
    """Weights of one torch layer and direction: ``w_ih, w_hh, b_ih, b_hh``."""
    names = ("kernel", "bias")
    given = [(params[part], name) for name in names for part in ("input", "recurrent")]
    zeros = jnp.zeros_like(params["input"]["bias"])
    return [arrange(part.get(name, zeros)).T for part, name in given]


def gru_arrays(params):
    return arrays(params, lambda a: update_gate_keeps(a, "rzn"))


# Our layer, the class of torch and its options, our parameters to its weights.
CELLS = {
    "tanh": (rnnjax.simple(H, schedule=DEFERRED), "RNN", {}, arrays),
    "relu": (
        rnnjax.simple(H, activation=jax.nn.relu, schedule=DEFERRED),
        "RNN",
        {"nonlinearity": "relu"},
        arrays,
    ),
    "lstm": (rnnjax.lstm(H, schedule=DEFERRED), "LSTM", {}, arrays),
    "gru": (rnnjax.gru(H, reset_after=True, schedule=DEFERRED), "GRU", {}, gru_arrays),
}
every_cell = pytest.mark.parametrize("name", CELLS)
gated = pytest.mark.parametrize("name", ["lstm", "gru"])


def tensor(array):
    return torch.tensor(np.asarray(array), requires_grad=True)


def to_states(carries):
    """Carries of the layers and directions as torch's ``[layers, B, H]`` states."""
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *carries)
    return tuple(stacked) if isinstance(stacked, LSTMCarry) else stacked


def from_states(states, carries):
    """The carries that torch's states are, as a tuple of the structure given."""
    kind = LSTMCarry if isinstance(states, tuple) else lambda h: h
    parts = zip(*states, strict=True) if isinstance(states, tuple) else zip(states)
    return jax.tree.unflatten(
        jax.tree.structure(carries, is_leaf=lambda c: isinstance(c, LSTMCarry)),
        [kind(*part) for part in parts],
    )


def torch_results(kind, options, weights, first, given, lengths=None):
    """``(carry, ys)`` as ours; gradients of weights, states and xs as torch's."""
    layer = getattr(torch.nn, kind)(F, H, **options)
    names = [name for name, _ in layer.named_parameters()]
    assert len(names) == len(weights)
    tensors = dict(zip(names, map(tensor, weights), strict=True))
    first, xs = jax.tree.map(tensor, first), tensor(given.xs)
    inputs = xs
    if lengths is not None:
        pack = torch.nn.utils.rnn.pack_padded_sequence
        inputs = pack(xs, torch.tensor(lengths), enforce_sorted=False)
    ys, last = torch.func.functional_call(layer, tensors, (inputs, first))
    if lengths is not None:
        unpack = torch.nn.utils.rnn.pad_packed_sequence
        ys, _ = unpack(ys, total_length=len(xs))
    out = from_states(last, given.carry), ys
    products = jax.tree.map(
        lambda a, c: (a * torch.from_numpy(c)).sum(), out, given.cotangents
    )
    sum(jax.tree.leaves(products)).backward()
    gradients = [tensors[name] for name in names], first, xs
    return (
        jax.tree.map(lambda a: a.detach().numpy(), out),
        jax.tree.map(lambda a: a.grad.numpy(), gradients),
    )


def check(rnn, kind, options, to_torch, lengths=None):
    given = problem(rnn)

    def to_peer(params, carry):
        is_carry = lambda c: isinstance(c, LSTMCarry)  # noqa: E731
        return to_torch(params), to_states(jax.tree.leaves(carry, is_leaf=is_carry))

    def run(params, carry, xs):
        return rnn.unroll(params, carry, xs, lengths=lengths)

    @jax.jit
    def ours(given, weights, first):
        """Our results, and torch's gradients in our layout."""
        _, pull_back = jax.vjp(to_peer, given.params, given.carry)
        return results(run, given), pull_back((weights, first))

    weights, first = jax.jit(to_peer)(given.params, given.carry)
    out, (*gradients, gradient_of_xs) = torch_results(
        kind, options, weights, first, given, lengths
    )
    got, gradients = ours(given, *gradients)
    expected = out, (*gradients, gradient_of_xs)
    chex.assert_trees_all_close(got, expected, **CLOSE)


@every_cell
def test_cell(name):
    check(*CELLS[name])


@pytest.mark.parametrize("name", ["tanh", "lstm"])
def test_cell_without_bias(name):
    _, kind, _, _ = CELLS[name]
    rnn = {"tanh": rnnjax.simple, "lstm": rnnjax.lstm}[name](H, use_bias=False)

    def to_torch(params):
        return [params[part]["kernel"].T for part in ("input", "recurrent")]

    check(rnn, kind, {"bias": False}, to_torch)


@every_cell
def test_lengths_are_packed_sequences(name):
    check(*CELLS[name], lengths=np.array(LENGTHS))


@gated
def test_stack(name):
    rnn, kind, _, to_torch = CELLS[name]

    def both_layers(params):
        return [a for layer in ("0", "1") for a in to_torch(params[layer])]

    check(rnnjax.stack(rnn, rnn), kind, {"num_layers": 2}, both_layers)


@gated
@pytest.mark.parametrize("lengths", [None, np.array(LENGTHS)], ids=["full", "packed"])
def test_bidirectional(name, lengths):
    rnn, kind, _, to_torch = CELLS[name]

    def both_directions(params):
        return [a for half in ("forward", "backward") for a in to_torch(params[half])]

    options = {"bidirectional": True}
    check(rnnjax.bidirectional(rnn), kind, options, both_directions, lengths)
