"""The metrics of labels as a terminal shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnkit.config.sample import IMAGES, Sample
from cnnkit.terminal.tables import aligned, lowest, shortened

#: With more labels, only those with the lowest average precision are listed.
_MOST_LABELS = 30
_WORST_LABELS = 10


def summary(metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
    """The metrics that matter most, for the end of a run."""
    return (
        f"mean average precision {metrics['mean_average_precision']:.2%}  micro F1 {metrics['micro_f1']:.2%}  "
        f"loss {metrics['loss']:.4f}  ({metrics['images']:,} {sample.plural})"
    )


def evaluation_table(metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
    """Summary and labels, in at most 100 columns."""
    exact = round(metrics["exact_match"] * metrics["images"])
    rows = [
        [sample.plural, f"{metrics['images']:,}"],
        ["mean average precision", f"{metrics['mean_average_precision']:.2%}"],
        ["micro F1", f"{metrics['micro_f1']:.2%}"],
        ["macro F1", f"{metrics['macro_f1']:.2%}"],
        [
            "all labels right",
            f"{metrics['exact_match']:.2%} ({exact:,} {sample.singular if exact == 1 else sample.plural})",
        ],
        ["label accuracy", f"{metrics['label_accuracy']:.2%}"],
    ]
    if "loss" in metrics:
        rows.append(["loss", f"{metrics['loss']:.4f}"])
    rows += [[name, f"{value:.4f}"] for name, value in metrics.get("metrics", {}).items()]
    parts = [aligned(rows, "<<"), _labels(metrics["per_label"], sample)]
    if metrics["absent_labels"]:
        parts.append(f"no {sample.singular} has, and no mean counts: {', '.join(metrics['absent_labels'])}")
    return "\n\n".join(parts)


def _labels(per_label: Sequence[dict[str, Any]], sample: Sample) -> str:
    header = ["label", "average precision", "precision", "recall", "F1", "threshold", sample.plural]
    shown, title = list(per_label), ""
    if len(per_label) > _MOST_LABELS:
        known = [row for row in per_label if row.get("average_precision") is not None]
        shown = sorted(known, key=lambda row: row["average_precision"])[:_WORST_LABELS]
        title = f"The {len(shown)} of {len(per_label):,} labels with the lowest average precision:\n"
    rows = [
        [
            shortened(row["label"], 30),
            "-" if row.get("average_precision") is None else f"{row['average_precision']:.2%}",
            f"{row['precision']:.2%}",
            f"{row['recall']:.2%}",
            f"{row['f1']:.2%}",
            f"{row['threshold']:.3g}",
            f"{row['support']:,}",
        ]
        for row in shown
    ]
    return title + aligned([header, *rows], "<>>>>>>")


def limits(metrics: dict[str, Any], sample: Sample = IMAGES) -> list[str]:
    """The labels with the lowest average precision, and those that no test image has."""
    seen = [row for row in metrics["per_label"] if row.get("average_precision") is not None]
    weakest = lowest(
        seen, "average_precision", lambda row, value: f"{row['label']} {value} ({row['support']:,} {sample.plural})"
    )
    absent = ", ".join(metrics["absent_labels"])
    return [
        f"The labels with the lowest average precision: {weakest}.",
        *(
            [f"No test {sample.singular} has the labels {absent}: nobody knows how well it finds them."]
            if absent
            else []
        ),
    ]
