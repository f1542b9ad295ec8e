"""Decoding: from ``step(carry, token) -> (carry, logits)`` to sequences of tokens.

Greedy decoding and sampling (`generate`, `stream`), `beam_search`, and the search for
the labels of connectionist temporal classification (`ctc_greedy`, `ctc_beam_search`).
"""

from rnnjax.decoding._beam import Hypotheses, beam_search
from rnnjax.decoding._ctc_beam import Transcript, ctc_beam_search
from rnnjax.decoding._ctc_greedy import ctc_greedy
from rnnjax.decoding._filters import (
    min_p,
    repetition_penalty,
    temperature,
    top_k,
    top_p,
)
from rnnjax.decoding._generate import Generated, generate
from rnnjax.decoding._language_model import (
    LanguageModel,
    ngram,
    rnn_language_model,
)
from rnnjax.decoding._sampling import GREEDY, Sampling
from rnnjax.decoding._stream import stream

__all__ = [
    "GREEDY",
    "Generated",
    "Hypotheses",
    "LanguageModel",
    "Sampling",
    "Transcript",
    "beam_search",
    "ctc_beam_search",
    "ctc_greedy",
    "generate",
    "min_p",
    "ngram",
    "repetition_penalty",
    "rnn_language_model",
    "stream",
    "temperature",
    "top_k",
    "top_p",
]
