"""The metrics of a detection as a terminal shows them."""

from __future__ import annotations

from typing import Any

from cnnkit.terminal.tables import aligned, lowest


def summary(metrics: dict[str, Any]) -> str:
    """The metrics that matter most, for the end of a run."""
    return (
        f"mAP@0.5:0.95 {metrics['map']:.2%}  mAP@0.5 {metrics['map_50']:.2%}  loss {metrics['loss']:.4f}  "
        f"({metrics['objects']:,} objects in {metrics['images']:,} images)"
    )


def evaluation_table(metrics: dict[str, Any]) -> str:
    """Summary and classes, in at most 100 columns."""
    rows = [
        ["images", f"{metrics['images']:,}"],
        ["objects", f"{metrics['objects']:,}"],
        ["mAP@0.5:0.95", f"{metrics['map']:.2%}"],
        ["mAP@0.5", f"{metrics['map_50']:.2%}"],
        ["mAP@0.75", f"{metrics['map_75']:.2%}"],
        ["loss", f"{metrics['loss']:.4f}"],
    ]
    said = (
        f"of boxes with a score of at least {metrics['threshold']:g}: precision {metrics['precision']:.2%}, "
        f"recall {metrics['recall']:.2%}, F1 {metrics['f1']:.2%}"
    )
    header = ["class", "AP@0.5:0.95", "AP@0.5", "AP@0.75", "objects"]
    classes = [
        [
            row["class"],
            *("-" if row.get(name) is None else f"{row[name]:.2%}" for name in ("ap", "ap_50", "ap_75")),
            f"{row['objects']:,}",
        ]
        for row in metrics["per_class"]
    ]
    return "\n\n".join([aligned(rows, "<<"), said, aligned([header, *classes], "<>>>>"), *notes(metrics)])


def notes(metrics: dict[str, Any]) -> list[str]:
    """What a reader should not miss."""
    absent = [row["class"] for row in metrics["per_class"] if not row["objects"]]
    lines = [f"no object of these, which are in no mean: {', '.join(absent)}"] if absent else []
    if metrics["collisions"]:
        lines.append(
            f"{metrics['collisions']:,} objects share a place of the network's map with another of their class, and "
            "cannot be found beside it"
        )
    return lines


def limits(metrics: dict[str, Any]) -> list[str]:
    """The classes with the lowest average precision, and those that no test image shows."""
    seen = [row for row in metrics["per_class"] if row.get("ap") is not None]
    weakest = lowest(seen, "ap", lambda row, value: f"{row['class']} {value} ({row['objects']:,} objects)")
    absent = ", ".join(row["class"] for row in metrics["per_class"] if not row["objects"])
    return [
        f"The classes with the lowest average precision: {weakest}.",
        f"Of the objects, it misses {1 - metrics['recall']:.1%}, and {1 - metrics['precision']:.1%} of its boxes hold "
        "none.",
        *([f"The test images show no {absent}: nobody knows how well it finds them."] if absent else []),
    ]
