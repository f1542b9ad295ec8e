"""Ahead of time: what a program needs on a device not there, and what bounds it.

Nothing here runs a program. `compile_for` has the device's own compiler make it, and
reads what that says: memory, collectives, kernels, estimated cycles.
"""

from rnnjax.aot._compile import Compiled, compile_for
from rnnjax.aot._costs import Collective, CustomCall, Part
from rnnjax.aot._devices import PEAKS, Peaks
from rnnjax.aot._report import Memory, Report

__all__ = [
    "PEAKS",
    "Collective",
    "Compiled",
    "CustomCall",
    "Memory",
    "Part",
    "Peaks",
    "Report",
    "compile_for",
]
