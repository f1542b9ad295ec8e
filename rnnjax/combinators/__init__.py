"""From cells to layers, and from layers to networks."""

from rnnjax.combinators._layer import layer
from rnnjax.combinators._stack import stack
from rnnjax.combinators._stateless import attend, dense, dropout, embed, norm

__all__ = ["attend", "dense", "dropout", "embed", "layer", "norm", "stack"]
