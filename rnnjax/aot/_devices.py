"""What makers publish of their devices, and how a target is named."""

from __future__ import annotations

import re
from typing import NamedTuple


class Peaks(NamedTuple):
    """What the maker publishes of one device, without sparsity.

    Attributes:
      flops: FLOP/s of a float32 product at JAX's default precision: TF32 on NVIDIA
        devices that have it, bfloat16 on TPUs.
      bandwidth: bytes/s of its memory.
      memory: bytes of its memory.
      clock: Hz; of a TPU that of its matrix units, at which the compiler's cycles are
        counted. None where no published figure gives it.
    """

    flops: float
    bandwidth: float
    memory: float
    clock: float | None = None


# By device_kind. The clocks of the TPUs are those that the peak gives for their number
# of matrix units, 128 x 128 (v6e: 256 x 256), of two operations a cycle and cell.
PEAKS = {
    "NVIDIA A100-SXM4-40GB": Peaks(156e12, 1.555e12, 40e9),
    "NVIDIA A100-SXM4-80GB": Peaks(156e12, 2.039e12, 80e9),
    "NVIDIA A100-PCIE-40GB": Peaks(156e12, 1.555e12, 40e9),
    "NVIDIA A100 80GB PCIe": Peaks(156e12, 1.935e12, 80e9),
    "NVIDIA A10G": Peaks(35e12, 0.6e12, 24e9),
    "NVIDIA B200": Peaks(1.1e15, 8e12, 180e9),
    "NVIDIA GeForce RTX 3090": Peaks(35.6e12, 0.936e12, 24e9),
    "NVIDIA GeForce RTX 4090": Peaks(82.6e12, 1.008e12, 24e9),
    "NVIDIA H100 80GB HBM3": Peaks(494.7e12, 3.35e12, 80e9, 1.98e9),
    "NVIDIA H100 PCIe": Peaks(378e12, 2.0e12, 80e9),
    "NVIDIA H200": Peaks(494.7e12, 4.8e12, 141e9, 1.98e9),
    "NVIDIA L4": Peaks(60e12, 0.3e12, 24e9),
    "NVIDIA L40S": Peaks(183e12, 0.864e12, 48e9),
    "Tesla T4": Peaks(8.1e12, 0.32e12, 16e9),
    "Tesla V100-SXM2-16GB": Peaks(15.7e12, 0.9e12, 16e9),
    "Tesla V100-SXM2-32GB": Peaks(15.7e12, 0.9e12, 32e9),
    "TPU v4": Peaks(275e12, 1.228e12, 32 * 2**30, 1.05e9),  # 8 matrix units
    "TPU v5 lite": Peaks(197e12, 0.819e12, 16 * 2**30, 1.5e9),  # 4
    "TPU v5": Peaks(459e12, 2.765e12, 95 * 2**30, 1.75e9),  # 8
    "TPU v6 lite": Peaks(918e12, 1.64e12, 32 * 2**30, 1.75e9),  # 4
    "TPU7x": Peaks(2307e12, 7.38e12, 192 * 2**30),
}


class Target(NamedTuple):
    """What to compile for.

    Attributes:
      name: as asked for, such as "v5e:2x2".
      kind: of its devices, as in `PEAKS`.
      platform: JAX's name, "tpu" or "cuda".
      topology: how the devices are joined, in the platform's words.
    """

    name: str
    kind: str
    platform: str
    topology: str


class _Family(NamedTuple):
    kind: str
    topology: str
    """The smallest that the compiler knows; of GPUs, those of one host."""


TPUS = {
    "v4": _Family("TPU v4", "2x2x1"),
    "v5e": _Family("TPU v5 lite", "2x2"),
    "v5p": _Family("TPU v5", "2x2x1"),
    "v6e": _Family("TPU v6 lite", "2x2"),
    "tpu7x": _Family("TPU7x", "2x2x1"),
}
GPUS = {"h100": _Family("NVIDIA H100 80GB HBM3", "8")}


def parse_target(text: str) -> Target:
    """Reads "v5e", "v5p:2x2x1" or "h100:4".

    Raises:
      ValueError: no such target.
    """
    family, _, size = str(text).partition(":")
    if family in TPUS and re.fullmatch(r"(\d+(x\d+){1,2})?", size):
        kind, smallest = TPUS[family]
        return Target(text, kind, "tpu", f"{family}:{size or smallest}")
    if family in GPUS and re.fullmatch(r"[1-9]\d*|", size):
        kind, smallest = GPUS[family]
        return Target(text, kind, "cuda", f"1x1x{size or smallest}")
    raise ValueError(
        f"target: expected one of {', '.join([*TPUS, *GPUS])}, a TPU with a topology "
        f"behind a colon as in 'v5e:2x2' or 'v5p:2x2x1', a GPU with the number of "
        f"devices as in 'h100:8', got {text!r}."
    )


# NVIDIA H100 SXM5 80 GB, for XLA: the figures of NVIDIA's "H100 Tensor Core GPU
# Architecture" (multiprocessors, caches, clock, memory) and, for compute capability
# 9.0, of the technical specifications in the CUDA C++ Programming Guide. The versions
# are those of CUDA and cuDNN that the compiler may count on.
H100 = """
platform_name: "CUDA"
gpu_device_info {
  name: "NVIDIA H100 80GB HBM3"
  device_vendor: "NVIDIA Corporation"
  cuda_compute_capability { major: 9 minor: 0 }
  core_count: 132
  clock_rate_ghz: 1.98
  fpus_per_core: 128
  device_memory_size: 80000000000
  memory_bandwidth: 3350000000000
  l2_cache_size: 52428800
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  thread_dim_limit_x: 1024
  thread_dim_limit_y: 1024
  thread_dim_limit_z: 64
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  driver_version: "12.8.0"
  runtime_version: "12.8.0"
  dnn_version: "9.8.0"
}
dnn_version_info { major: 9 minor: 8 patch: 0 }
runtime_version { major: 12 minor: 8 patch: 0 }
"""
