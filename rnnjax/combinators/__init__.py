"""From cells to layers, and from layers to networks."""

from rnnjax.combinators._batch_major import batch_major
from rnnjax.combinators._bidirectional import bidirectional
from rnnjax.combinators._hierarchical import HierarchicalCarry, hierarchical
from rnnjax.combinators._layer import layer
from rnnjax.combinators._readouts import last_step, max_pool, mean_pool
from rnnjax.combinators._residual import residual
from rnnjax.combinators._stack import stack
from rnnjax.combinators._stateless import attend, dense, dropout, embed, norm
from rnnjax.combinators._truncate import truncate
from rnnjax.combinators._variational_dropout import variational_dropout
from rnnjax.combinators._with_carries import with_carries
from rnnjax.combinators._zoneout import zoneout

__all__ = [
    "HierarchicalCarry",
    "attend",
    "batch_major",
    "bidirectional",
    "dense",
    "dropout",
    "embed",
    "hierarchical",
    "last_step",
    "layer",
    "max_pool",
    "mean_pool",
    "norm",
    "residual",
    "stack",
    "truncate",
    "variational_dropout",
    "with_carries",
    "zoneout",
]
