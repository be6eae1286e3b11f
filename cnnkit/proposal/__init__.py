"""A config for images that a user brings: what they are, what fits them, and why."""
