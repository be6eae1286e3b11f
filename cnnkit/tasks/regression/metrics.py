"""How far numbers are from the true ones, by scikit-learn's measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.runs.heads import finite_rows


def numbers_of(outputs: Any) -> NDArray[np.float64]:
    """The numbers that a network outputs, float64 [images, numbers].

    Raises:
        CnnkitError: if they are not finite, or not one row per image.
    """
    return finite_rows(outputs, "row of numbers", "numbers")


def regression_metrics(predicted: NDArray[Any], truth: NDArray[Any], names: Sequence[str]) -> dict[str, Any]:
    """All measures of a split.

    Args:
        predicted, truth: [images, numbers], in the numbers' own units.
        names: Of the numbers.

    Returns:
        `images`; `mae` and `rmse` over all numbers; `r2`: the mean of the numbers' coefficients of determination;
        `per_target`: a row for each, with the `mean` and `std` of the true ones. `r2` is None where the true numbers
        are all alike, or there is only one image.
    """
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    truth = np.asarray(truth, np.float64)
    rows: list[dict[str, Any]] = []
    for name, guess, true in zip(names, np.asarray(predicted, np.float64).T, truth.T, strict=True):
        rows.append(
            {
                "target": str(name),
                "mae": float(mean_absolute_error(true, guess)),
                "rmse": float(root_mean_squared_error(true, guess)),
                "r2": float(r2_score(true, guess)) if np.ptp(true) > 0 else None,
                "mean": float(true.mean()),
                "std": float(true.std()),
            }
        )
    known = [row["r2"] for row in rows if row["r2"] is not None]
    return {
        "images": len(truth),
        "mae": float(mean_absolute_error(truth, predicted)),
        "rmse": float(root_mean_squared_error(truth.ravel(), np.ravel(predicted))),
        "r2": float(np.mean(known)) if known else None,
        "per_target": rows,
    }
