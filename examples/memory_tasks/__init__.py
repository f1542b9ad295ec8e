"""How long a cell remembers, what it counts: ``python -m examples.memory_tasks``."""
