"""One seed, a separate stream for each thing that draws."""

import hashlib


def derive_seed(seed: int, *path: object) -> int:
    """A seed in 0..2^31-1 for one named stream of randomness, a pure function of `seed` and `path`.

    Streams with different paths are independent, so that a draw in one never moves another.
    """
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") & 0x7FFFFFFF
