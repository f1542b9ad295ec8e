"""`fit`: the training loop, made of parts that can be used alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from rnnjax._checks import positive
from rnnjax.base import Array, PyTree
from rnnjax.training._arrays import array_batches, split_last
from rnnjax.training._books import Best, Books, EarlyStopping
from rnnjax.training._checkpoints import Checkpoints
from rnnjax.training._data import BatchStream, length_of_epoch
from rnnjax.training._evaluation import evaluator
from rnnjax.training._loop import Loop
from rnnjax.training._progress import ProgressBar
from rnnjax.training._resume import resumed
from rnnjax.training._state import TrainState, copied
from rnnjax.training._step import Loss, check_key, train_step
from rnnjax.training._termination import Termination
from rnnjax.training._trace import Trace


class Fitted(NamedTuple):
    """What `fit` gives.

    Attributes:
      state: the `TrainState` after the last step.
      history: all records in order, those before a resume among them.
      best: step and value of the best metric that checkpoints or early stopping
        watched; None where none did, or the metric was never a number.
      reason: why it ended: "steps", "epochs" or "early stopping".
    """

    state: TrainState
    history: list[dict[str, Any]]
    best: Best | None
    reason: str


def fit(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    data: Any,
    *,
    key: Array,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    shuffle: bool = True,
    validation_split: float = 0.0,
    validation: Any = None,
    validate_every: int | None = None,
    log_every: int | None = None,
    logs: Sequence[Callable[[dict[str, Any]], Any]] = (),
    progress: Any = False,
    units: Mapping[str, Callable[[PyTree], int]] | None = None,
    checkpoints: Checkpoints | None = None,
    resume: bool | str = False,
    early_stopping: EarlyStopping | None = None,
    skip_nonfinite: int = 10,
    debug: bool = False,
    trace: Trace | None = None,
    step: Callable[..., tuple[TrainState, dict[str, Any]]] | None = None,
) -> Fitted:
    """Trains: the loop around `train_step`, with all that a long run needs.

    Step ``k`` is ``state, metrics = step(state, batch_k, fold_in(key, k))``. Between
    two steps, in this order and where it is time: a record of the metrics, a
    validation, a checkpoint. A run that is killed at any moment and resumed ends with
    the same numbers, to the last bit, as one that never was. On SIGTERM it saves and
    raises `Terminated`, with which a process ends with status 0.

    Args:
      loss: ``(params, carry, batch, key) -> (loss, (carry, metrics))``, see
        `train_step`.
      optimizer: an Optax transformation; `rnnjax.training.optimizer` makes one.
      state: from `init_state`; it is copied, yours stays alive.
      data: batches, in one of four forms. A sequence, such as `windows`: an epoch is
        one pass; it may lack a length, and is then endless. A function of the number
        of the epoch that gives a sequence or an iterable. A Grain data set or loader:
        its iterator's state is kept in the checkpoints. Any other iterable: a resume
        skips the batches that were used. With ``batch_size``: a tree of arrays ``[N,
        ...]``, such as ``(x, y)``.
      key: a PRNG key for the steps, and for the order of arrays.
      steps: in all, those before a resume among them.
      epochs: passes over the data; give this or ``steps``.
      batch_size: see ``data``; the last batch of an epoch may be smaller.
      shuffle: whether arrays are read in a new order each epoch.
      validation_split: share of the arrays, the last examples, kept for validation.
      validation: a function ``params -> {name: number}``, or batches, which are run by
        `evaluator`, metrics "val_loss", ...; `evaluator` for such that hand a carry on.
      validate_every: number of steps between two; None is at the end of an epoch. The
        last step is always validated.
      log_every: number of steps between two records; None is at the end of an epoch.
        There is always one after the last step.
      logs: each is called with every record, a dict: `MetricsLog`, `TensorBoard`, a
        function of yours. What it raises ends the run.
      progress: True for a bar on the terminal, or a `rich.console.Console` for one.
      units: what to count in batches, such as ``{"tokens": lambda batch:
        batch["inputs"].size}``; records have the sum and "..._per_second".
      checkpoints: where to save; what must agree in a resumed run is its ``config``.
      resume: True goes on from the newest checkpoint, "auto" does so where there is
        one, False expects none.
      early_stopping: when to end before ``steps`` or ``epochs``.
      skip_nonfinite: steps whose loss, gradient or carry is not finite leave the state
        as it was and are counted; so many in a row end the run.
      debug: look, at the first such step, for the operation and the time step where
        it began. Every step is then waited for.
      trace: which steps to profile.
      step: to be used instead of ``train_step(loss, optimizer, skip_nonfinite=True)``,
        such as one made once for several runs.

    Returns:
      A `Fitted`.

    Raises:
      ValueError, TypeError: arguments that do not fit each other, said before the
        first step.
      NonFiniteError: too many steps in a row were skipped; it names the step, the
        batches and the parameters.
      CheckpointError: a checkpoint could not be written; its ``state`` is that after
        the last step, and the checkpoints before are intact.
      CheckpointMismatch: the checkpoint is of another run; all differences are listed.
      FileNotFoundError: nothing to resume from.
      FileExistsError: there are checkpoints, and no ``resume``.
      Terminated: SIGTERM came; the state is saved.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np, rnnjax, rnnjax.training as training
      >>> rnn = rnnjax.stack(rnnjax.gru(8), rnnjax.dense(1))
      >>> def loss(params, carry, batch, key):
      ...     carry, ys = rnn.unroll(params, carry, batch["inputs"], key=key)
      ...     return jnp.mean((ys - batch["targets"]) ** 2), (carry, {})
      >>> wave = np.sin(np.arange(401, dtype=np.float32))[:, None]
      >>> stream = training.streams({"inputs": wave[:-1], "targets": wave[1:]}, 2)
      >>> params = rnn.init(jax.random.key(0), jnp.ones(1))
      >>> optimizer = training.optimizer("adam", 1e-2)
      >>> carry = rnn.initial_carry(params, (2,))
      >>> state = training.init_state(params, optimizer, carry)
      >>> windows = training.windows(stream, 20)
      >>> fitted = training.fit(
      ...     loss, optimizer, state, windows, key=jax.random.key(1), epochs=5
      ... )
      >>> fitted.reason, int(fitted.state.step), len(fitted.history)
      ('epochs', 50, 5)
      >>> fitted.history[-1]["loss"] < fitted.history[0]["loss"]
      True
    """
    _check(locals())
    if batch_size is not None:
        examples = data
        if validation_split:
            examples, held_out = split_last(data, validation_split)
            validation = array_batches(held_out, batch_size)(0)
        data = array_batches(examples, batch_size, key=key if shuffle else None)
    source = BatchStream(data)
    state, books = copied(state), Books(step=int(state.step))
    if checkpoints is not None:
        state, books = resumed(checkpoints, resume, state, books, source, key)
    loop = Loop(
        step=step or train_step(loss, optimizer, skip_nonfinite=True),
        state=state,
        source=source,
        books=books,
        key=key,
        validate=_validation(loss, state, validation),
        every={"log": log_every, "validate": validate_every},
        logs=logs,
        units=dict(units or {}),
        checkpoints=checkpoints,
        early_stopping=early_stopping,
        skip_nonfinite=positive("skip_nonfinite", skip_nonfinite),
        loss=loss if debug else None,
        trace=trace,
    )
    bar = _bar(progress, steps, epochs, data, books.step)
    reason = loop.run(steps, epochs, bar, Termination(checkpoints is not None))
    return Fitted(loop.state, books.history, loop.best(), reason)


def _check(given: Mapping[str, Any]) -> None:
    """Raises for arguments that do not fit each other."""
    check_key(given["key"])
    if (given["steps"] is None) == (given["epochs"] is None):
        raise ValueError(
            f"steps, epochs: expected one of them, got steps={given['steps']!r} and "
            f"epochs={given['epochs']!r}."
        )
    for name in ("steps", "epochs", "validate_every", "log_every"):
        if given[name] is not None:
            positive(name, given[name])
    if not isinstance(given["state"], TrainState):
        raise TypeError(
            f"state: expected a TrainState, got {type(given['state']).__name__}. Make "
            f"one by init_state(params, optimizer)."
        )
    if given["validation_split"]:
        if given["batch_size"] is None:
            raise ValueError(
                "validation_split: expected arrays as data and a batch_size, got no "
                "batch_size. Give the batches to validate on as validation."
            )
        if given["validation"] is not None:
            raise ValueError(
                "validation, validation_split: expected one of them, got both."
            )
    if given["resume"] not in (True, False, "auto"):
        raise ValueError(
            f"resume: expected True, False or 'auto', got {given['resume']!r}."
        )
    if given["resume"] is True and given["checkpoints"] is None:
        raise ValueError("resume: expected checkpoints to resume from, got None.")
    if given["validate_every"] is not None and given["validation"] is None:
        if not given["validation_split"]:
            raise ValueError("validate_every: expected a validation as well, got None.")


def _validation(loss: Loss, state: TrainState, validation: Any) -> Any:
    """The function ``params -> metrics``, or None."""
    if validation is None or callable(validation):
        return validation
    if state.carry is not None:
        raise ValueError(
            "validation: expected a function params -> metrics, since the state has a "
            "carry, got batches. Make one by evaluator(loss, batches, "
            "rnn.initial_carry(params, (B,)))."
        )
    return evaluator(loss, validation)


def _bar(progress: Any, steps, epochs, data: Any, done: int) -> ProgressBar | None:
    """The bar, its length in steps where that can be known."""
    if progress is False or jax.process_index() != 0:
        return None
    if steps is None:
        length = length_of_epoch(data)
        steps = None if length is None else epochs * length
    return ProgressBar(steps, done, None if progress is True else progress)


def predict(
    forward: Callable[[Any, PyTree], PyTree],
    params: Any,
    xs: PyTree,
    *,
    batch_size: int,
) -> PyTree:
    """Runs a network over examples, batch by batch.

    Args:
      forward: ``(params, batch) -> outputs``, examples first in both; it is compiled.
      params: the parameters.
      xs: a tree with leaves ``[N, ...]``.
      batch_size: the last batch is filled up, so that there is one shape.

    Returns:
      NumPy arrays ``[N, ...]`` in the structure of the outputs.

    Raises:
      ValueError: leaves that differ in ``N``, no examples, ``batch_size`` not positive.

    Example:
      >>> import numpy as np, rnnjax.training as training
      >>> double = lambda params, xs: params * xs
      >>> training.predict(double, 2.0, np.arange(5.0), batch_size=2).tolist()
      [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    run = jax.jit(forward)
    outputs = []
    for batch in array_batches(xs, batch_size)(0):
        count = len(jax.tree.leaves(batch)[0])

        def filled(leaf, missing=batch_size - count):
            rows = [(0, missing)] + [(0, 0)] * (leaf.ndim - 1)
            return np.pad(leaf, rows, mode="edge") if missing else leaf

        of_batch = jax.device_get(run(params, jax.tree.map(filled, batch)))
        outputs.append(jax.tree.map(lambda y, count=count: y[:count], of_batch))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *outputs)
