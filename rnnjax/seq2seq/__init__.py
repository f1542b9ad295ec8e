"""Encoder-decoders: bridges, teacher forcing, scheduled sampling, free running."""

from rnnjax.seq2seq import bridges, schedules
from rnnjax.seq2seq._encoder_decoder import (
    Encoded,
    EncoderDecoder,
    encoder_decoder,
    one_to_many,
)
from rnnjax.seq2seq._feedback import (
    free_running,
    itself,
    most_probable,
    sampled,
    scheduled_sampling,
)

__all__ = [
    "Encoded",
    "EncoderDecoder",
    "bridges",
    "encoder_decoder",
    "free_running",
    "itself",
    "most_probable",
    "one_to_many",
    "sampled",
    "schedules",
    "scheduled_sampling",
]
