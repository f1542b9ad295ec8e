"""The pieces of a training: optimiser, loss, batches; scores of what was trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax import training

from ..common.fitting import adamw
from .config import Config
from .data import Series
from .model import Classifier, make_loss


class Scores(NamedTuple):
    """What a network says of some series.

    Attributes:
        predictions: int ``[N]``.
        errors: how many of them are wrong.
        nats: mean negative log probability of the true class.
    """

    predictions: np.ndarray
    errors: int
    nats: float


def steps_of_epoch(config: Config, examples: int) -> int:
    """Whole batches in a pass over the training series."""
    return max(examples // config.batch_size, 1)


def batches(config: Config, series: Series, seed: int, epoch: int) -> Iterator[dict]:
    """The batches of an epoch, in an order that seed and epoch make."""
    order = np.random.default_rng((seed, epoch)).permutation(len(series))
    size = min(config.batch_size, len(series))
    for k in range(steps_of_epoch(config, len(series))):
        part = series.take(order[k * size : (k + 1) * size])
        yield {"xs": part.xs, "lengths": part.lengths, "labels": part.labels}


def make_step(config: Config, classifier: Classifier, examples: int):
    """The optimiser and the compiled step, for all trainings of these settings."""
    steps = config.epochs * steps_of_epoch(config, examples)
    optimizer = adamw(config, steps, warmup=100)
    return optimizer, training.train_step(
        make_loss(config, classifier), optimizer, skip_nonfinite=True
    )


def make_scorer(classifier: Classifier):
    """A compiled function ``(params, series) -> Scores``."""

    @jax.jit
    def logits(params, xs, lengths):
        return classifier.logits(params, jnp.swapaxes(xs, 0, 1), lengths)

    def score(params, series: Series) -> Scores:
        said = jax.nn.log_softmax(logits(params, series.xs, series.lengths))
        predictions = np.asarray(said.argmax(-1))
        of_true = np.asarray(said)[np.arange(len(series)), series.labels]
        errors = int((predictions != series.labels).sum())
        return Scores(predictions, errors, float(-of_true.mean()))

    return score
