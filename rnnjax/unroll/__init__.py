"""The engine: runs a cell over time and chooses how."""

from rnnjax.unroll._blocks import fixed_type, scan_blocks
from rnnjax.unroll._cut import depends
from rnnjax.unroll._linear_scan import linear_scan
from rnnjax.unroll._masking import canonical_flags, select, zero_where_masked
from rnnjax.unroll._newton import NewtonInfo, newton_scan
from rnnjax.unroll._scan import scan
from rnnjax.unroll._unroll import (
    check_step_key,
    explain_cell,
    step_cell,
    unroll_cell,
)

__all__ = [
    "NewtonInfo",
    "canonical_flags",
    "check_step_key",
    "depends",
    "explain_cell",
    "fixed_type",
    "linear_scan",
    "newton_scan",
    "scan",
    "scan_blocks",
    "select",
    "step_cell",
    "unroll_cell",
    "zero_where_masked",
]
