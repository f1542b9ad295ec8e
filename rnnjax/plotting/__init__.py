"""Pictures of training, predictions and what goes on inside, by Matplotlib.

Each function takes data and returns a `matplotlib.figure.Figure`. No window is opened
and no global state of Matplotlib is touched. Needs the extra ``plot``.
"""

from rnnjax._extras import require

require("matplotlib", extra="plot")

from rnnjax.plotting._attention_alignment import attention_alignment  # noqa: E402
from rnnjax.plotting._confusion_matrix import confusion_matrix  # noqa: E402
from rnnjax.plotting._forecast import forecast  # noqa: E402
from rnnjax.plotting._gate_activations import gate_activations  # noqa: E402
from rnnjax.plotting._learning_curves import learning_curves  # noqa: E402
from rnnjax.plotting._spectrogram import spectrogram  # noqa: E402

__all__ = [
    "attention_alignment",
    "confusion_matrix",
    "forecast",
    "gate_activations",
    "learning_curves",
    "spectrogram",
]
