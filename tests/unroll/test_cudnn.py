"""The cuDNN backend around JAX's own reference of it, and where it may not run.

`jax.experimental.rnn.lstm_ref` computes on any platform what cuDNN computes, from
weights that `unpack_lstm_weights` takes out of the flat array. So packing, the order of
steps and the last carries are checked here, and cuDNN itself on a GPU alone.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn as reference
from jax.extend.core import Primitive

import rnnjax
from rnnjax import Schedule
from rnnjax.unroll._cudnn import pack

T, B, F, H = 7, 3, 4, 5
CUDNN = Schedule(backend="cudnn")


@pytest.fixture
def as_on_gpu(monkeypatch):
    """A GPU by its name, and the reference in the place of cuDNN."""

    def lstm(xs, h, c, weights, lengths, *, input_size, hidden_size):
        assert lengths.dtype == jnp.int32
        sizes = input_size, hidden_size, 1
        unpacked = reference.unpack_lstm_weights(weights, *sizes, False)
        with jax.numpy_rank_promotion("allow"):
            return reference.lstm_ref(xs, h, c, *unpacked, lengths, *sizes, 0.0, False)

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr("rnnjax.unroll._cudnn.cudnn_lstm", lstm)


def given(**options):
    oracle = rnnjax.lstm(H, schedule=Schedule("autodiff", "scan"), **options)
    xs = jax.random.normal(jax.random.key(0), (T, B, F))
    params = oracle.init(jax.random.key(1), xs[0])
    carry = jax.tree.map(
        lambda a: jax.random.normal(jax.random.key(2), a.shape),
        oracle.initial_carry(params, (B,)),
    )
    return oracle, rnnjax.lstm(H, schedule=CUDNN, **options), params, carry, xs


MASK = jnp.array(np.random.default_rng(0).random((T, B)) < 0.6).at[:, 1].set(False)
FLAGS = {
    "all": {},
    "lengths": {"lengths": jnp.array([T, 0, 4])},
    "mask": {"mask": MASK},
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("flags", FLAGS)
def test_values_and_gradients(flags, reverse, as_on_gpu):
    oracle, rnn, params, carry, xs = given()
    options = FLAGS[flags] | {"reverse": reverse}

    def results(rnn):
        def loss(params, carry, xs):
            last, hs = rnn.unroll(params, carry, xs, **options)
            weighed = jax.tree.map(lambda a: jnp.sum(jnp.sin(a)), (last, hs))
            return sum(jax.tree.leaves(weighed)), (last, hs)

        return jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(params, carry, xs)

    got, expected = results(rnn), results(oracle)
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


ORDERS = ("sort", "gather")


@pytest.mark.parametrize(
    ("flags", "reverse", "ordered"),
    [
        ("all", False, False),
        ("all", True, False),
        ("lengths", False, False),
        ("lengths", True, True),
        ("mask", False, True),
    ],
)
def test_steps_are_put_in_order_only_where_they_are_not(
    flags, reverse, ordered, as_on_gpu, monkeypatch
):
    """Neither way, as far as all that is around cuDNN goes."""

    def lstm(xs, h, c, weights, lengths, *, hidden_size, **_):
        hs = xs[..., :1] + jnp.zeros(hidden_size) + weights[0] + lengths[:, None, None]
        return hs, h, c

    monkeypatch.setattr("rnnjax.unroll._cudnn.cudnn_lstm", lstm)
    _, rnn, params, carry, xs = given()
    options = FLAGS[flags] | {"reverse": reverse}

    def loss(params, xs):
        return jnp.sum(rnn.unroll(params, carry, xs, **options)[1])

    with jax.numpy_rank_promotion("allow"):
        text = str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(params, xs))
    assert [name in text for name in ORDERS] == [ordered, ordered]


def test_without_bias_and_with_other_batch_axes(as_on_gpu):
    oracle, rnn, params, _, xs = given(use_bias=False)
    for shaped in (xs.reshape(T, B, 1, F), xs[:, 0]):
        got = rnn.unroll(params, None, shaped)
        for a, b in zip(
            jax.tree.leaves(got),
            jax.tree.leaves(oracle.unroll(params, None, shaped)),
            strict=True,
        ):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(0, B, F), (T, 0, F)])
def test_nothing_to_run(shape, as_on_gpu):
    _, rnn, params, _, _ = given()
    last, hs = rnn.unroll(params, None, jnp.ones(shape))
    assert last.h.shape == (shape[1], H)
    assert hs.shape == (*shape[:2], H)


def test_packing_is_that_of_the_reference():
    params = given()[2]
    flat = pack(params)
    assert flat.size == reference.get_num_params_in_lstm(F, H, 1, False)
    w_ih, w_hh, b_ih, b_hh = reference.unpack_lstm_weights(flat, F, H, 1, False)
    np.testing.assert_array_equal(w_ih[0], params["input"]["kernel"].T)
    np.testing.assert_array_equal(w_hh[0], params["recurrent"]["kernel"].T)
    np.testing.assert_array_equal(b_ih[0], params["input"]["bias"])
    np.testing.assert_array_equal(b_hh[0], 0)


def test_explain_says_reverse_only(as_on_gpu):
    _, rnn, params, _, xs = given()
    how = rnnjax.explain(rnn, params, xs)
    assert how.backend == "cudnn"
    assert "in reverse mode alone" in str(how)


def test_it_has_no_resets(as_on_gpu):
    _, rnn, params, _, xs = given()
    with pytest.raises(ValueError, match="resets: expected None under Sched"):
        rnn.unroll(params, None, xs, resets=jnp.zeros((T, B), bool))


@pytest.mark.parametrize("error", ["forward mode", "second derivative", "vmap"])
def test_what_jax_has_not_for_it(error, as_on_gpu, monkeypatch):
    """A rule of its own, around primitives that have none; as in JAX."""
    lstm = rnn_primitive()
    monkeypatch.setattr("rnnjax.unroll._cudnn.cudnn_lstm", lstm)
    _, rnn, params, _, xs = given()

    def loss(xs):
        return jnp.sum(rnn.unroll(params, None, xs)[1])

    derivative = {
        "forward mode": lambda: jax.jvp(loss, (xs,), (xs,)),
        "second derivative": lambda: jax.grad(lambda x: jnp.sum(jax.grad(loss)(x)))(xs),
        "vmap": lambda: jax.vmap(loss)(xs[None]),
    }[error]
    assert jax.grad(loss)(xs).shape == xs.shape
    with pytest.raises(TypeError, match="backend='cudnn'.*at most a first derivative"):
        derivative()


def rnn_primitive():
    """A layer of cuDNN as JAX has it, of the right types, and zero."""
    forward, backward = Primitive("rnn_fwd"), Primitive("rnn_bwd")
    for primitive in (forward, backward):
        primitive.multiple_results = True
        primitive.def_abstract_eval(lambda *avals, outputs: outputs)
        primitive.def_impl(
            lambda *args, outputs: [jnp.zeros(a.shape, a.dtype) for a in outputs]
        )

    @jax.custom_vjp
    def layer(xs, h, c, weights):
        return run(xs, h, c, weights)[0]

    def run(xs, h, c, weights):
        hs = jax.core.ShapedArray((*xs.shape[:2], h.shape[-1]), xs.dtype)
        states = [jax.core.ShapedArray(a.shape, a.dtype) for a in (h, c)]
        given = xs, h, c, weights
        return tuple(forward.bind(*given, outputs=(hs, *states))), given

    def pull_back(given, cotangents):
        types = tuple(jax.core.ShapedArray(a.shape, a.dtype) for a in given)
        return tuple(backward.bind(*given, *cotangents, outputs=types))

    layer.defvjp(run, pull_back)
    return lambda xs, h, c, weights, lengths, **sizes: layer(xs, h, c, weights)


def test_auto_never_takes_it(as_on_gpu):
    _, _, params, _, xs = given()
    assert rnnjax.explain(rnnjax.lstm(H), params, xs).backend != "cudnn"


REFUSED = {
    "runs on NVIDIA GPUs and this is a cpu": rnnjax.lstm(H, schedule=CUDNN),
    "no LSTM of these equations": rnnjax.gru(H, schedule=CUDNN),
    "not \\['bfloat16', 'float32'\\]": rnnjax.lstm(
        H, dtype=jnp.bfloat16, schedule=CUDNN
    ),
    "no LSTM of these": rnnjax.lstm(H, layer_norm=True, schedule=CUDNN),
    "not gradient 'autodiff'": rnnjax.lstm(
        H, schedule=Schedule("autodiff", backend="cudnn")
    ),
    "no remat and no block": rnnjax.lstm(
        H, schedule=Schedule(backend="cudnn", remat="sqrt")
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_refusals(why):
    rnn, xs = REFUSED[why], jnp.ones((T, B, F))
    params = rnn.init(jax.random.key(0), xs[0])
    message = (
        f"Schedule\\(backend='cudnn'\\): expected an LSTM .*{why}.*or take backend"
    )
    for f in (rnn.explain, lambda params, xs: rnn.unroll(params, None, xs)):
        with pytest.raises(ValueError, match=message):
            f(params, xs)


@pytest.mark.device
@pytest.mark.skipif(jax.default_backend() != "gpu", reason="cuDNN runs on a GPU")
@pytest.mark.parametrize("reverse", [False, True])
def test_cudnn_itself(reverse, tolerance):
    """As `test_values_and_gradients`, on the device."""
    oracle, rnn, params, carry, xs = given()

    def results(rnn):
        def loss(params, carry, xs):
            last, hs = rnn.unroll(
                params, carry, xs, lengths=jnp.array([T, 0, 4]), reverse=reverse
            )
            return sum(jnp.sum(jnp.sin(a)) for a in jax.tree.leaves((last, hs)))

        return jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(params, carry, xs)

    got, expected = results(rnn), results(oracle)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)
