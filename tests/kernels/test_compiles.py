"""Every kernel compiles for TPUs: nothing here says that it runs on one."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

import rnnjax
from rnnjax import Schedule, linear_scan
from tests.kernels.tpus import TARGETS, compile_for, needs_libtpu

pytestmark = needs_libtpu

KERNELS = Schedule(backend="pallas")
CELLS = {
    "simple": rnnjax.simple,
    "lstm": rnnjax.lstm,
    "gru": rnnjax.gru,
    "gru_after": lambda *args, **options: rnnjax.gru(
        *args, reset_after=True, **options
    ),
}
CALL = 'custom_call_target="tpu_custom_call"'


def value_and_grad(rnn, length, batch, features=8, **options):
    """A function and the types of its arguments, resets and lengths among them."""
    xs = jax.ShapeDtypeStruct((length, batch, features), jnp.float32)
    params = jax.eval_shape(rnn.init, jax.random.key(0), xs)
    resets = jax.ShapeDtypeStruct((length, batch), bool)
    lengths = jax.ShapeDtypeStruct((batch,), jnp.int32)

    def loss(params, xs, resets, lengths):
        given = options | {"resets": resets, "lengths": lengths}
        _, ys = rnn.unroll(params, None, xs, **given)
        return jnp.mean(ys.astype(jnp.float32) ** 2)

    gradient = jax.value_and_grad(loss, (0, 1))
    return gradient, (params, xs, resets, lengths)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_for_v5e(name, dtype):
    """Sizes that fill no register, a chunk that is shorter, in reverse."""
    rnn = CELLS[name](100, schedule=KERNELS, dtype=jnp.dtype(dtype))
    f, args = value_and_grad(rnn, 43, 5, reverse=True)
    text = compile_for("v5e", f, args, (P(),) * 4).as_text()
    assert text.count(CALL) == 2


@pytest.mark.parametrize("make", [rnnjax.lru, rnnjax.rg_lru])
def test_linear_for_v5e(make):
    """Complex and real, and with them the transposed recurrence."""
    f, args = value_and_grad(make(24, schedule=KERNELS), 43, 3)
    text = compile_for("v5e", f, args, (P(),) * 4).as_text()
    assert text.count(CALL) == 2


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_linear_scan_for_v5e(dtype, constant):
    """Each dtype, ``a`` of all steps or of one, and the transposed recurrence."""
    b = jax.ShapeDtypeStruct((43, 5, 24), dtype)
    a = jax.ShapeDtypeStruct((1 if constant else 43, 5, 24), dtype)

    def loss(a, b):
        hs = linear_scan(a, b, backend="pallas")[1]
        return jnp.sum(jnp.abs(hs.astype(jnp.result_type(hs, jnp.float32))) ** 2)

    text = compile_for("v5e", jax.grad(loss, (0, 1)), (a, b), P()).as_text()
    assert text.count(CALL) == 2


def test_data_parallel():
    """Inside `shard_map`: no collective but that of the gradient."""
    rnn = rnnjax.lstm(128, schedule=KERNELS)
    loss, args = value_and_grad(rnn, 32, 16)

    def sharded(*args):
        def local(*args):
            value, gradients = loss(*args)
            return jax.lax.pmean((value, gradients[0]), "data")

        over = P(None, "data")
        specs = (P(), over, over, P("data"))
        return jax.shard_map(local, in_specs=specs, out_specs=P(), check_vma=False)(
            *args
        )

    specs = (P(), P(None, "data"), P(None, "data"), P("data"))
    text = compile_for("v5e", sharded, args, specs, devices=4).as_text()
    assert text.count(CALL) == 2
    assert "all-gather" not in text and "all-reduce" in text


def test_the_choice_is_of_the_device_compiled_for():
    """ "auto" takes no kernel, as none was run there; large ones do not fit a v4."""
    said = {}

    def explained(rnn):
        def f(params, xs):
            said["how"] = str(rnn.explain(params, xs))
            return xs

        return f

    xs = jax.ShapeDtypeStruct((64, 8, 8), jnp.float32)
    for key, hidden, schedule, target in (
        ("auto", 64, Schedule(), "v5e"),
        ("small", 64, KERNELS, "v4"),
        ("large", 1024, KERNELS, "v5e"),
    ):
        rnn = rnnjax.lstm(hidden, schedule=schedule)
        params = jax.eval_shape(rnn.init, jax.random.key(0), xs)
        compile_for(target, explained(rnn), (params, xs), (P(), P()))
        said[key] = said.pop("how")
    assert "no passed run of the kernels on a TPU v5" in said["auto"]
    assert "backend pallas" in said["small"] and "backend pallas" in said["large"]
    rnn = rnnjax.lstm(1024, schedule=KERNELS)
    params = jax.eval_shape(rnn.init, jax.random.key(0), xs)
    with pytest.warns(UserWarning, match="MiB of VMEM"):
        compile_for("v4", explained(rnn), (params, xs), (P(), P()))
    assert "backend scan: in place of the kernels" in said["how"]


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_for_every_target(target, name, dtype):
    rnn = CELLS[name](256, schedule=KERNELS, dtype=jnp.dtype(dtype))
    f, args = value_and_grad(rnn, 128, 32)
    assert compile_for(target, f, args, (P(),) * 4).as_text().count(CALL) == 2


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_large_for_v5e(dtype):
    """The largest that is unrolled in full; what we count fits."""
    rnn = rnnjax.lstm(1024, schedule=KERNELS, dtype=jnp.dtype(dtype))
    f, args = value_and_grad(rnn, 64, 64)
    assert compile_for("v5e", f, args, (P(),) * 4).as_text().count(CALL) == 2
