"""What rnnjax costs beside its peers: ``python -m benchmarks [suite]``."""
