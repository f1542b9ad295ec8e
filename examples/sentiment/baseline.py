"""What the networks are compared with: logistic regression on bags of words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from .reviews import Review

STRENGTHS = (1.0, 4.0, 16.0)


def bag_of_words(
    train: Sequence[Review], dev: Sequence[Review], test: Sequence[Review]
) -> tuple[np.ndarray, float, float]:
    """Words weighted by tf-idf; the strength of the penalty is chosen on ``dev``.

    Returns:
        The labels it gives to ``test``, its accuracy on ``dev``, and the inverse
        strength ``C`` that was chosen.
    """
    weigh = TfidfVectorizer(analyzer=lambda r: r.words, min_df=2, sublinear_tf=True)
    x = weigh.fit_transform(train)
    y, y_dev = (np.array([r.label for r in part]) for part in (train, dev))
    x_dev, best = weigh.transform(dev), None
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=300).fit(x, y)
        accuracy = float(np.mean(model.predict(x_dev) == y_dev))
        if best is None or accuracy > best[1]:
            best = model, accuracy, strength
    model, accuracy, strength = best
    return model.predict(weigh.transform(test)), accuracy, strength
