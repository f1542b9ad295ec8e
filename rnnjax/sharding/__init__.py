"""Many devices: meshes, placement, and layers split by unit, by time and by layer.

Data parallel needs no layer of its own: `replicate` the parameters, `shard_batch` the
batches, and ``jax.jit`` does the rest. `tensor_parallel`, `sequence_parallel` and
`pipeline` are RNNs whose loops communicate by themselves, exactly as often as their
pages say. All of it works in one process and in many (`initialize`).
"""

from rnnjax.sharding._mesh import mesh
from rnnjax.sharding._pipeline import pipeline, stack_layers, unstack_layers
from rnnjax.sharding._placement import (
    Rule,
    process_rows,
    replicate,
    shard,
    shard_batch,
    shard_state,
    shardings,
)
from rnnjax.sharding._processes import Processes, barrier, initialize
from rnnjax.sharding._sequence_parallel import linear_scan, sequence_parallel
from rnnjax.sharding._tensor_parallel import tensor_parallel
from rnnjax.sharding._units import merge_gates, split_gates, units

__all__ = [
    "Processes",
    "Rule",
    "barrier",
    "initialize",
    "linear_scan",
    "merge_gates",
    "mesh",
    "pipeline",
    "process_rows",
    "replicate",
    "sequence_parallel",
    "shard",
    "shard_batch",
    "shard_state",
    "shardings",
    "split_gates",
    "stack_layers",
    "tensor_parallel",
    "units",
    "unstack_layers",
]
