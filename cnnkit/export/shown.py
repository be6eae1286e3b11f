"""What `export` prints of a comparison with Keras."""

from __future__ import annotations

from cnnkit.config.sample import Sample
from cnnkit.export.exporting import Outcome
from cnnkit.export.formats import Format
from cnnkit.export.parity import Parity
from cnnkit.export.speed import table_rows
from cnnkit.terminal.tables import aligned


def as_text(outcome: Outcome, sample: Sample) -> str:
    """The comparison, and the table of sizes and times."""
    format_ = outcome.places.format_
    compared = "" if outcome.parity is None else parity_text(outcome.parity, format_, sample) + "\n\n"
    quantized = "" if outcome.types is None else f"\n\n{outcome.types}"
    return compared + aligned(table_rows(["Keras", format_.title], outcome.speeds, sample), "<>>>>") + quantized


def parity_text(parity: Parity, format_: Format, sample: Sample) -> str:
    """Differences and equal answers for each batch size, then the headline before and after, where there is one."""
    rows = [[f"{sample.plural} at a time", "largest difference", "equal answers"]]
    for agreement in parity.agreements:
        equal = f"{agreement.equal:.2%} of {agreement.answers:,}"
        rows.append([str(agreement.batch), f"{agreement.difference:.2g}", equal])
    shown, headline = aligned(rows, ">>>"), parity.headline
    if headline is None:
        return shown
    figure, before, after = headline.figure, headline.before, headline.after
    return (
        f"{shown}\n{figure.label} of {parity.images:,} test {sample.plural}: {figure.text(before)} with Keras, "
        f"{figure.text(after)} with {format_.title} ({figure.difference(after - before)})"
    )
