"""Metrics over whole data sets, as accumulators: init, update, compute, merge.

Those of labels, language models and forecasts are sums on the device, and need JAX
alone; those of texts run on the host, and need the extra ``text``.
"""

from rnnjax.metrics._classification import (
    accuracy,
    confusion_matrix,
    f1,
    precision,
    recall,
)
from rnnjax.metrics._language import bits_per_character, perplexity
from rnnjax.metrics._metric import Metric, collect
from rnnjax.metrics._regression import mae, mape, mase, rmse, seasonal_naive_error
from rnnjax.metrics._text import bleu, character_error_rate, rouge, word_error_rate

__all__ = [
    "Metric",
    "accuracy",
    "bits_per_character",
    "bleu",
    "character_error_rate",
    "collect",
    "confusion_matrix",
    "f1",
    "mae",
    "mape",
    "mase",
    "perplexity",
    "precision",
    "recall",
    "rmse",
    "rouge",
    "seasonal_naive_error",
    "word_error_rate",
]
