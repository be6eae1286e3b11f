"""The metrics of numbers as a terminal shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnkit.config.sample import IMAGES, Sample
from cnnkit.terminal.tables import aligned, shortened


def summary(metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
    """The metrics that matter most, for the end of a run."""
    return (
        f"mean absolute error {metrics['mae']:.5g}  R2 {_r2(metrics)}  loss {metrics['loss']:.4f}  "
        f"({metrics['images']:,} {sample.plural})"
    )


def evaluation_table(metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
    """Summary and, of several numbers, each; in at most 100 columns."""
    rows = [
        [sample.plural, f"{metrics['images']:,}"],
        ["mean absolute error", f"{metrics['mae']:.5g}"],
        ["root mean squared error", f"{metrics['rmse']:.5g}"],
        ["R2", _r2(metrics)],
    ]
    if "loss" in metrics:
        rows.append(["loss", f"{metrics['loss']:.4f} (of standardised numbers)"])
    rows += [[name, f"{value:.5g}"] for name, value in metrics.get("metrics", {}).items()]
    return "\n\n".join([aligned(rows, "<<"), _targets(metrics["per_target"])])


def _r2(metrics: dict[str, Any]) -> str:
    return "-" if metrics.get("r2") is None else f"{metrics['r2']:.4f}"


def _targets(per_target: Sequence[dict[str, Any]]) -> str:
    header = ["target", "mean absolute error", "root mean squared", "R2", "true mean", "true deviation"]
    rows = [
        [
            shortened(row["target"], 24),
            f"{row['mae']:.5g}",
            f"{row['rmse']:.5g}",
            _r2(row),
            f"{row['mean']:.5g}",
            f"{row['std']:.5g}",
        ]
        for row in per_target
    ]
    return aligned([header, *rows], "<>>>>>")


def limits(metrics: dict[str, Any], sample: Sample = IMAGES) -> list[str]:
    """How large the errors are beside the spread of the true numbers."""
    return [
        f"{row['target']}: the mean absolute error is {row['mae']:.4g}, where the true numbers of the test "
        f"{sample.plural} have the mean {row['mean']:.4g} and the standard deviation {row['std']:.4g}; of numbers far "
        "from these, nobody knows."
        for row in metrics["per_target"]
    ]
