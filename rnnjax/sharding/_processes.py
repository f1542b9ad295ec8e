"""Many processes: JAX's own multi-controller runtime, started with a clear error."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rnnjax._compat import sync_global_devices


class Processes(NamedTuple):
    """Where this process stands.

    Attributes:
      process_id: its number, from 0.
      num_processes: how many there are.
    """

    process_id: int
    num_processes: int


def initialize(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    **options: Any,
) -> Processes:
    """Connects this process with its peers, by `jax.distributed.initialize`.

    Call it first, before anything computes. JAX finds the peers by itself under SLURM,
    Open MPI, on Cloud TPU and on Kubernetes, and reads ``JAX_COORDINATOR_ADDRESS``;
    ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID`` are read here. The processes then meet
    once. Called again, it says where the process stands.

    Args:
      coordinator: ``host:port`` of process 0; None where JAX finds it.
      num_processes: how many there are.
      process_id: the number of this one.
      **options: others of `jax.distributed.initialize`, such as
        ``heartbeat_timeout_seconds``: after how long a silent process counts as dead.

    Returns:
      `Processes`.

    Raises:
      RuntimeError: JAX computes already, or finds no peers; the message says what to
        set.

    Example: one process alone needs no call.
      >>> import jax
      >>> from rnnjax import sharding
      >>> sharding.Processes(jax.process_index(), jax.process_count())
      Processes(process_id=0, num_processes=1)
    """
    if not jax.distributed.is_initialized():
        num_processes = _given(num_processes, "JAX_NUM_PROCESSES")
        process_id = _given(process_id, "JAX_PROCESS_ID")
        try:
            jax.distributed.initialize(
                coordinator, num_processes, process_id, **options
            )
        except (ValueError, RuntimeError) as error:
            raise RuntimeError(
                f"initialize: expected to find the other processes, but JAX says: "
                f"{error} Call it before anything computes. Where JAX does not know "
                f"the cluster, set JAX_COORDINATOR_ADDRESS=host:port of process 0, "
                f"JAX_NUM_PROCESSES and JAX_PROCESS_ID for every process."
            ) from error
        if jax.process_count() > 1:
            # On CPU, devices that meet for the first time are given 30 s to do so: here
            # the processes are not yet as far apart as after they compiled.
            sync_global_devices()
            barrier()
    return Processes(jax.process_index(), jax.process_count())


def barrier() -> None:
    """Waits until every process has come here.

    Such as after one of them made a folder that the others will look into.

    Example: one process waits for nobody.
      >>> from rnnjax import sharding
      >>> sharding.barrier()
    """
    count = jax.device_count()
    mesh = jax.make_mesh((count,), ("all",), (AxisType.Auto,))
    ones = jax.make_array_from_callback(
        (count,),
        NamedSharding(mesh, PartitionSpec("all")),
        lambda index: np.ones(count, np.int32)[index],
    )
    jax.block_until_ready(jax.jit(jnp.sum)(ones))


def _given(value: int | None, variable: str) -> int | None:
    """An argument, or the environment variable in its place."""
    if value is not None or variable not in os.environ:
        return value
    text = os.environ[variable]
    if not text.isdecimal():
        raise RuntimeError(f"{variable}: expected a number from 0 on, got {text!r}.")
    return int(text)
