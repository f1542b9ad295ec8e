"""PyTorch: `nn.RNN`, `nn.LSTM`, `nn.GRU` and their cells, on all cores or on CUDA."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from .. import _machine
from .._tasks import STREAMED_STEPS, Absent, Task, in_our_layout
from ._layouts import update_gate_keeps

torch.set_num_threads(_machine.cores())
torch.set_float32_matmul_precision("high")  # TF32 where there is one, as JAX does


def _arrays(params, arrange=lambda a: a):
    """``w_ih, w_hh, b_ih, b_hh``; where ours has one bias, the second is zero."""
    names = ("kernel", "bias")
    given = [(params[part], name) for name in names for part in ("input", "recurrent")]
    zeros = jnp.zeros_like(params["input"]["bias"])
    return [arrange(part.get(name, zeros)).T for part, name in given]


def _gru(params):
    return _arrays(params, lambda a: update_gate_keeps(a, "rzn"))


CELLS = {
    "simple": ("RNN", _arrays),
    "lstm": ("LSTM", _arrays),
    "gru_reset_after": ("GRU", _gru),
}


def task(kind: str, cell: str, params: Any, xs: Any) -> Task:
    """One contender, as `peers.task`."""
    if cell not in CELLS:
        raise Absent(f"has no {cell.replace('_', ' ')} cell with these equations")
    device = _device()
    name, to_weights = CELLS[cell]
    sizes = xs.shape[-1], params["recurrent"]["kernel"].shape[0]
    make = getattr(torch.nn, name + ("Cell" if kind == "step" else ""))
    module = make(*sizes, device=device)
    with torch.no_grad():
        for parameter, value in zip(
            module.parameters(), to_weights(params), strict=True
        ):
            parameter.copy_(torch.tensor(np.asarray(value)))
    inputs = torch.tensor(np.asarray(xs), device=device)
    if kind == "step":
        return _step(module, inputs)
    if kind == "forward":
        return _forward(module, inputs)
    to_peer = lambda params, xs: (to_weights(params), xs)  # noqa: E731
    return _value_and_grad(
        module, inputs, lambda g: in_our_layout(to_peer, params, xs, g)
    )


def _device() -> str:
    """The kind of device that JAX runs on."""
    platform = jax.default_backend()
    if platform == "cpu":
        return "cpu"
    if platform != "gpu" or not torch.cuda.is_available():
        raise Absent(f"this torch does not run on the {platform} that JAX runs on")
    return "cuda"


def _finished(result):
    """``result``, once it is computed."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result


def _forward(module, xs) -> Task:
    def run():
        with torch.inference_mode():
            return _finished(module(xs)[0])

    return Task(run, lambda: run().cpu().numpy(), note=_note(module))


def _value_and_grad(module, xs, to_ours) -> Task:
    xs.requires_grad_()
    weights = list(module.parameters())

    def run():
        value = (module(xs)[0] ** 2).mean()
        return _finished((value.detach(), torch.autograd.grad(value, [*weights, xs])))

    def results():
        value, gradients = run()
        *of_weights, of_xs = (jnp.asarray(g.cpu().numpy()) for g in gradients)
        return value.cpu().numpy(), to_ours((of_weights, of_xs))

    return Task(run, results, note=_note(module))


def _step(module, xs) -> Task:
    x_0, state = xs[0], [None]

    def one(state, x):
        with torch.inference_mode():
            return _finished(module(x, state))

    def run():
        state[0] = one(state[0], x_0)

    def results():
        ys, state = [], None
        for x in xs[:STREAMED_STEPS]:
            state = one(state, x)
            ys.append((state[0] if isinstance(state, tuple) else state).cpu().numpy())
        return np.stack(ys)

    return Task(run, results, note=_note(module))


def _note(module) -> str:
    cuda = next(module.parameters()).is_cuda
    where = "CUDA" if cuda else f"threads: {torch.get_num_threads()}"
    return f"nn.{type(module).__name__}, {where}"
