"""Training by Optax: plain functions over pytrees, stateful truncated BPTT.

A loss is ``loss(params, carry, batch, key) -> (loss, (carry, metrics))``. `train_step`
and `eval_step` make compiled steps of it, `windows` cuts a long stream into batches,
and the carry goes from one to the next. `fit` is the loop around them, made of parts
that can be used alone. Needs the extra ``train``.
"""

from rnnjax._extras import require

require("optax", extra="train")

from rnnjax.losses import softmax_cross_entropy  # noqa: E402
from rnnjax.training._around import (  # noqa: E402
    EMAState,
    accumulate,
    ema_params,
    with_ema,
)
from rnnjax.training._arrays import array_batches  # noqa: E402
from rnnjax.training._books import Best, EarlyStopping  # noqa: E402
from rnnjax.training._buckets import Bucketed, bucketed  # noqa: E402
from rnnjax.training._burn_in import burn_in  # noqa: E402
from rnnjax.training._checkpoints import (  # noqa: E402
    CheckpointError,
    CheckpointMismatch,
    Checkpoints,
    Restored,
)
from rnnjax.training._evaluation import (  # noqa: E402
    eval_step,
    evaluate,
    evaluator,
)
from rnnjax.training._fit import Fitted, fit, predict  # noqa: E402
from rnnjax.training._locate import locate_nonfinite  # noqa: E402
from rnnjax.training._logs import MetricsLog, read_metrics  # noqa: E402
from rnnjax.training._losses import (  # noqa: E402
    language_model_loss,
    stateful_loss,
    supervised_loss,
)
from rnnjax.training._nonfinite import NonFinite, NonFiniteError  # noqa: E402
from rnnjax.training._optimizers import optimizer, weight_decay_mask  # noqa: E402
from rnnjax.training._progress import ProgressBar  # noqa: E402
from rnnjax.training._state import TrainState, init_state  # noqa: E402
from rnnjax.training._step import train_step  # noqa: E402
from rnnjax.training._tensorboard import TensorBoard  # noqa: E402
from rnnjax.training._termination import Terminated  # noqa: E402
from rnnjax.training._trace import Trace  # noqa: E402
from rnnjax.training._windows import streams, windows  # noqa: E402

__all__ = [
    "Best",
    "Bucketed",
    "CheckpointError",
    "CheckpointMismatch",
    "Checkpoints",
    "EMAState",
    "EarlyStopping",
    "Fitted",
    "MetricsLog",
    "NonFinite",
    "NonFiniteError",
    "ProgressBar",
    "Restored",
    "TensorBoard",
    "Terminated",
    "Trace",
    "TrainState",
    "accumulate",
    "array_batches",
    "bucketed",
    "burn_in",
    "ema_params",
    "eval_step",
    "evaluate",
    "evaluator",
    "fit",
    "init_state",
    "language_model_loss",
    "locate_nonfinite",
    "optimizer",
    "predict",
    "read_metrics",
    "softmax_cross_entropy",
    "stateful_loss",
    "streams",
    "supervised_loss",
    "train_step",
    "weight_decay_mask",
    "windows",
    "with_ema",
]
