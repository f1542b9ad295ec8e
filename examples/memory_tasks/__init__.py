"""How long a cell remembers and what it can count: ``python -m examples.memory_tasks``."""
