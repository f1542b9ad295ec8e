"""The examples of the pages beside their originals in Keras, weights copied."""

import doctest
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnjax import losses, training
from tests.interop.problems import peer

pytestmark = pytest.mark.interop
keras = peer("keras")
if keras.backend.backend() != "jax":
    pytest.skip("keras runs on another backend than JAX", allow_module_level=True)
DOCS = Path(__file__).parents[2] / "docs"


def example(page, kind):
    """The code of an example of a page, and its number of lines of code."""
    pattern = rf"<!-- keras {kind} -->\n```\{{doctest\}}\n(.*?)```"
    (block,) = re.findall(pattern, (DOCS / page).read_text(), re.DOTALL)
    parts = doctest.DocTestParser().get_examples(block)
    source = "".join(part.source for part in parts)
    return source, len(source.splitlines())


def run(*sources):
    """What the code defines, of 2 epochs in the order of the data."""
    names = {}
    for source in sources:
        source = source.replace("epochs=50", "epochs=2, shuffle=False")
        exec(source.replace('"adam", 1e-3', '"adam", 1e-3, eps=1e-7'), names)
    return names


def keras_model(outputs, loss, metric):
    model = keras.Sequential(
        [
            keras.layers.LSTM(64),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(outputs),
        ]
    )
    model.build((None, 10, 1))
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=[metric])
    return model


def weights(params):
    """Those of the functional example, in the order of Keras."""
    inputs, recurrent = params["lstm"]["input"], params["lstm"]["recurrent"]
    dense = [params["head"][i][name] for i in "01" for name in ("kernel", "bias")]
    lstm = [inputs["kernel"], recurrent["kernel"], inputs["bias"]]
    return copies([*lstm, *dense])


def copies(arrays):
    """Keras gives the memory of its weights away when it trains."""
    return [np.array(array, copy=True) for array in arrays]


def compare(model, names, targets, params, metric, our_metric, loss):
    """Outputs, then two epochs of both, step for step in the same order.

    Keras adds Adam's epsilon before it corrects the means for their start at 0, so that
    the two drift apart a little.
    """
    x, forward = names["x"], names["forward"]
    ours = training.predict(forward, params, x, batch_size=32)
    np.testing.assert_allclose(ours, model.predict(x, verbose=0), atol=1e-5)

    history = model.fit(
        x, targets, 32, epochs=2, validation_split=0.2, shuffle=False, verbose=0
    ).history
    optimizer = training.optimizer("adam", 1e-3, eps=1e-7)
    fitted = training.fit(
        loss,
        optimizer,
        training.init_state(params, optimizer),
        (x, targets),
        key=jax.random.key(0),
        epochs=2,
        batch_size=32,
        shuffle=False,
        validation_split=0.2,
    )
    for name, our_name in (("loss", "loss"), (metric, our_metric)):
        for prefix in ("", "val_"):
            key = prefix + our_name
            values = [record[key] for record in fitted.history if key in record]
            np.testing.assert_allclose(values, history[prefix + name], rtol=2e-3)
    after = training.predict(forward, fitted.state.params, x, batch_size=32)
    np.testing.assert_allclose(after, model.predict(x, verbose=0), atol=3e-3)


def test_regression():
    source, lines = example("training.md", "regression")
    assert lines < 25
    names = run(source)
    params, metrics = names["params"], names["metrics"]
    model = keras_model(1, "mse", "mae")
    model.set_weights(weights(params))
    loss = training.supervised_loss(
        names["forward"], losses.mean_squared_error, metrics
    )
    compare(model, names, names["y"], params, "mae", "mae", loss)


def test_classification():
    first, _ = example("training.md", "regression")
    source, lines = example("training.md", "classification")
    assert lines < 25
    names = run(first, source)
    model = keras_model(
        2,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "sparse_categorical_accuracy",
    )
    model.set_weights(weights(names["params"]))
    loss = training.supervised_loss(
        names["forward"],
        losses.softmax_cross_entropy,
        {"accuracy": names["accuracy"]},
    )
    name = "sparse_categorical_accuracy"
    params, labels = names["params"], names["labels"]
    compare(model, names, labels, params, name, "accuracy", loss)


def test_regression_by_flax():
    source, lines = example("flax.md", "regression")
    assert lines < 25
    names = run(source)
    net = names["Net"](nnx.Rngs(1))
    _, params = nnx.split(net, nnx.Param)
    value = lambda variable: variable.get_value()  # noqa: E731
    tree = net.lstm.params
    lstm = [tree["input"]["kernel"], tree["recurrent"]["kernel"], tree["input"]["bias"]]
    dense = [net.hidden.kernel, net.hidden.bias, net.out.kernel, net.out.bias]
    model = keras_model(1, "mse", "mae")
    model.set_weights(copies(map(value, [*lstm, *dense])))
    x = jnp.asarray(names["x"])
    ours = names["forward"](params, x)
    np.testing.assert_allclose(ours, model.predict(names["x"], verbose=0), atol=1e-5)
