"""The parts of `scripts/benchmark.py`: contestants in processes of their own, what they compute, and the tables."""
