"""A network before it is trained: its table, its memory, advice on it."""
