"""The largest of some numbers, such as the likeliest classes."""

from __future__ import annotations

from typing import Any

import numpy as np


def ranked(values: Any, count: int | None = None) -> list[int]:
    """The indices of the largest values, the largest first; of equal ones, the earlier first.

    Args:
        values: [n].
        count: How many at most; None for all.
    """
    indices: list[int] = np.argsort(-values, kind="stable")[:count].tolist()
    return indices
