"""The digits that scikit-learn brings along: 1,797 images of 8x8 pixels, no download."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np

from cnnkit.data.splits import ArraySource
from cnnkit.data.targets import ClassNumbers
from cnnkit.errors import CnnkitError


@cache
def read_digits() -> ArraySource:
    """The 1,797 digits, uint8 [1797, 8, 8, 1], their 17 levels of grey spread over 0..255.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (UCI), 1998.
    """
    # Finding scikit-learn does not import it, which would cost more than the whole reading.
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise CnnkitError(
            "the `digits` images come with scikit-learn, which is not installed", "pip install scikit-learn"
        )
    file = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if file.is_file():
        table = np.loadtxt(file, delimiter=",")
        pixels, labels = table[:, :-1], table[:, -1]
    else:
        from sklearn.datasets import load_digits

        digits = load_digits()
        pixels, labels = digits.data, digits.target
    images = np.rint(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    return ArraySource(images, ClassNumbers(labels, [str(digit) for digit in range(10)]), "digits")
