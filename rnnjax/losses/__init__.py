"""Losses of sequences; what stands in padding reaches no value and no gradient.

Each returns ``(loss, metrics)``, a mean and its "count", as `rnnjax.training` takes
them. Needs the extra ``train``, for Optax.
"""

from rnnjax._extras import require

require("optax", extra="train")

from rnnjax.losses._cross_entropy import softmax_cross_entropy  # noqa: E402
from rnnjax.losses._ctc import ctc  # noqa: E402
from rnnjax.losses._regression import (  # noqa: E402
    huber,
    mean_absolute_error,
    mean_squared_error,
    quantile,
)
from rnnjax.losses._transducer import transducer  # noqa: E402

__all__ = [
    "ctc",
    "huber",
    "mean_absolute_error",
    "mean_squared_error",
    "quantile",
    "softmax_cross_entropy",
    "transducer",
]
