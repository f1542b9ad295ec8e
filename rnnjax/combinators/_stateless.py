"""Layers without a recurrence: `dense`, `embed`, `dropout`, `norm`; carry ``()``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax import initializers
from rnnjax._checks import (
    as_arrays,
    batch_shape_of,
    check_carry,
    check_features,
    check_flags,
    describe,
    positive,
)
from rnnjax._compat import is_concrete, rows_sharding
from rnnjax._norm import normalise
from rnnjax._wide import add_bias, product
from rnnjax.base import RNN, Array, Explanation, Params, StepKey, StepKeys, step_keys
from rnnjax.combinators._shapes import explained
from rnnjax.initializers import Initializer
from rnnjax.unroll import canonical_flags, check_step_key, zero_where_masked


def stateless(
    name: str,
    init: Callable[..., Params],
    apply: Callable[..., Array],
    event_ndim: int = 1,
) -> RNN:
    """An `RNN` without a carry, from a function of one step.

    Args:
      name: for `explain`.
      init: ``(key, x) -> params``.
      apply: ``(params, x, key) -> y`` of one step; ``key`` is a `StepKey` or None.
      event_ndim: rank of one example.

    Returns:
      An `RNN` whose carry is ``()``. Resets mean nothing to it; masked outputs are
      zero.
    """

    def step(params, carry, x, *, reset=None, key=None):
        x = as_arrays("x", x)
        check_flags("reset", reset, batch_shape_of("x", x, event_ndim, time=False))
        check_step_key(key)
        if carry is not None:
            check_carry(carry, ())
        return (), apply(params, x, key)

    def unroll(
        params,
        carry,
        xs,
        *,
        resets=None,
        lengths=None,
        mask=None,
        reverse=False,
        key=None,
    ):
        xs = as_arrays("xs", xs)
        length, *batch = batch_shape_of("xs", xs, event_ndim, time=True)
        _, mask = canonical_flags(resets, lengths, mask, length, tuple(batch))
        if carry is not None:
            check_carry(carry, ())
        xs = zero_where_masked(mask, xs)
        if key is None:
            ys = jax.vmap(lambda x: apply(params, x, None))(xs)
        else:
            ys = _apply_with_keys(apply, params, xs, step_keys(key, length), reverse)
        return (), zero_where_masked(mask, ys)

    def explain(params, xs):
        return explained(Explanation(name), unroll, params, xs)

    return RNN(
        init, lambda params, batch_shape=(): (), step, unroll, explain, event_ndim
    )


def _apply_with_keys(apply, params, xs, keys: StepKeys, reverse: bool):
    """All steps at once, each with its key; keys are in the order of processing."""
    steps = keys.step[::-1] if reverse else keys.step

    def one(x, step):
        return apply(params, x, StepKey(keys.sequence, step))

    return jax.vmap(one)(xs, steps)


def dense(
    features: int,
    activation: Callable[[Array], Array] | None = None,
    *,
    use_bias: bool = True,
    kernel_init: Initializer = initializers.glorot_uniform(),  # noqa: B008
    bias_init: Initializer = initializers.zeros,
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> RNN:
    """``y_t = g(x_t W + b)``: an output layer, all steps in one product.

    Args:
      features: size of ``y_t``.
      activation: ``g``; None is the identity.
      use_bias: False leaves ``b`` out.
      kernel_init: of ``W [F, features]``.
      bias_init: of ``b [features]``.
      dtype: of the computation; None is ``param_dtype``.
      param_dtype: of the parameters.

    Returns:
      An `RNN` with parameters ``{"kernel", "bias"}`` and carry ``()``.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> rnn = rnnjax.stack(rnnjax.gru(8), rnnjax.dense(2, jax.nn.softmax))
      >>> params = rnn.init(jax.random.key(0), jnp.ones(3))
      >>> rnn.unroll(params, None, jnp.ones((10, 3)))[1].shape
      (10, 2)
    """
    features = positive("features", features)
    dtype = dtype or param_dtype

    def init(key, x):
        params = {"kernel": kernel_init(key, (x.shape[-1], features), param_dtype)}
        if use_bias:
            bias_key = jax.random.fold_in(key, 1)
            params["bias"] = bias_init(bias_key, (features,), param_dtype)
        return params

    def apply(params, x, key):
        del key
        check_features("x (one step of xs)", x, params["kernel"].shape[0])
        y = product(x.astype(dtype), params["kernel"].astype(dtype))
        y = add_bias(y, params.get("bias")).astype(dtype)
        return y if activation is None else activation(y)

    return stateless("dense", init, apply)


def embed(
    size: int,
    features: int,
    *,
    table_init: Initializer = initializers.normal(1.0),  # noqa: B008
    dtype: Any = None,
    param_dtype: Any = jnp.float32,
) -> RNN:
    """``y_t = table[x_t]``: tokens to vectors.

    Args:
      size: number of tokens.
      features: size of a vector.
      table_init: of the table ``[size, features]``.
      dtype: of the vectors; None is ``param_dtype``.
      param_dtype: of the table.

    Returns:
      An `RNN` on integer ``xs [T, *batch]`` in ``[0, size)``, with parameters
      ``{"table"}`` and carry ``()``. `attend` uses the table as an output layer. Tokens
      outside the range raise where they are concrete; traced, they give NaN.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> rnn = rnnjax.embed(50, 8)
      >>> tokens = jnp.array([[3, 1], [4, 1]])
      >>> params = rnn.init(jax.random.key(0), tokens[0])
      >>> rnn.unroll(params, None, tokens)[1].shape
      (2, 2, 8)
    """
    size, features = positive("size", size), positive("features", features)
    dtype = dtype or param_dtype

    def init(key, x):
        del x
        return {"table": table_init(key, (size, features), param_dtype)}

    def apply(params, x, key):
        del key
        if not jnp.issubdtype(x.dtype, jnp.integer):
            raise TypeError(
                f"x: embed expects integer tokens, got {describe(x)}. Convert with "
                f"x.astype(jnp.int32)."
            )
        rows = jnp.asarray(params["table"], dtype).at[x]
        return rows.get(
            mode="fill",
            fill_value=jnp.nan,
            wrap_negative_indices=False,
            out_sharding=rows_sharding(x),
        )

    layer = stateless("embed", init, apply, event_ndim=0)

    def checked(run, name):
        def checking(params, carry, tokens, **options):
            result = run(params, carry, tokens, **options)  # checks the flags first
            flags = options.get("lengths"), options.get("mask")
            _check_tokens(name, tokens, size, *flags)
            return result

        return checking

    return layer._replace(
        step=checked(layer.step, "x"), unroll=checked(layer.unroll, "xs")
    )


def _check_tokens(name, tokens, size, lengths, mask):
    """Raises for a token outside the table, unless it is masked."""
    if not all(map(is_concrete, (tokens, lengths, mask))):
        return
    values = np.asarray(tokens)  # jnp would stage it out under an outer trace
    if lengths is not None:
        time = np.arange(len(values)).reshape((-1,) + (1,) * (values.ndim - 1))
        mask = time < np.asarray(lengths)[None]
    if mask is not None:
        values = values[np.asarray(mask)]
    if not values.size:
        return
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= size:
        raise ValueError(
            f"{name}: expected tokens from 0 to {size - 1}, got {low} to {high}. Raise "
            f"embed's size or mend the vocabulary."
        )


def attend(params: Params, x: Array) -> Array:
    """``x table^T``: the embedding table as an output layer (tied weights).

    Args:
      params: of an `embed` layer, ``table [size, F]``.
      x: ``[..., F]``.

    Returns:
      Logits ``[..., size]``.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> params = rnnjax.embed(50, 8).init(jax.random.key(0), jnp.array(0))
      >>> rnnjax.attend(params, jnp.ones((10, 8))).shape
      (10, 50)

    Reference: Press and Wolf, "Using the Output Embedding to Improve Language Models",
    EACL 2017.
    """
    check_features("x", x, params["table"].shape[1])
    return product(x, params["table"].astype(x.dtype).T).astype(x.dtype)


def dropout(rate: float, *, variational: bool = False) -> RNN:
    """Zeroes each feature with probability ``rate`` and scales the rest by 1/(1-rate).

    Args:
      rate: probability in ``[0, 1)``.
      variational: one mask for all steps of a sequence in place of one for each step
        (Gal and Ghahramani 2016).

    Returns:
      An `RNN` without parameters and with carry ``()``; with ``key=None`` the identity.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> rnn = rnnjax.dropout(0.5)
      >>> _, ys = rnn.unroll({}, None, jnp.ones((4, 8)), key=jax.random.key(0))
      >>> jnp.unique(ys).tolist()
      [0.0, 2.0]

    References: Srivastava et al., "Dropout", JMLR 2014; Gal and Ghahramani, "A
    Theoretically Grounded Application of Dropout in Recurrent Neural Networks", NeurIPS
    2016.
    """
    check_rate("rate", rate)

    def apply(params, x, key):
        del params
        if key is None or rate == 0:
            return x
        mask = dropout_mask(key.sequence if variational else key.step, rate, x.shape)
        return x * mask.astype(x.dtype)

    return stateless("dropout", lambda key, x: {}, apply)


def check_rate(name: str, rate: float) -> None:
    """Raises unless ``rate`` is a probability below 1."""
    if not 0 <= rate < 1:
        raise ValueError(f"{name}: expected a probability in [0, 1), got {rate!r}.")


def dropout_mask(key: Array, rate: float, shape: tuple[int, ...]) -> Array:
    """0 with probability ``rate``, else ``1 / (1 - rate)``; float32 of ``shape``."""
    kept = jax.random.bernoulli(key, 1 - rate, shape)
    return kept.astype(jnp.float32) / jnp.float32(1 - rate)


def norm(*, eps: float = 1e-6, param_dtype: Any = jnp.float32) -> RNN:
    """Layer normalisation: ``scale * (x - mean) / sqrt(var + eps) + bias``, each step.

    Args:
      eps: added to the variance.
      param_dtype: of the parameters.

    Returns:
      An `RNN` with parameters ``{"scale", "bias"}`` and carry ``()``.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> rnn = rnnjax.stack(rnnjax.gru(8), rnnjax.norm())
      >>> params = rnn.init(jax.random.key(0), jnp.ones(3))
      >>> _, ys = rnn.unroll(params, None, jnp.ones((4, 3)))
      >>> bool(jnp.allclose(ys.mean(-1), 0, atol=1e-5))
      True

    Reference: Ba, Kiros and Hinton, "Layer Normalization", 2016.
    """

    def init(key, x):
        del key
        return {
            "scale": jnp.ones(x.shape[-1], param_dtype),
            "bias": jnp.zeros(x.shape[-1], param_dtype),
        }

    def apply(params, x, key):
        del key
        check_features("x (one step of xs)", x, params["scale"].shape[0])
        normal = normalise(x, params["scale"], eps)
        return add_bias(normal, params["bias"])

    return stateless("norm", init, apply)
