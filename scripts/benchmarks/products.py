"""Products of two large matrices: the rate that everything else is a share of."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.gate import Gate

#: Rows and columns of the matrices.
SIZE = 2048


def product_flop(count: int) -> int:
    """Floating-point operations of so many products."""
    return 2 * SIZE**3 * count


def _matrices() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    return random.random((SIZE, SIZE), np.float32), random.random((SIZE, SIZE), np.float32)


def numpy_products(gate: Gate, count: int) -> None:
    """With NumPy and the BLAS that it brings, on all cores."""
    left, right = _matrices()
    out = np.empty_like(left)
    while True:
        gate.enter()
        for _ in range(count):
            np.matmul(left, right, out=out)
        gate.leave()


def tensorflow_products(gate: Gate, count: int, precision: str = "float32") -> None:
    """With TensorFlow and oneDNN, as cnnkit sets it up.

    Args:
        precision: The matrices' dtype.
    """
    from cnnkit.machine.tensorflow import load_tensorflow

    tensorflow = load_tensorflow()
    left, right = (tensorflow.cast(matrix, precision) for matrix in _matrices())
    while True:
        gate.enter()
        for _ in range(count):
            tensorflow.linalg.matmul(left, right)
        gate.leave()


def torch_products(gate: Gate, count: int, precision: str) -> None:
    """With PyTorch and oneDNN.

    Args:
        precision: The matrices' dtype.
    """
    import torch

    left, right = (torch.from_numpy(matrix).to(getattr(torch, precision)) for matrix in _matrices())
    while True:
        gate.enter()
        for _ in range(count):
            torch.matmul(left, right)
        gate.leave()
