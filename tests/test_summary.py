import jax
import jax.numpy as jnp
import pytest

import rnnjax


def test_nested_layers_shapes_and_parameters():
    rnn = rnnjax.stack(
        rnnjax.embed(5, 4),
        rnnjax.residual(rnnjax.bidirectional(rnnjax.gru(4), merge="sum")),
        rnnjax.layer(rnnjax.zoneout(rnnjax.cells.simple(3), 0.1)),
        rnnjax.truncate(rnnjax.dense(2), 2),
    )
    table = rnnjax.summary(rnn, jax.ShapeDtypeStruct((7,), jnp.int32))
    *lines, total = table.splitlines()
    rows = [line.rsplit(maxsplit=2) for line in lines]
    embed, gru, simple, dense = 20, 108, 24, 8
    assert rows == [
        ["layer", "output", "parameters"],
        ["-" * 17, "-" * 12, "-" * 10],
        ["stack", "float32[7,2]", f"{embed + 2 * gru + simple + dense}"],
        ["  embed", "float32[7,4]", f"{embed}"],
        ["  residual", "float32[7,4]", f"{2 * gru}"],
        ["    bidirectional", "float32[7,4]", f"{2 * gru}"],
        ["      gru", "float32[7,4]", f"{gru}"],
        ["      gru", "float32[7,4]", f"{gru}"],
        ["  zoneout", "float32[7,3]", f"{simple}"],
        ["  truncate", "float32[7,2]", f"{dense}"],
        ["    dense", "float32[7,2]", f"{dense}"],
        ["-" * 17, "-" * 12, "-" * 10],
    ]
    assert total.split() == ["total", "1.05", "KiB", "268"]


def test_outputs_without_a_batch_pairs_and_no_parameters():
    rnn = rnnjax.bidirectional(rnnjax.dropout(0.5), merge="none")
    table = rnnjax.summary(rnn, jnp.ones(3))
    assert "float32[3], float32[3]           0" in table
    assert table.endswith("0 B                              0")


def test_a_layer_of_ones_own_need_not_say():
    own = rnnjax.gru(2)._replace(explain=lambda params, xs: rnnjax.Explanation("own"))
    table = rnnjax.summary(rnnjax.stack(own), jnp.ones(3))
    assert [line.split() for line in table.splitlines()][3] == ["own"]


def test_needs_a_layer():
    with pytest.raises(TypeError, match="expected a layer.*got Cell"):
        rnnjax.summary(rnnjax.cells.gru(2), jnp.ones(3))
