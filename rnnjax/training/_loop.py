"""The loop of `fit`: steps, and what happens between two of them."""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from rnnjax.base import Array
from rnnjax.training._books import Best, Books, EarlyStopping
from rnnjax.training._checkpoints import CheckpointError, Checkpoints
from rnnjax.training._data import BatchStream
from rnnjax.training._locate import locate_nonfinite
from rnnjax.training._nonfinite import NonFiniteError, describe_nonfinite
from rnnjax.training._progress import ProgressBar
from rnnjax.training._resume import record_of
from rnnjax.training._state import TrainState
from rnnjax.training._step import Loss
from rnnjax.training._termination import Terminated, Termination
from rnnjax.training._trace import Trace

# Steps that may be on their way while the host goes on; their metrics are read later.
AHEAD = 2

_fold_in = jax.jit(jax.random.fold_in)


class Loop:
    """See `fit`, whose arguments these are."""

    def __init__(
        self,
        *,
        step: Callable[..., Any],
        state: TrainState,
        source: BatchStream,
        books: Books,
        key: Array,
        validate: Callable[[Any], Mapping[str, Any]] | None,
        every: dict[str, int | None],
        logs: Sequence[Callable[[dict[str, Any]], Any]],
        units: dict[str, Callable[[Any], int]],
        checkpoints: Checkpoints | None,
        early_stopping: EarlyStopping | None,
        skip_nonfinite: int,
        loss: Loss | None,
        trace: Trace | None,
    ):
        self.state = state
        self.books = books
        self._step = step
        self._source = source
        self._key = key
        self._validate = validate
        self._logs = logs if jax.process_index() == 0 else ()
        self._units = units
        self._checkpoints = checkpoints
        self._every = every | {"save": checkpoints.every if checkpoints else None}
        self._stopping = early_stopping
        self._limit = skip_nonfinite
        self._loss = loss
        self._trace = trace
        self._bad: list[str] = []
        self._queue: collections.deque = collections.deque()
        saved = checkpoints is not None and books.step in checkpoints.steps()
        self._saved = books.step if saved and not books.due else -1
        self._begun = time.perf_counter() - books.seconds
        self._bar: ProgressBar | None = None
        self._mark()

    def run(
        self,
        steps: int | None,
        epochs: int | None,
        bar: ProgressBar | None,
        termination: Termination,
    ) -> str:
        """Trains to the end; returns why it ended."""
        self._bar, self._termination = bar, termination
        for log in self._logs if self._checkpoints is not None else ():
            if hasattr(log, "rewind"):
                log.rewind(self.books.history)  # type: ignore[attr-defined]
        with contextlib.ExitStack() as stack:
            if self._checkpoints is not None:
                stack.callback(self._checkpoints.close)
            if self._trace is not None:
                stack.callback(self._trace.close)
            stack.enter_context(termination)
            if bar is not None:
                stack.enter_context(bar)
            try:
                self._between(self.books.due)
                reason = self._steps(steps, epochs)
                self._between(list(self._every))
                self._wait()
            except Terminated:
                self._wait()
                raise
            except (CheckpointError, NonFiniteError) as error:
                error.state = self.state  # type: ignore[assignment]
                raise
        return reason

    def best(self) -> Best | None:
        """The best value of the metric that was watched."""
        for name in ("checkpoint", "stopping"):
            if name in self.books.best:
                return Best(*self.books.best[name])
        return None

    def _steps(self, steps: int | None, epochs: int | None) -> str:
        while True:
            if self._stopping and self.books.stale >= self._stopping.patience:
                return "early stopping"
            if steps is not None and self.books.step >= steps:
                return "steps"
            if epochs is not None and self._source.epoch >= epochs:
                return "epochs"
            try:
                batch = next(self._source)
            except StopIteration:
                self._between([n for n, every in self._every.items() if every is None])
                continue
            self._train_on(batch)
            self._between(
                [n for n, every in self._every.items() if self._is_time(every)]
            )

    def _is_time(self, every: int | None) -> bool:
        return every is not None and self.books.step % every == 0

    def _train_on(self, batch: Any) -> None:
        """One step; its metrics are looked at a few steps later."""
        books = self.books
        if self._trace is not None:
            self._trace.before_step(self.state)
        key = _fold_in(self._key, books.step)
        self.state, metrics = self._step(self.state, batch, key)
        where = f"batch {self._source.index - 1} of epoch {self._source.epoch}"
        debug = self._loss is not None
        self._queue.append((books.step, where, metrics, (batch, key) if debug else ()))
        books.step += 1
        books.latest = {}
        for name, count in self._units.items():
            books.units[name] = books.units.get(name, 0) + int(count(batch))
        if self._bar is not None:
            self._bar.update(books.step)
        self._settle(0 if debug else AHEAD)

    def _settle(self, ahead: int = 0) -> None:
        """Takes in the metrics of all steps but the last ``ahead`` ones."""
        while len(self._queue) > ahead:
            step, where, metrics, given = self._queue.popleft()
            metrics = dict(jax.device_get(metrics))
            found = metrics.pop("nonfinite", None)
            if not metrics.pop("skipped", False):
                self.books.running.add(metrics)
                self.books.skipped_in_a_row = 0
                self._bad.clear()
                continue
            self.books.skipped += 1
            self.books.skipped_in_a_row += 1
            what = describe_nonfinite(found, self.state.params)
            self._bad.append(f"step {step}, {where}: {what}")
            if given:
                self._raise_located(*given)
            if self.books.skipped_in_a_row >= self._limit:
                self._raise_nonfinite()

    def _raise_nonfinite(self) -> None:
        shown = "\n  ".join(self._bad[-self._limit :])
        raise NonFiniteError(
            f"loss: expected finite values, got NaN or Inf in "
            f"{self.books.skipped_in_a_row} steps in a row, which were skipped:\n  "
            f"{shown}\nThe state is that of the last good step. Look at these batches, "
            f"lower the learning rate or clip the gradient; fit(debug=True) finds the "
            f"operation and the time step."
        )

    def _raise_located(self, batch: Any, key: Array) -> None:
        assert self._loss is not None
        params, _, carry, _ = self.state
        place = locate_nonfinite(self._loss, params, carry, batch, key)
        raise NonFiniteError(
            f"loss: expected finite values, got NaN or Inf at {self._bad[-1]}\n{place}"
        )

    def _between(self, tasks: Sequence[str]) -> None:
        """What is to be done after a step, in its order; each once a step."""
        books = self.books
        books.due = []
        improved = False
        if "log" in tasks and books.recorded != books.step:
            improved = self._record()
        try:
            if self._termination.agreed(books.step):
                raise Terminated
            if "validate" in tasks and books.validated != books.step:
                improved = self._validated() or improved
        except Terminated:
            books.due = [task for task in tasks if task != "log"]
            self._save()
            raise
        if self._checkpoints is not None:
            if improved or ("save" in tasks and self._saved != books.step):
                self._save()

    def _validated(self) -> bool:
        """Validates; returns whether this is the best for checkpoints."""
        if self._validate is None:
            return False
        with self._termination.interruptible():
            values = self._validate(self.state.params)
        self.books.validated = self.books.step
        numbers = {n: getattr(v, "tolist", lambda v=v: v)() for n, v in values.items()}
        self._emit({**self._beginning(), **numbers})
        self._mark()
        return self._watch()

    def _record(self) -> bool:
        """A record of the metrics since the last one; returns as `_watch` does."""
        self._settle()
        books = self.books
        if not books.running.weight and not books.skipped:
            return False
        now = time.perf_counter()
        record = self._beginning()
        for name in self._units:
            done = books.units.get(name, 0) - self._units_then.get(name, 0)
            record[f"{name}_per_second"] = round(done / (now - self._then), 1)
        record |= {n: v.tolist() for n, v in books.running.means().items()}
        if books.skipped:
            record["skipped"] = books.skipped
        trained = bool(books.running.weight)  # else there is no metric to watch
        books.running = type(books.running)()
        books.skipped = 0
        books.recorded = books.step
        self._mark()
        self._emit(record)
        return self._watch() if trained and self._validate is None else False

    def _beginning(self) -> dict[str, Any]:
        """What all records begin with."""
        self.books.seconds = time.perf_counter() - self._begun
        return {
            "step": self.books.step,
            "epoch": self._source.epoch,
            "seconds": round(self.books.seconds, 3),
            **self.books.units,
        }

    def _emit(self, record: dict[str, Any]) -> None:
        """Hands a record on."""
        self.books.history.append(record)
        self.books.latest |= record
        for log in self._logs:
            log(record)
        if self._bar is not None:
            self._bar.show(record)

    def _watch(self) -> bool:
        """Looks at the metrics of this step; whether they ask for a checkpoint."""
        books, stopping, saving = self.books, self._stopping, self._checkpoints
        if stopping is not None:
            better = books.note_best(
                "stopping", stopping.metric, stopping.mode, stopping.min_delta
            )
            books.stale = 0 if better else books.stale + 1
        if saving is None or saving.best is None:
            return False
        return books.note_best("checkpoint", saving.best, saving.mode)

    def _save(self) -> None:
        """A checkpoint of this step."""
        self._settle()
        assert self._checkpoints is not None
        self.books.seconds = time.perf_counter() - self._begun
        record = record_of(self.books, self._source, self._key)
        self._checkpoints.save(self.state, record, step=self.books.step)
        self._saved = self.books.step
        self._mark()

    def _wait(self) -> None:
        if self._checkpoints is not None:
            self._checkpoints.wait()

    def _mark(self) -> None:
        """Throughput is counted from here on."""
        self._then = time.perf_counter()
        self._units_then = dict(self.books.units)
