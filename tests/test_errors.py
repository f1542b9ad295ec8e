"""Bad input, by message: each names the argument, what was expected, got, the mend."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import Schedule

T, B, F, H = 5, 3, 2, 4
XS = np.ones((T, B, F), np.float32)
FLAGS = np.ones((T, B), bool)


@pytest.fixture(scope="module")
def lstm():
    rnn = rnnjax.lstm(H)
    return rnn, rnn.init(jax.random.key(0), XS[0])


def raises(error, message, function, *args, **options):
    """`message` is a pattern of everything that the text must say, in order."""
    with pytest.raises(error, match=message):
        function(*args, **options)


def unroll(lstm, *, carry=None, xs=XS, **options):
    rnn, params = lstm
    return rnn.unroll(params, carry, xs, **options)


# --- xs ------------------------------------------------------------------------------


def test_xs_without_a_time_axis(lstm):
    raises(
        ValueError,
        r"^xs: expected \[T, \*batch, F\], rank 2 or more, got float32\[2\]\. xs needs "
        r"a leading time axis; for one step use `step`, or xs\[None\]\.",
        unroll,
        lstm,
        xs=XS[0, 0],
    )


def test_x_of_a_step_without_features(lstm):
    rnn, params = lstm
    raises(ValueError, r"^x: expected \[\*batch, F\]", rnn.step, params, None, 1.0)


@pytest.mark.parametrize("call", ["unroll", "step"])
def test_another_feature_size_than_at_init(lstm, call):
    rnn, params = lstm
    xs = np.ones((T, B, F + 1), np.float32)
    raises(
        ValueError,
        r"x \(one step of xs\): expected 2 features on the last axis, as at init, got "
        r"float32\[.*3\]\. "
        r"Call init with a step of this size, or mend the input\.",
        getattr(rnn, call),
        params,
        None,
        xs if call == "unroll" else xs[0],
    )


@pytest.mark.parametrize("backend", ["fused", "scan"])
@pytest.mark.parametrize("cell", [rnnjax.simple, rnnjax.lstm, rnnjax.gru])
def test_params_of_another_hidden_size(cell, backend):
    xs = jnp.ones((3, 2, 5))
    params = cell(8).init(jax.random.key(0), xs[0])
    rnn = cell(4, schedule=rnnjax.Schedule(backend=backend))
    with pytest.raises(ValueError, match=r"params\['recurrent'\].*hidden_size"):
        rnn.unroll(params, None, xs)
    with pytest.raises(ValueError, match=r"params\['recurrent'\].*hidden_size"):
        rnn.step(params, None, xs[0])


@pytest.mark.parametrize("call", ["unroll", "step"])
def test_integers_where_features_are_expected(lstm, call):
    rnn, params = lstm
    xs = np.ones((T, B, F), np.int32)
    raises(
        TypeError,
        r"xs?: expected floating point features, got int32\[.*\]\. Convert with "
        r"xs?\.astype\(jnp\.float32\), or put rnnjax\.embed before",
        getattr(rnn, call),
        params,
        None,
        xs if call == "unroll" else xs[0],
    )


def test_leaves_of_xs_that_do_not_share_the_leading_axes():
    rnn = rnnjax.layer(rnnjax.cells.lstm(H))
    params = rnn.init(jax.random.key(0), XS[0])
    raises(
        ValueError,
        r"^xs: expected leaves that share their leading axes \(5, 3\), got "
        r"float32\[4,3\]",
        rnn.unroll,
        params,
        None,
        (XS, np.ones((T - 1, B), np.float32)),
    )


def test_xs_that_is_no_array(lstm):
    raises(TypeError, r"^xs: expected arrays, got str\. ", unroll, lstm, xs="abc")
    raises(ValueError, r"^xs: expected at least one array", unroll, lstm, xs=())


def test_tokens_that_are_no_integers_and_tokens_outside_the_table():
    rnn = rnnjax.embed(7, F)
    params = rnn.init(jax.random.key(0), 0)
    tokens = np.zeros((T, B), np.int32)
    raises(
        TypeError,
        r"x: embed expects integer tokens, got float32\[.*\]\. Convert",
        rnn.unroll,
        params,
        None,
        tokens.astype(np.float32),
    )
    for bad in (-1, 7):
        raises(
            ValueError,
            rf"^xs: expected tokens from 0 to 6, got .*{bad}.*Raise embed's size",
            rnn.unroll,
            params,
            None,
            np.where(np.arange(T)[:, None] == 0, bad, tokens).astype(np.int32),
        )


# --- carry ---------------------------------------------------------------------------


def carry_of(lstm, **changes):
    rnn, params = lstm
    return rnn.initial_carry(params, (B,))._replace(**changes)


def test_carry_of_another_structure(lstm):
    for carry in ((jnp.zeros((B, H)),) * 2, jnp.zeros((B, H)), {"h": 0}):
        raises(
            ValueError,
            r"^carry: expected the structure PyTreeDef\(.*LSTMCarry.*got PyTreeDef\("
            r".*Take it from rnn\.initial_carry\(params, batch_shape\)",
            unroll,
            lstm,
            carry=carry,
        )


def test_carry_of_another_shape(lstm):
    raises(
        ValueError,
        r"^carry\.c: expected shape \(3, 4\), got \(2, 4\)\. Take it from",
        unroll,
        lstm,
        carry=carry_of(lstm, c=jnp.zeros((B - 1, H))),
    )


def test_carry_of_another_dtype(lstm):
    raises(
        TypeError,
        r"^carry\.h: expected dtype float32, got bfloat16\. Take it from",
        unroll,
        lstm,
        carry=carry_of(lstm, h=jnp.zeros((B, H), jnp.bfloat16)),
    )


@pytest.mark.parametrize("call", ["unroll", "step"])
def test_carry_of_another_length_for_a_stack(call):
    rnn = rnnjax.stack(rnnjax.lstm(H), rnnjax.dense(2))
    params = rnn.init(jax.random.key(0), XS[0])
    raises(
        ValueError,
        r"^carry: stack expected a tuple of 2 carries, got ",
        getattr(rnn, call),
        params,
        ((),),
        XS if call == "unroll" else XS[0],
    )


def test_carry_for_a_layer_without_one():
    rnn = rnnjax.dense(2)
    params = rnn.init(jax.random.key(0), XS[0])
    raises(ValueError, "^carry: expected the structure", rnn.unroll, params, XS, XS)


# --- resets, mask, lengths -----------------------------------------------------------

RNNS = {
    "lstm": lambda: rnnjax.lstm(H),
    "dense": lambda: rnnjax.dense(2),
    "stack": lambda: rnnjax.stack(rnnjax.lstm(H), rnnjax.dense(2)),
    "bidirectional": lambda: rnnjax.bidirectional(rnnjax.simple(H)),
    "residual": lambda: rnnjax.residual(rnnjax.gru(F)),
    "variational_dropout": lambda: rnnjax.variational_dropout(rnnjax.gru(H), 0.1),
    "with_carries": lambda: rnnjax.with_carries(rnnjax.gru(H)),
    "truncate": lambda: rnnjax.truncate(rnnjax.gru(H), 2),
}


@pytest.fixture(params=RNNS)
def any_rnn(request):
    rnn = RNNS[request.param]()
    return rnn, rnn.init(jax.random.key(0), XS[0])


@pytest.mark.parametrize("name", ["resets", "mask"])
def test_flags_that_are_not_bool(any_rnn, name):
    raises(
        TypeError,
        rf"^{name}: expected bool, got int32\[5,3\]\. Convert it, for example with "
        rf"{name} != 0\.",
        unroll,
        any_rnn,
        **{name: FLAGS.astype(np.int32)},
    )


@pytest.mark.parametrize("name", ["resets", "mask"])
def test_flags_of_another_shape(any_rnn, name):
    for flags in (FLAGS.T, FLAGS[:, 0], FLAGS[..., None]):
        raises(
            ValueError,
            rf"^{name}: expected shape \(5, 3\), the leading axes of the input, got ",
            unroll,
            any_rnn,
            **{name: flags},
        )


def test_reset_of_one_step(lstm):
    rnn, params = lstm
    raises(
        TypeError,
        r"^reset: expected bool, got float32\[3\]",
        rnn.step,
        params,
        None,
        XS[0],
        reset=np.ones(B, np.float32),
    )
    raises(
        ValueError,
        r"^reset: expected shape \(3,\), .*got \(\)",
        rnn.step,
        params,
        None,
        XS[0],
        reset=True,
    )


def test_lengths_of_another_type_or_shape(any_rnn):
    raises(
        TypeError,
        r"^lengths: expected integers, got float32\[3\]\. For a bool array .* mask=",
        unroll,
        any_rnn,
        lengths=np.ones(B, np.float32),
    )
    raises(
        ValueError,
        r"^lengths: expected shape \(3,\), one length for each sequence, got \(\)",
        unroll,
        any_rnn,
        lengths=3,
    )


@pytest.mark.parametrize("bad", [-1, T + 1])
def test_lengths_outside_the_sequence(any_rnn, bad):
    for lengths in (np.array([0, T, bad]), jnp.array([0, T, bad])):
        raises(
            ValueError,
            rf"^lengths: expected values from 0 to T = 5, got .*{bad}",
            unroll,
            any_rnn,
            lengths=lengths,
        )


def test_lengths_are_clamped_under_a_trace(lstm):
    run = jax.jit(lambda lengths: unroll(lstm, lengths=lengths))
    for bad, clamped in (([0, T, T + 9], [0, T, T]), ([-5, 1, 2], [0, 1, 2])):
        actual, expected = run(jnp.array(bad)), run(jnp.array(clamped))
        for a, b in zip(
            jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_both_mask_and_lengths(any_rnn):
    raises(
        ValueError,
        r"^mask and lengths: expected one of them at most, got both\. .*combine",
        unroll,
        any_rnn,
        mask=FLAGS,
        lengths=np.ones(B, np.int32),
    )


# --- keys ----------------------------------------------------------------------------


def test_a_key_in_place_of_a_step_key(lstm):
    rnn, params = lstm
    raises(
        TypeError,
        r"^key: expected a StepKey \(or None for evaluation\), got .*"
        r"rnnjax\.step_keys\(key, T\)\[t\]",
        rnn.step,
        params,
        None,
        XS[0],
        key=jax.random.key(0),
    )


def test_step_keys_of_another_length(lstm):
    raises(
        ValueError,
        r"^key: expected StepKeys of 5 steps, one for each of xs, got 4",
        unroll,
        lstm,
        key=rnnjax.step_keys(jax.random.key(0), T - 1),
    )


# --- bidirectional -------------------------------------------------------------------


def test_bidirectional_cannot_step():
    rnn = rnnjax.bidirectional(rnnjax.lstm(H))
    params = rnn.init(jax.random.key(0), XS[0])
    raises(
        ValueError,
        r"^bidirectional: cannot run step by step, and cannot carry on from one window "
        r"to the next: its backward half needs the future\. ",
        rnn.step,
        params,
        None,
        XS[0],
    )


@pytest.mark.parametrize(
    "wrap", [rnnjax.with_carries, lambda rnn: rnnjax.truncate(rnn, 2)]
)
def test_bidirectional_cannot_carry_on(wrap):
    rnn = wrap(rnnjax.bidirectional(rnnjax.lstm(H)))
    params = rnn.init(jax.random.key(0), XS[0])
    raises(ValueError, "^bidirectional: cannot run", rnn.unroll, params, None, XS)


def test_bidirectional_merges():
    raises(
        ValueError,
        r"^bidirectional\(merge=\.\.\.\): expected one of .*concat.*got 'product'",
        rnnjax.bidirectional,
        rnnjax.lstm(H),
        merge="product",
    )


# --- static values -------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, -1, 2.5, "4", None])
@pytest.mark.parametrize("name", ["simple", "lstm", "gru", "clockwork"])
def test_hidden_size(name, bad):
    message = r"^hidden_size: expected a positive integer, got "
    raises(ValueError, message, getattr(rnnjax, name), bad)


def test_a_backend_that_cannot_run():
    raises(
        ValueError,
        r"^Schedule\(backend=\.\.\.\): expected one of .*got 'triton'",
        Schedule,
        backend="triton",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"gradient": "exact"},
            r"^Schedule\(gradient=\.\.\.\): .*deferred.*got 'exact'",
        ),
        ({"remat": "all"}, r"^Schedule\(remat=\.\.\.\): .*step.*got 'all'"),
        (
            {"block": 0},
            r"^Schedule\(block=\.\.\.\): expected a positive number .*got 0",
        ),
    ],
)
def test_schedules(options, message):
    raises(ValueError, message, Schedule, **options)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_rates(rate):
    message = r": expected a probability in \[0, 1\), got "
    raises(ValueError, "^rate" + message, rnnjax.dropout, rate)
    raises(ValueError, message, rnnjax.variational_dropout, rnnjax.lstm(H), rate)
    raises(ValueError, message, rnnjax.zoneout, rnnjax.cells.lstm(H), rate)


def test_a_schedule_of_another_type():
    message = r"^schedule: expected a rnnjax.Schedule, got 'deferred'"
    raises(TypeError, message, rnnjax.lstm, 3, schedule="deferred")
    message = r"^Schedule\(block=\.\.\.\): expected a positive number .*got 2\.0"
    raises(ValueError, message, Schedule, block=2.0)


def test_layers_and_cells_are_told_apart():
    cell, rnn = rnnjax.cells.lstm(H), rnnjax.lstm(H)
    message = r"expected layers \(rnnjax\.RNN\), got Cell\. rnnjax\.layer\(cell\) makes"
    for wrap in (
        rnnjax.stack,
        rnnjax.bidirectional,
        rnnjax.residual,
        rnnjax.with_carries,
        rnnjax.batch_major,
        rnnjax.variational_dropout,
    ):
        raises(TypeError, message, wrap, cell)
    raises(
        TypeError,
        r"^layer\(cell\): expected a rnnjax\.Cell, got RNN",
        rnnjax.layer,
        rnn,
    )
    raises(TypeError, r"expected a rnnjax\.Cell, got RNN", rnnjax.zoneout, rnn, 0.1)
    raises(ValueError, r"^stack\(\*layers\): expected at least one", rnnjax.stack)


def test_residual_needs_outputs_of_the_shape_of_the_inputs():
    rnn = rnnjax.residual(rnnjax.lstm(H))
    raises(
        ValueError,
        r"^residual: expected outputs of the shape of the inputs, \(3, 2\), got "
        r"float32\[3,4\]",
        rnn.init,
        jax.random.key(0),
        XS[0],
    )


def test_initialisers_of_another_cell():
    rnn = rnnjax.gru(H, bias_init=rnnjax.initializers.forget_gate_bias())
    raises(
        ValueError,
        r"^forget_gate_bias: expected the shape \[4, H\], .*It belongs to another cell",
        rnn.init,
        jax.random.key(0),
        XS[0],
    )
    raises(
        ValueError,
        r"^chrono_lstm\(longest\): expected more than 2 steps, got 2",
        rnnjax.initializers.chrono_lstm,
        2,
    )


# --- key -----------------------------------------------------------------------------


def test_a_key_that_is_none(lstm):
    raises(
        TypeError,
        r"^key: expected a PRNG key \(or None for evaluation\), got int32\[\]\. Make "
        r"one by jax\.random\.key\(seed\)\.",
        unroll,
        lstm,
        key=0,
    )


@pytest.mark.parametrize("bad", [0, -1, 2.0])
def test_sizes_of_stateless_layers(bad):
    raises(ValueError, r"^features: expected a positive integer", rnnjax.dense, bad)
    raises(ValueError, r"^features: expected a positive integer", rnnjax.embed, 3, bad)
    raises(ValueError, r"^size: expected a positive integer", rnnjax.embed, bad, 3)
