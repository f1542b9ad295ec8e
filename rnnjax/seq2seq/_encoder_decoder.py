"""`encoder_decoder`: one sequence to another; `one_to_many`: a vector to a sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax import RNN, attention
from rnnjax._checks import as_arrays, batch_shape_of
from rnnjax.base import Carry, Params, PyTree
from rnnjax.seq2seq import bridges
from rnnjax.seq2seq._feedback import Feed, sampled, scheduled_sampling
from rnnjax.seq2seq.bridges import Bridge


class Encoded(NamedTuple):
    """What a decoder needs to know of its input.

    Attributes:
      params: the decoder's parameters, the memory bound into them where it attends.
      carry: the decoder's first carry.
    """

    params: Params
    carry: Carry


class EncoderDecoder(NamedTuple):
    """A network from one sequence to another, as pure functions.

    Attributes:
      init: ``(key, x, y) -> params``; ``x`` is one step of the input, ``y`` one of what
        the decoder is fed.
      encode: ``(params, xs, *, lengths=None, mask=None, memory_mask=None, key=None) ->
        Encoded``. The decoder then is an ordinary `RNN`, run with
        ``decoder.unroll(*encoded, ys)`` and `free_running`, and
        ``functools.partial(decoder.step, encoded.params)`` is what `rnnjax.decoding`
        wants. ``memory_mask`` bool ``[S, *batch]`` is of the outputs of the encoder,
        where it differs from ``mask``.
      unroll: ``(params, xs, ys, *, lengths=None, mask=None, memory_mask=None,
        target_lengths=None, target_mask=None, probability=None, feed=sampled, key=None)
        -> (carry, outputs)``. ``ys [T, *batch, ...]`` is what the decoder is fed, the
        targets moved on by one step. Teacher forcing, or, with a ``probability`` and a
        key, `scheduled_sampling`.
      decoder: the decoder.
    """

    init: Callable[..., Params]
    encode: Callable[..., Encoded]
    unroll: Callable[..., tuple[Carry, PyTree]]
    decoder: RNN


def encoder_decoder(
    encoder: RNN,
    decoder: RNN,
    bridge: Bridge = bridges.dense(),  # noqa: B008
) -> EncoderDecoder:
    """Reads a sequence to its end, then writes another.

    ``s, ms = encoder(x_1 .. x_S)``, ``s'_0 = bridge(s)``,
    ``o_t, s'_t = decoder(s'_{t-1}, y_{t-1}, ms)``

    Args:
      encoder: any `RNN`, also `bidirectional`, a `stack`, `hierarchical`.
      decoder: any `RNN` that can `step`. Where it has `rnnjax.attention.attentive`
        layers, the outputs of the encoder ``[S, *batch, M]`` are their memory.
      bridge: from the encoder's last carry to the decoder's first: `bridges.dense`,
        `bridges.identity`, `bridges.zeros`.

    Returns:
      An `EncoderDecoder` with parameters ``{"encoder", "decoder", "bridge"}``.

    Raises:
      TypeError: not an `RNN`, not a `Bridge`; later, an attentive decoder and an
        encoder whose output is no single array.

    Example: tokens to tokens, with attention.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import attention, seq2seq
      >>> encoder = rnnjax.stack(
      ...     rnnjax.embed(9, 4), rnnjax.bidirectional(rnnjax.gru(8))
      ... )
      >>> cell = attention.attentive(rnnjax.cells.gru(8), attention.luong(), 16)
      >>> decoder = rnnjax.stack(
      ...     rnnjax.embed(7, 4), rnnjax.layer(cell), rnnjax.dense(7)
      ... )
      >>> model = seq2seq.encoder_decoder(encoder, decoder)
      >>> xs, ys = jnp.zeros((6, 2), int), jnp.zeros((5, 2), int)
      >>> params = model.init(jax.random.key(0), xs[0], ys[0])
      >>> _, logits = model.unroll(params, xs, ys, lengths=jnp.array([6, 3]))
      >>> logits.shape
      (5, 2, 7)

    References: Sutskever, Vinyals and Le, "Sequence to Sequence Learning with Neural
    Networks", NeurIPS 2014; Bahdanau, Cho and Bengio, "Neural Machine Translation by
    Jointly Learning to Align and Translate", ICLR 2015.
    """
    _check("encoder", encoder, RNN)
    _check("decoder", decoder, RNN)
    _check("bridge", bridge, Bridge)

    def init(key, x, y):
        encoder_key, decoder_key, bridge_key = jax.random.split(key, 3)
        params = {
            "encoder": encoder.init(encoder_key, x),
            "decoder": decoder.init(decoder_key, y),
        }

        def last_carry(params, x):
            x = jax.tree.map(lambda a: jnp.asarray(a)[(0,) * _rank(encoder, x)], x)
            return encoder.unroll(params, None, jax.tree.map(lambda a: a[None], x))[0]

        encoded = jax.eval_shape(last_carry, params["encoder"], x)
        first = jax.eval_shape(decoder.initial_carry, params["decoder"])
        return {**params, "bridge": bridge.init(bridge_key, encoded, first)}

    def encode(params, xs, *, lengths=None, mask=None, memory_mask=None, key=None):
        xs = as_arrays("xs", xs)
        _, *batch = batch_shape_of("xs", xs, encoder.event_ndim, time=True)
        last, memory = encoder.unroll(
            params["encoder"], None, xs, lengths=lengths, mask=mask, key=key
        )
        own = params["decoder"]
        if attention.attends(own):
            if not hasattr(memory, "shape"):
                raise TypeError(
                    f"encoder: expected an output of one array, the memory of the "
                    f"decoder, got {jax.tree.structure(memory)}. Merge it, as "
                    f"bidirectional(merge='concat') does."
                )
            if memory_mask is not None:
                lengths, mask = None, memory_mask
            own = attention.bind(own, memory, lengths=lengths, mask=mask)
        first = decoder.initial_carry(own, tuple(batch))
        carry = _bridged(bridge, params["bridge"], last, first, len(batch))
        return Encoded(own, carry)

    def unroll(
        params,
        xs,
        ys,
        *,
        lengths=None,
        mask=None,
        memory_mask=None,
        target_lengths=None,
        target_mask=None,
        probability=None,
        feed: Feed = sampled,
        key=None,
    ):
        encoder_key, decoder_key = _split(key)
        encoded = encode(
            params,
            xs,
            lengths=lengths,
            mask=mask,
            memory_mask=memory_mask,
            key=encoder_key,
        )
        return _decode(
            decoder,
            encoded,
            ys,
            probability,
            feed=feed,
            lengths=target_lengths,
            mask=target_mask,
            key=decoder_key,
        )

    return EncoderDecoder(init, encode, unroll, decoder)


def one_to_many(
    decoder: RNN,
    bridge: Bridge = bridges.dense(),  # noqa: B008
) -> EncoderDecoder:
    """Writes a sequence from a single vector: a caption from an image, say.

    ``s_0 = bridge(x)``, ``o_t, s_t = decoder(s_{t-1}, y_{t-1})``

    Args:
      decoder: any `RNN` that can `step`.
      bridge: from the vector to the decoder's first carry.

    Returns:
      An `EncoderDecoder` whose ``init``, ``encode`` and ``unroll`` take the vector
      ``x [*batch, F]`` in the place of ``xs``; it has no lengths and no mask. Its
      parameters are ``{"decoder", "bridge"}``.

    Raises:
      TypeError: not an `RNN`, not a `Bridge`.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import seq2seq
      >>> decoder = rnnjax.stack(rnnjax.embed(7, 4), rnnjax.lstm(8), rnnjax.dense(7))
      >>> model = seq2seq.one_to_many(decoder)
      >>> image, tokens = jnp.ones((2, 100)), jnp.zeros((5, 2), int)
      >>> params = model.init(jax.random.key(0), image, tokens[0])
      >>> model.unroll(params, image, tokens)[1].shape
      (5, 2, 7)
    """
    _check("decoder", decoder, RNN)
    _check("bridge", bridge, Bridge)

    def init(key, x, y):
        decoder_key, bridge_key = jax.random.split(key)
        params = decoder.init(decoder_key, y)
        vector = jax.ShapeDtypeStruct(jnp.shape(x)[-1:], jnp.result_type(x))
        first = jax.eval_shape(decoder.initial_carry, params)
        return {"decoder": params, "bridge": bridge.init(bridge_key, vector, first)}

    def encode(params, x, *, key=None):
        del key
        x = as_arrays("x", x)
        batch = batch_shape_of("x", x, 1, time=False)
        first = decoder.initial_carry(params["decoder"], batch)
        carry = _bridged(bridge, params["bridge"], x, first, len(batch))
        return Encoded(params["decoder"], carry)

    def unroll(
        params,
        x,
        ys,
        *,
        target_lengths=None,
        target_mask=None,
        probability=None,
        feed: Feed = sampled,
        key=None,
    ):
        return _decode(
            decoder,
            encode(params, x),
            ys,
            probability,
            feed=feed,
            lengths=target_lengths,
            mask=target_mask,
            key=key,
        )

    return EncoderDecoder(init, encode, unroll, decoder)


def _decode(decoder, encoded, ys, probability, *, feed, lengths, mask, key):
    """Teacher forcing, its input products hoisted; or scheduled sampling."""
    params, carry = encoded
    if probability is None or key is None:
        return decoder.unroll(params, carry, ys, lengths=lengths, mask=mask, key=key)
    return scheduled_sampling(
        decoder,
        params,
        carry,
        ys,
        probability,
        feed=feed,
        lengths=lengths,
        mask=mask,
        key=key,
    )


def _bridged(
    bridge: Bridge, params: Params, encoded: PyTree, first: Carry, batch_ndim: int
) -> Carry:
    """The bridge over every example."""

    def apply(encoded, first):
        return bridge.apply(params, encoded, first)

    for _ in range(batch_ndim):
        apply = jax.vmap(apply)
    return apply(encoded, first)


def _rank(rnn: RNN, x: PyTree) -> int:
    """Number of batch axes of one step ``x``."""
    return max(jnp.ndim(leaf) for leaf in jax.tree.leaves(x)) - rnn.event_ndim


def _split(key: Any) -> tuple[Any, Any]:
    return (None, None) if key is None else tuple(jax.random.split(key))


def _check(name: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind):
        raise TypeError(
            f"{name}: expected a {kind.__module__}.{kind.__qualname__}, got "
            f"{type(value).__name__}."
        )
