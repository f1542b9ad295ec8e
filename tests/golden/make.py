"""Makes torch.json: outputs and gradients of PyTorch's recurrent layers, float64.

Run ``python tests/golden/make.py`` with the `interop` extra installed. The tests read
the file, so that an oracle that is not ours is there without PyTorch.
"""

import json
import pathlib

import torch

T, B, F, H = 4, 2, 3, 2
FILE = pathlib.Path(__file__).with_name("torch.json")


def record(layer: torch.nn.Module) -> dict:
    """Weights, inputs, outputs and the gradients of ``sum(outputs ** 2)``."""
    xs = torch.randn(T, B, F, dtype=torch.float64, requires_grad=True)
    ys, _ = layer(xs)
    (ys**2).sum().backward()
    weights = dict(layer.named_parameters())
    return {
        "xs": xs.tolist(),
        "weights": {name: w.tolist() for name, w in weights.items()},
        "ys": ys.tolist(),
        "gradients": {name: w.grad.tolist() for name, w in weights.items()},
        "xs_gradient": xs.grad.tolist(),
    }


def main() -> None:
    """Writes the file."""
    torch.manual_seed(0)
    layers = {
        "simple": torch.nn.RNN(F, H),
        "lstm": torch.nn.LSTM(F, H),
        "gru": torch.nn.GRU(F, H),
    }
    golden = {name: record(layer.double()) for name, layer in layers.items()}
    golden["torch"] = torch.__version__
    FILE.write_text(json.dumps(golden))


if __name__ == "__main__":
    main()
