"""Run directories: their names, reads and writes; a run measured and used."""
