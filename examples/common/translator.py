"""From tokens to tokens: an encoder that reads both ways, a decoder that attends.

``m_1 .. m_S = encoder(x_1 .. x_S)``; at every step the decoder reads the memory ``m``
and is fed its own output, and a dense layer gives the next token. Trained by teacher
forcing or scheduled sampling; decoded greedily or by beam search.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import rnnjax
from rnnjax import attention, cells, decoding, losses, seq2seq

from .buckets import in_order, padded
from .vocabulary import END, PAD, Vocabulary


@dataclass(frozen=True)
class Sizes:
    """What a translator is made of.

    Attributes:
        source: number of tokens of the source's vocabulary.
        target: number of tokens of the target's vocabulary.
        embedding: size of the embeddings.
        hidden: size of the hidden state of the decoder, and of the encoder's both
            directions together.
        layers: recurrent layers of the encoder; the decoder has one.
        dropout: of embeddings and outputs.
    """

    source: int
    target: int
    embedding: int
    hidden: int
    layers: int = 1
    dropout: float = 0.0


def build(sizes: Sizes) -> seq2seq.EncoderDecoder:
    """Makes the model; its parameters are those of `seq2seq.encoder_decoder`."""
    encoder = [rnnjax.embed(sizes.source, sizes.embedding)]
    for _ in range(sizes.layers):
        encoder += [
            rnnjax.dropout(sizes.dropout),
            rnnjax.bidirectional(rnnjax.gru(sizes.hidden // 2)),
        ]
    encoder.append(rnnjax.dropout(sizes.dropout))
    decoder = rnnjax.stack(
        *_attending(sizes),
        rnnjax.dropout(sizes.dropout),
        rnnjax.dense(sizes.target),
    )
    return seq2seq.encoder_decoder(rnnjax.stack(*encoder), decoder)


def _attending(sizes: Sizes, return_weights: bool = False) -> list[rnnjax.RNN]:
    """The lower layers of the decoder, up to the one that attends."""
    cell = attention.attentive(
        cells.gru(sizes.hidden),
        attention.luong("general"),
        memory_size=2 * (sizes.hidden // 2),
        return_weights=return_weights,
    )
    # On two cores plain autodiff took three quarters of the time of deferral here.
    schedule = rnnjax.Schedule(gradient="autodiff")
    return [
        rnnjax.embed(sizes.target, sizes.embedding),
        rnnjax.dropout(sizes.dropout),
        rnnjax.layer(cell, schedule),
    ]


def init(model: seq2seq.EncoderDecoder, seed: int) -> Any:
    """Draws the parameters."""
    token = jax.ShapeDtypeStruct((), np.int32)
    return jax.jit(lambda key: model.init(key, token, token))(jax.random.key(seed))


class Pairs:
    """Sources and targets as numbers, and how batches are made of them.

    A batch has ``source [S, B]`` and ``target [T, B]``, both with their ends, and
    ``source_lengths`` and ``target_lengths [B]``.
    """

    def __init__(self, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray]):
        self.sources, self.targets = list(sources), list(targets)
        pairs = zip(self.sources, self.targets, strict=True)
        self.lengths = np.array([(len(s), len(t)) for s, t in pairs]).reshape(-1, 2)

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.sources)

    def collate(self, examples: np.ndarray, shape: tuple[int, ...]) -> dict:
        """The batch of some examples, padded to ``shape``."""
        return {
            "source": padded(self.sources, examples, shape[0], PAD),
            "source_lengths": self.lengths[examples, 0].astype(np.int32),
            "target": padded(self.targets, examples, shape[1], PAD),
            "target_lengths": self.lengths[examples, 1].astype(np.int32),
        }


def make_loss(
    model: seq2seq.EncoderDecoder,
    label_smoothing: float = 0.0,
    truth: Callable[[Any], Any] | None = None,
) -> Callable:
    """Cross-entropy of the targets, as `rnnjax.training` takes it.

    Args:
        model: of `build`.
        label_smoothing: in training.
        truth: scheduled sampling in training: from ``batch["step"]`` to the
            probability that the decoder is given the true token before.
    """

    def loss(params, carry, batch, key):
        target = batch["target"]
        scheduled = (
            {"probability": truth(batch["step"])} if key is not None and truth else {}
        )
        _, logits = model.unroll(
            params,
            batch["source"],
            _moved_on(target),
            lengths=batch["source_lengths"],
            target_lengths=batch["target_lengths"],
            key=key,
            **scheduled,
        )
        value, metrics = losses.softmax_cross_entropy(
            logits,
            target,
            jnp.arange(len(target))[:, None] < batch["target_lengths"][None],
            label_smoothing=0.0 if key is None else label_smoothing,
        )
        return value, (carry, metrics)

    return loss


def _moved_on(target: Any) -> Any:
    """What the decoder is given: the targets, one step later."""
    return jnp.concatenate([jnp.full_like(target[:1], PAD), target[:-1]])


def make_attended(model: seq2seq.EncoderDecoder, sizes: Sizes) -> Callable:
    """``(params, batch) -> weights [T, B, S]``, of a decoder given its targets."""
    looking = rnnjax.stack(*_attending(sizes, return_weights=True))

    @jax.jit
    def attended(params, batch):
        encoded = model.encode(params, batch["source"], lengths=batch["source_lengths"])
        return _weights(looking, encoded, batch["target"])

    return attended


def _weights(looking: rnnjax.RNN, encoded: seq2seq.Encoded, target: Any) -> Any:
    below = {name: encoded.params[name] for name in ("0", "1", "2")}
    return looking.unroll(below, encoded.carry[:3], _moved_on(target))[1][1]


class Decoded(NamedTuple):
    """What a decoder wrote.

    Attributes:
        tokens: ``[length, B]``; padding after the end.
        read: ``[length, B]``, the place in the source that each token attends to most,
            so that an unknown word can be copied from there (Luong et al. 2015).
    """

    tokens: Any
    read: Any


def make_decoder(
    model: seq2seq.EncoderDecoder,
    sizes: Sizes,
    length: int,
    beam: int = 1,
    length_penalty: float = 0.0,
) -> Callable[..., Decoded]:
    """``(params, batch) -> Decoded``, compiled: greedy, or by a beam."""
    looking = rnnjax.stack(*_attending(sizes, return_weights=True))

    @jax.jit
    def decode(params, batch):
        encoded = model.encode(params, batch["source"], lengths=batch["source_lengths"])
        step = functools.partial(model.decoder.step, encoded.params)
        start = jnp.full_like(batch["source"][:1], PAD)
        if beam == 1:
            tokens = decoding.generate(
                step, encoded.carry, start, length=length, stop=(END,), pad=PAD
            ).tokens
        else:
            tokens = decoding.beam_search(
                step,
                encoded.carry,
                start,
                length=length,
                beam=beam,
                n_best=1,
                stop=(END,),
                length_penalty=length_penalty,
                pad=PAD,
            ).tokens[0]
        return Decoded(tokens, _weights(looking, encoded, tokens).argmax(-1))

    return decode


def decode_all(
    decode: Callable[..., Decoded], params: Any, pairs: Pairs, batch_size: int
) -> list[Decoded]:
    """Decodes every source; each ``[length]``, in the order of the pairs."""
    out: list[Any] = [None] * len(pairs)
    # Two shapes: a search takes long to compile.
    for examples, batch in in_order(pairs.lengths, batch_size, pairs.collate, 2):
        tokens, read = map(np.asarray, decode(params, batch))
        for column, example in enumerate(examples):
            out[example] = Decoded(tokens[:, column], read[:, column])
    return out


def to_words(
    decoded: Sequence[Decoded],
    sources: Sequence[Sequence[str]],
    vocabulary: Vocabulary,
) -> list[list[str]]:
    """The words of what was decoded; unknown ones are copied from the source."""
    return [
        vocabulary.decode(
            d.tokens, [source[min(place, len(source) - 1)] for place in d.read]
        )
        for d, source in zip(decoded, sources, strict=True)
    ]
