"""The config that is written for images, as text with its reasons, checked as any other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnkit.config.dataset import RecordedImages
from cnnkit.config.load import validate
from cnnkit.config.run import RunConfig
from cnnkit.format.override import read_tree
from cnnkit.format.schema import Schema
from cnnkit.layers.stack import Step
from cnnkit.proposal.choices import Choices, choose, range_text
from cnnkit.proposal.look import Seen
from cnnkit.proposal.networks import network_of_one_answer
from cnnkit.proposal.text import block, comment, count, value, with_reason
from cnnkit.terminal.printable import printable

#: Files of a kind that a comment names.
_NAMED = 3

_OPTIMIZER = """\
  optimizer:                             # that of the shipped config cifar10, with its reasons in docs/results.md
    Muon:
      learning_rate: {learning_rate}
      convolutions: true
      normalize_kernels: true
      momentum: 0.6
      ns_steps: 3
      rms_rate: null
      weight_decay: null
      exclude_layers: [Dense]            # Adam trains the last layer and the offsets
      adam_lr_ratio: 0.05
      adam_beta_2: 0.99
      adam_weight_decay: null
      use_ema: true                      # the network of an epoch is the average of its last steps
      ema_momentum: 0.97
  schedule: {{PolynomialDecay: {{end_learning_rate: 1.0e-6}}}}
"""


@dataclass(frozen=True)
class Proposal:
    """A config for images.

    Attributes:
        text: The whole file.
        lines: What was found and chosen, a line each, for a terminal.
    """

    text: str
    lines: tuple[str, ...]


def propose(seen: Seen, file: Path) -> Proposal:
    """The config for images that were looked at.

    Args:
        file: Where it is to be written: a relative path in a config belongs to its folder.
    """
    chosen = choose(seen)
    data = {name: _beside(path, file) if name in ("folder", "table") else path for name, path in seen.data.items()}
    model = network_of_one_answer(chosen.size, chosen.seen_channels, seen.target, 0)
    body = block(
        [
            "seed: 0",
            *([f"task: {value(seen.task.to_plain())}"]),
            *_data_lines(seen, chosen, data),
            *_augmentation_lines(chosen),
        ]
    )
    text = body + model + _training(chosen)
    config, steps = _checked(text, seen, chosen, str(file))
    parameters = sum(sum(step.layer.parameters(step.input_shape)) for step in steps)
    found, network = _found(seen), _network(chosen, parameters, config)
    head = block(
        [
            comment(f"Images of `{printable(seen.source)}`: {found}"),
            *(comment(note) for note in _notes(seen)),
            comment(f"{network} Written by `cnnkit new --from`; each line may be changed."),
        ]
    )
    return Proposal(
        head + text, (f"found     {found}", *(f"note: {note}" for note in _notes(seen)), f"chosen    {network}")
    )


def _checked(text: str, seen: Seen, chosen: Choices, file: str) -> tuple[RunConfig, Sequence[Step]]:
    """The text as a config, and its network."""
    tree = read_tree(file, Schema("model", model=RunConfig), text)
    known = RecordedImages((*chosen.size, chosen.seen_channels), seen.names)
    config, _, steps, _ = validate(tree, known=known)
    return config, steps


def _beside(path: object, file: Path) -> str:
    """A path as a config in a file names it: relative to its folder, unless it was given from the root."""
    text = os.path.expanduser(str(path))
    return text if os.path.isabs(text) else os.path.relpath(text, file.parent)


def _data_lines(seen: Seen, chosen: Choices, data: dict[str, object]) -> list[str]:
    lines = ["data:", *(f"  {name}: {value(plain)}" for name, plain in data.items())]
    lines.append(with_reason(f"  image_size: [{chosen.size[0]}, {chosen.size[1]}]", chosen.size_reason))
    if chosen.resize != "stretch":
        lines.append(with_reason(f"  resize: {chosen.resize}", chosen.resize_reason))
    if chosen.channels is not None:
        lines.append(
            with_reason("  channels: 1", f"stored in colour, and grey: all {seen.decoded:,} that were looked at")
        )
    if seen.unreadable:
        few = ", ".join(printable(file) for file in list(seen.unreadable)[:_NAMED])
        more = ", ..." if len(seen.unreadable) > _NAMED else ""
        reason = f"{count(len(seen.unreadable), 'file')} cannot be read ({few}{more}): left out"
        lines.append(with_reason("  skip_corrupt: true", reason))
    lines.append(with_reason(f"  validation: {value(chosen.validation)}", _validation_reason(seen)))
    lines.append(with_reason(f"  batch_size: {chosen.batch_size}", chosen.batch_reason))
    return lines


def _validation_reason(seen: Seen) -> str:
    if "validation" in seen.splits and "test" in seen.splits:
        return f"not used: there are {seen.splits['validation']:,} images of their own to validate"
    if not seen.validation:
        return "too few images of some class to hold any out"
    each = f", of each {seen.target.singular} alike" if seen.counts else ""
    return f"{seen.held_out:,} of the training images watch the training{each}"


def _augmentation_lines(chosen: Choices) -> list[str]:
    crop = with_reason(
        f"  - RandomCrop: {{padding: {chosen.shift}}}", f"shifts by up to {count(chosen.shift, 'pixel')}"
    )
    moves = [crop]
    if chosen.turn:
        moves += [
            with_reason(
                "  - RandomRotation: {factor: 0.03, fill_mode: constant}", "by up to 11 degrees: the images are few"
            ),
            "  - RandomZoom: {height_factor: 0.1, width_factor: 0.1, fill_mode: constant}",
        ]
    if chosen.mirroring.allowed:
        flip = with_reason(
            "  - RandomFlip: {mode: horizontal, alternate: true}", f"{chosen.mirroring.reason}; otherwise remove this"
        )
        return ["augmentation:", flip, *moves]
    reason = f"No mirror images: {chosen.mirroring.reason}. If they mean the same, add `- RandomFlip: horizontal`."
    no = comment(reason, "  ")
    return ["augmentation:", no, *moves]


def _training(chosen: Choices) -> str:
    lines = ["training:", with_reason(f"  epochs: {chosen.epochs}", chosen.epochs_reason)]
    if chosen.label_smoothing:
        lines.append(f"  label_smoothing: {chosen.label_smoothing}")
    if chosen.class_weights is not None:
        lines.append(with_reason(f"  class_weights: {chosen.class_weights}", chosen.weights_reason))
    if chosen.keeps_last:
        reason = "keeps the last: with so few validation images, the best of them would be one by chance"
        lines.append(with_reason("  monitor: epoch", reason))
    return block(lines) + _OPTIMIZER.format(learning_rate=chosen.learning_rate)


def _found(seen: Seen) -> str:
    colour = "in colour" if seen.colour else "grey"
    text = f"{seen.total:,} images of {range_text(seen.sizes)}, {colour}, {seen.target.size} {seen.target.plural}"
    each = ""
    if seen.counts:
        few, many = min(seen.counts), max(seen.counts)
        each = f"{few:,}" + (f" to {many:,}" if many > few else "")
    if len(seen.splits) == 1:
        return text + (f" of {each}" if each else "") + "; a fifth is kept to test."
    parts = [f"{count:,} in `{name}`" for name, count in seen.splits.items()]
    parts[0] += f" ({each} of each {seen.target.singular})" if each else ""
    return f"{text}; {', '.join(parts)}."


def _notes(seen: Seen) -> list[str]:
    notes = []
    if seen.looked_at < seen.total:
        notes.append(f"Looked at {seen.looked_at:,} of them, spread evenly; `cnnkit data check` looks at all.")
    if seen.copies:
        verb = "is a copy" if seen.copies == 1 else "are copies"
        notes.append(
            f"{count(seen.copies, 'image')} {verb} of one in another split, so that what is tested on was learned; "
            "`cnnkit data check` names them."
        )
    return notes


def _network(chosen: Choices, parameters: int, config: RunConfig) -> str:
    return (
        f"A small network from scratch, {parameters:,} parameters, {config.training.epochs} epochs of batches of "
        f"{config.data.batch_size} at {chosen.size[0]}x{chosen.size[1]}."
    )
