"""The metrics of a segmentation as a terminal shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnkit.terminal.tables import aligned, lowest


def summary(metrics: dict[str, Any]) -> str:
    """The metrics that matter most, for the end of a run."""
    return (
        f"mean IoU {metrics['mean_iou']:.2%}  pixel accuracy {metrics['pixel_accuracy']:.2%}  "
        f"loss {metrics['loss']:.4f}  ({metrics['images']:,} images)"
    )


def evaluation_table(metrics: dict[str, Any]) -> str:
    """Summary and classes, in at most 100 columns."""
    rows = [
        ["images", f"{metrics['images']:,}"],
        ["mean IoU", f"{metrics['mean_iou']:.2%}"],
        ["pixel accuracy", f"{metrics['pixel_accuracy']:.2%}"],
        ["class accuracy", f"{metrics['class_accuracy']:.2%}"],
        ["mean Dice", f"{metrics['mean_dice']:.2%}"],
    ]
    if "loss" in metrics:
        rows.append(["loss", f"{metrics['loss']:.4f}"])
    parts = [aligned(rows, "<<"), _classes(metrics["per_class"])]
    parts += notes(metrics)
    return "\n\n".join(parts)


def _classes(per_class: Sequence[dict[str, Any]]) -> str:
    header = ["class", "IoU", "Dice", "precision", "recall", "pixels"]
    rows = [
        [
            row["class"],
            *("-" if row.get(name) is None else f"{row[name]:.2%}" for name in ("iou", "dice", "precision", "recall")),
            f"{row['share']:.2%}",
        ]
        for row in per_class
    ]
    return aligned([header, *rows], "<>>>>>")


def notes(metrics: dict[str, Any]) -> list[str]:
    """What a reader should not miss beside a high pixel accuracy."""
    lines = []
    absent = metrics["absent_classes"]
    if absent:
        lines.append(f"in neither truth nor prediction, and in no mean: {', '.join(absent)}")
    missed = [row["class"] for row in metrics["per_class"] if row["share"] > 0 and not row.get("iou")]
    if missed:
        lines.append(f"no pixel is right of: {', '.join(missed)}")
    return lines


def limits(metrics: dict[str, Any]) -> list[str]:
    """The classes with the lowest IoU, and those that no test image shows."""
    seen = [row for row in metrics["per_class"] if row.get("iou") is not None]
    weakest = lowest(seen, "iou", lambda row, value: f"{row['class']} {value} ({row['share']:.1%} of the pixels)")
    absent = ", ".join(metrics["absent_classes"])
    return [
        f"The classes with the lowest IoU: {weakest}.",
        *([f"The test images show no {absent}: nobody knows how well it finds them."] if absent else []),
    ]
