"""Attention: scores, memories bound for a sequence, and cells that attend.

An `Attention` reads a `Memory` for a query and gives ``(context, weights)``; it can be
used alone. `attentive` makes a cell of it that is fed its own output, and `bind` puts
the memory into the parameters of a network for the sequences that read it.
"""

from rnnjax.attention._attention import Attention
from rnnjax.attention._attentive import AttentionCarry, attentive
from rnnjax.attention._bahdanau import bahdanau
from rnnjax.attention._bind import attends, bind
from rnnjax.attention._coverage import coverage_loss
from rnnjax.attention._luong import luong
from rnnjax.attention._memory import Memory, remember
from rnnjax.attention._multi_head import multi_head, scaled_dot_product
from rnnjax.attention._softmax import masked_softmax

__all__ = [
    "Attention",
    "AttentionCarry",
    "Memory",
    "attends",
    "attentive",
    "bahdanau",
    "bind",
    "coverage_loss",
    "luong",
    "masked_softmax",
    "multi_head",
    "remember",
    "scaled_dot_product",
]
