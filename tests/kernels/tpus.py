"""Compiles for TPUs that are not there, where libtpu is installed."""

import os
from importlib.util import find_spec

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

TARGETS = {
    "v4": "v4:2x2x1",
    "v5e": "v5e:2x2",
    "v5p": "v5p:2x2x1",
    "v6e": "v6e:2x2",
    "tpu7x": "tpu7x:2x2x1",
}

needs_libtpu = pytest.mark.skipif(
    find_spec("libtpu") is None,
    reason="libtpu is not installed: pip install 'rnnjax[aot]'",
)


def compile_for(target, f, args, specs, devices=1):
    """The executable of ``f(*args)``; ``specs`` are a prefix of the arguments."""
    for name, value in (
        ("TPU_SKIP_MDS_QUERY", "1"),
        ("TPU_WORKER_HOSTNAMES", "localhost"),
        ("TPU_WORKER_ID", "0"),
        ("TPU_ACCELERATOR_TYPE", "v5litepod-4"),
        ("ALLOW_MULTIPLE_LIBTPU_LOAD", "1"),
    ):
        os.environ.setdefault(name, value)
    from jax.experimental import topologies

    found = topologies.get_topology_desc(TARGETS[target], "tpu").devices
    mesh = Mesh(np.array(found[:devices]), ("data",))

    def place(spec, arg):
        def leaf(a):
            sharding = NamedSharding(mesh, spec)
            return jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding)

        return jax.tree.map(leaf, arg)

    args = jax.tree.map(
        place, specs, args, is_leaf=lambda x: isinstance(x, PartitionSpec)
    )
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        return jax.jit(f).trace(*args).lower(lowering_platforms=("tpu",)).compile()
