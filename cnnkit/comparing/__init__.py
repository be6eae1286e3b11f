"""Two networks, two runs, or runs that differ in the seed: what differs, and by how much."""
