"""How much memory decoded images, and batches while they are made, may take."""

from __future__ import annotations

from cnnkit.machine.processor import usable_cores

#: Share of the free memory that decoded images may fill.
MEMORY_SHARE = 1 / 3

#: Bytes that finished batches may wait in.
PREFETCH_BYTES = 256 << 20

#: Bytes that batches may take while they are made in parallel.
PARALLEL_BYTES = 512 << 20


def parallel_calls(batch_bytes: int) -> int:
    """Batches to make at the same time: one per core, fewer where they are large.

    tf.data.AUTOTUNE knows the cores, but not what a batch weighs.
    """
    return max(1, min(usable_cores(), PARALLEL_BYTES // max(1, batch_bytes)))


def batches_ahead(batch_bytes: int) -> int:
    """Finished batches that may wait: up to 16, fewer where they are large."""
    return max(2, min(16, PREFETCH_BYTES // max(1, batch_bytes)))
