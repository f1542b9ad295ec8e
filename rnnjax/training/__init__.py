"""Training by Optax: plain functions over pytrees, stateful truncated BPTT.

A loss is ``loss(params, carry, batch, key) -> (loss, (carry, metrics))``. `train_step`
and `eval_step` make compiled steps of it, `windows` cuts a long stream into batches,
and the carry goes from one to the next. Needs the extra ``train``.
"""

from rnnjax._extras import require

require("optax", extra="train")

from rnnjax.losses import softmax_cross_entropy  # noqa: E402
from rnnjax.training._burn_in import burn_in  # noqa: E402
from rnnjax.training._evaluation import eval_step, evaluate  # noqa: E402
from rnnjax.training._losses import (  # noqa: E402
    language_model_loss,
    stateful_loss,
)
from rnnjax.training._optimizers import optimizer, weight_decay_mask  # noqa: E402
from rnnjax.training._state import TrainState, init_state  # noqa: E402
from rnnjax.training._step import train_step  # noqa: E402
from rnnjax.training._windows import streams, windows  # noqa: E402

__all__ = [
    "TrainState",
    "burn_in",
    "eval_step",
    "evaluate",
    "init_state",
    "language_model_loss",
    "optimizer",
    "softmax_cross_entropy",
    "stateful_loss",
    "streams",
    "train_step",
    "weight_decay_mask",
    "windows",
]
