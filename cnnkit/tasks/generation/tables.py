"""The measures of a generation as a terminal shows them."""

from __future__ import annotations

from typing import Any

from cnnkit.tasks.generation.classifier import ACCEPTED, HOW_TO
from cnnkit.tasks.generation.evaluation import dead_classes
from cnnkit.terminal.tables import aligned

#: A classifier that is right less often is not worth measuring with.
_POOR = 0.9


def summary(metrics: dict[str, Any]) -> str:
    """What matters most, in one line for the end of a training."""
    count = f"({metrics['samples']:,} samples)"
    if "frechet" not in metrics:
        return f"spread {metrics['spread']:.2f} of that of real images  {count}"
    return (
        f"Fréchet distance {metrics['frechet']:.3g}, {times_floor(metrics)} its floor  "
        f"accepted {metrics['accepted']:.1%}  {count}"
    )


def times_floor(metrics: dict[str, Any]) -> str:
    """How many times its floor the Fréchet distance is."""
    floor = metrics["floor"]["frechet"]
    return f"{metrics['frechet'] / floor:.1f} times" if floor > 0 else "above"


def evaluation_table(metrics: dict[str, Any]) -> str:
    """All measures, in at most 100 columns."""
    rows = [
        ["made images", f"{metrics['samples']:,}"],
        ["real images", f"{metrics['images']:,}"],
        ["spread", f"{metrics['spread']:.2f} of that of the real images"],
    ]
    parts = [aligned(rows, "<<")]
    if "frechet" in metrics:
        parts += [_measures(metrics), _classes(metrics["per_class"])]
    if "training" in metrics:
        parts.append(training_text(metrics["training"]))
    return "\n\n".join([*parts, *notes(metrics)])


def measure_rows(metrics: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What a classifier has measured: the name, the value of made images, and the same of real ones."""
    floor = metrics["floor"]

    def kernel(values: dict[str, Any]) -> str:
        error = values.get("kernel_error")
        return f"{values['kernel']:.3g}" + ("" if error is None else f" ± {error:.2g}")

    rows = [
        ("Fréchet distance", f"{metrics['frechet']:.4g}", f"{floor['frechet']:.4g}"),
        ("kernel distance", kernel(metrics), kernel(floor)),
        ("density", f"{metrics['density']:.3f}", f"{floor['density']:.3f}"),
        ("coverage", f"{metrics['coverage']:.1%}", f"{floor['coverage']:.1%}"),
        (f"accepted at {ACCEPTED:.0%}", f"{metrics['accepted']:.1%}", f"{metrics['real_accepted']:.1%}"),
    ]
    if metrics.get("obeyed") is not None:
        rows.append(("of the class asked for", f"{metrics['obeyed']:.1%}", f"{metrics['classifier']['accuracy']:.1%}"))
    return rows


def measured_by(metrics: dict[str, Any]) -> str:
    """How it was measured, in whole sentences."""
    classifier = metrics["classifier"]
    place = f"the layer {classifier['layer']} of {classifier['run']}"
    return (
        f"Measured in the {classifier['features']:,} features of {place}, which is right on "
        f"{classifier['accuracy']:.2%} of the real images. Distances, density and coverage are between "
        f"{metrics['compared']:,} images and {metrics['compared']:,} others."
    )


def _measures(metrics: dict[str, Any]) -> str:
    import textwrap

    rows = [["", "made images", "real images"], *map(list, measure_rows(metrics))]
    return aligned(rows, "<>>") + "\n\n" + textwrap.fill(measured_by(metrics), 100, break_long_words=False)


def _classes(rows: list[dict[str, Any]]) -> str:
    def accepted(row: dict[str, Any]) -> str:
        return "-" if row.get("accepted") is None else f"{row['accepted']:.1%}"

    cells = [[row["class"], f"{row['share']:.1%}", f"{row['real_share']:.1%}", accepted(row)] for row in rows]
    return aligned([["class", "of the made", "of the real", "accepted"], *cells], "<>>>")


def training_text(training: dict[str, Any]) -> str:
    """How near made images are to training images, in whole sentences."""
    return (
        f"The training image nearest to a made image is {training['distance']:.1f} away, to a real one "
        f"{training['real_distance']:.1f}\n(medians of {training['samples']:,}; root mean square over pixels of 0 to "
        f"255; of {training['images']:,} training images).\nAs near as the nearest 1 % of the real ones: "
        f"{training['nearer']:.1%} of the made ones."
    )


def notes(metrics: dict[str, Any]) -> list[str]:
    """What a reader should not miss."""
    if "frechet" not in metrics:
        return [f"no classifier measures how like real images they are. {HOW_TO}"]
    dead = dead_classes(metrics["per_class"])
    lines = [f"hardly made: {', '.join(dead)}"] if dead else []
    accuracy = metrics["classifier"]["accuracy"]
    if accuracy < _POOR:
        lines.append(
            f"the classifier is right on only {accuracy:.1%} of the real images; what it says of made ones is worth "
            "as little"
        )
    return lines


def limits(metrics: dict[str, Any]) -> list[str]:
    """Its weak sides, a sentence each."""
    lines = [f"{line[:1].upper()}{line[1:].rstrip('.')}." for line in notes(metrics)]
    if "accepted" in metrics:
        lines.append(f"Of its images, a classifier takes {1 - metrics['accepted']:.1%} for no class with certainty.")
    return lines
