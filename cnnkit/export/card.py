"""The model card beside an exported network: what it is, what it has learned from, what it is worth, and its limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnkit.config.sample import IMAGES, Sample
from cnnkit.errors import CnnkitError
from cnnkit.export.formats import OUTPUT, Format
from cnnkit.export.inputs import given_to
from cnnkit.export.metadata import classes_of
from cnnkit.export.parity import Parity
from cnnkit.export.places import Places
from cnnkit.export.quantize import TensorTypes
from cnnkit.export.speed import Speed, table_rows
from cnnkit.format.shapes import format_shape
from cnnkit.runs.interface import initial_weights
from cnnkit.runs.trained import TrainedRun
from cnnkit.task import LOSS
from cnnkit.terminal.printable import printable

#: More names than these are in the JSON file alone.
_MOST_NAMES = 100


def card_for(
    places: Places,
    trained: TrainedRun,
    description: dict[str, Any],
    parity: Parity | None,
    speeds: tuple[Speed, Speed],
    types: TensorTypes | None,
) -> str:
    """The card as Markdown, with the sections that model cards have (Mitchell et al. 2019, arXiv:1810.03993).

    Args:
        description: What the file says of itself, see `metadata.describe`.
    """
    sections = (
        _what(places, trained, description),
        _use(places, trained),
        _data(trained),
        _figures(places.format_, trained, parity, speeds, types),
        _limits(trained, parity),
        "## Licence\n\nUnknown: whoever publishes the network says it here. The licences of the data and of weights "
        "that it began with may bind it.",
    )
    return "\n\n".join(sections) + "\n"


def _what(places: Places, trained: TrainedRun, description: dict[str, Any]) -> str:
    names = [_escaped(name) for name in classes_of(trained)]
    listed = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
    began = initial_weights(trained.environment)
    lines = [
        f"task: {trained.task.name}",
        *([f"{len(names)} {trained.task.target.plural}: {listed}"] if names else []),
        f"{description['environment']['model']['parameters']:,} parameters",
        f"run `{printable(description['run']['name'])}`, SHA-256 of its model.keras `{description['run']['sha256']}`",
        f"made with cnnkit {description['cnnkit']}, Keras {description['keras']}, TensorFlow "
        f"{description['tensorflow']}",
        "weights: " + (f"quantized, {description['quantize']}" if description["quantize"] else "float32"),
        *([f"training began with the weights of {_escaped(began)}"] if began else []),
    ]
    title = f"# {_escaped(description['run']['name'])}, {places.format_.title}"
    intro = "A convolutional network that was trained from a YAML file. The config, and all that using it takes, is in "
    return f"{title}\n\n{intro}`{printable(places.description.name)}`.\n\n{_listed(lines)}"


def _use(places: Places, trained: TrainedRun) -> str:
    interface, task = trained.interface, trained.task
    given, sample = given_to(interface), interface.sample
    output, span = interface.output_shape(task), task.output_range
    ending = f"the network ends in {interface.head}" if span is None else f"values from {span[0]} to {span[1]}"
    lines = [
        f"input `{sample.input_name}`: {sample.input_dtype} [{sample.plural}, "
        f"{', '.join(map(str, interface.image_shape))}], {given.values}; any number of {sample.plural}",
        f"output `{OUTPUT}`: float32 [{sample.plural}, {', '.join(map(str, output))}]; {ending}",
        *given.card,
    ]
    installed = f"{places.format_.installed} {given.further[1]}".strip()
    command = f"pip install {installed}\npython {printable(places.script.name)} {given.argument}"
    return f"## Use\n\n```\n{command}\n```\n\n{_listed(lines)}"


def _data(trained: TrainedRun) -> str:
    data = trained.environment.get("data") or {}
    counts, kind = data.get("images") or {}, _tested(trained).plural
    lines = [
        f"data set: {_escaped(trained.fingerprint or 'unknown')}",
        f"{kind} {format_shape(trained.interface.data_shape)}",
        *(f"{name}: {count:,} {kind}" for name, count in counts.items() if isinstance(count, int)),
    ]
    augmentations = [type(augmentation).__name__ for augmentation in trained.loaded.config.augmentation]
    lines.append(f"augmentation of training {kind}: " + (", ".join(augmentations) or "none"))
    return f"## Data\n\n{_listed(lines)}"


def _figures(
    format_: Format, trained: TrainedRun, parity: Parity | None, speeds: tuple[Speed, Speed], types: TensorTypes | None
) -> str:
    parts, kind, given = ["## Figures"], _tested(trained), trained.interface.sample
    try:
        evaluation = trained.evaluation
    except CnnkitError:
        parts.append(f"The run was not evaluated on its test {kind.plural}.")
    else:
        rows = [
            [figure.label, figure.text(evaluation[figure.name])]
            for figure in dict.fromkeys((trained.task.headline, *trained.task.figures, LOSS))
            if evaluation.get(figure.name) is not None
        ]
        parts.append(
            f"Of the run in Keras, on {evaluation['images']:,} test {kind.plural} that it has not learned from:"
        )
        parts.append(_table(["figure", "value"], rows))
    if parity is not None:
        asked = given.plural if trained.task.makes_images else f"of the test {kind.plural}"
        parts.append(f"Of this file beside Keras, on {parity.images:,} {asked}:")
        rows = [
            [str(agreement.batch), f"{agreement.difference:.2g}", f"{agreement.equal:.3%} of {agreement.answers:,}"]
            for agreement in parity.agreements
        ]
        parts.append(_table([f"{given.plural} at a time", "largest difference of outputs", "equal answers"], rows))
        if parity.headline is not None:
            figure, before, after = parity.headline.figure, parity.headline.before, parity.headline.after
            parts.append(f"{figure.title}: {figure.text(before)} in Keras, {figure.text(after)} in {format_.title}.")
    parts.append("Measured in turn on the machine that exported it, with the same number of threads:")
    header, *rows = table_rows(["Keras", format_.title], speeds, given)
    parts.append(_table(header, rows))
    if types is not None:
        parts.append(f"{types}.".capitalize())
    return "\n\n".join(parts)


def _limits(trained: TrainedRun, parity: Parity | None) -> str:
    sample = _tested(trained)
    lines = [
        "What its images show has never been, and some may be like single images that it has learned from.",
    ]
    if not trained.task.makes_images:
        lines = _limits_of_answers(sample)
    if parity is None:
        lines.insert(0, "**This file was not compared with Keras.**")
    try:
        lines += [_escaped(line) for line in trained.task.limits(trained.evaluation, sample)]
    except CnnkitError:
        lines.append("It was not evaluated: nobody knows what it is worth.")
    return f"## Limits\n\n{_listed(lines)}"


def _tested(trained: TrainedRun) -> Sample:
    """The kind of sample that a network was tested on: what it takes, or the images that it should make."""
    return IMAGES if trained.task.makes_images else trained.interface.sample


def _limits_of_answers(sample: Sample) -> list[str]:
    return [
        f"The figures are those of one data set: of {sample.plural} from elsewhere ({sample.elsewhere}) they say "
        "nothing.",
        f"It answers for any {sample.singular}, also for one in which there is nothing that it has learned.",
    ]


def _escaped(text: str) -> str:
    """A text that others wrote, of which Markdown makes nothing else."""
    return "".join(f"\\{letter}" if letter in r"\`*_[]<>#|~&" else letter for letter in printable(text))


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))
