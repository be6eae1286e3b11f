"""The sections `data`, `augmentation` and `training` of a proposed config, as text with the reasons."""

from __future__ import annotations

from cnnkit.config.target import Numbers
from cnnkit.proposal.choices import Choices
from cnnkit.proposal.look import Seen
from cnnkit.proposal.text import block, comment, count, value, with_reason
from cnnkit.terminal.printable import printable

_JITTER = "RandomColorJitter: {brightness_factor: 0.2, contrast_factor: [0.33, 0.5]}"

#: Files of a kind that a comment names.
_NAMED = 3

#: Of classes, labels and numbers.
_OPTIMIZER = """\
  optimizer:                             # that of the shipped config cifar10; docs/results.md has the search for it
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

#: Of a network that has learned before.
_STAGES = """\
  optimizer: {{Adam: {{learning_rate: 0.001}}}}
  schedule: CosineDecay
  stages:
    - {{epochs: {first}, freeze: {name}}}
    - {{epochs: {second}, unfreeze: {name}, learning_rate: 1.0e-4}}
"""

#: Of boxes.
_OPTIMIZER_OF_BOXES = """\
  warmup_epochs: 1
  optimizer: {Adam: {learning_rate: 2.0e-3}}
  schedule: CosineDecay
"""

#: Of masks.
_OPTIMIZER_OF_MASKS = """\
  warmup_epochs: 1
  optimizer: {Muon: {learning_rate: 3.0e-3, convolutions: true, weight_decay: 0.05, adam_weight_decay: null}}
  schedule: CosineDecay
"""


def data_section(seen: Seen, chosen: Choices, source: dict[str, object]) -> str:
    """`data:`.

    Args:
        source: The fields that say where the images are and what is to be learned of them.
    """
    lines = ["data:", *(f"  {name}: {value(plain)}" for name, plain in source.items())]
    lines.append(with_reason(f"  image_size: [{chosen.size[0]}, {chosen.size[1]}]", chosen.size_reason))
    if chosen.resize != "stretch" or chosen.resize_reason:
        lines.append(with_reason(f"  resize: {chosen.resize}", chosen.resize_reason))
    if chosen.pad_to is not None:
        sizes = f"{chosen.padded[0]}x{chosen.padded[1]}"
        lines.append(with_reason(f"  pad_to: {chosen.pad_to}", f"{sizes}, which halve; the border is cut off again"))
    if chosen.channels is not None:
        reason = f"stored in colour, and grey: all {seen.decoded:,} that were looked at"
        reason = reason if chosen.channels == 1 else "grey images are given three equal channels, as the network needs"
        lines.append(with_reason(f"  channels: {chosen.channels}", reason))
    if seen.unreadable:
        few = ", ".join(printable(file) for file in list(seen.unreadable)[:_NAMED])
        more = ", ..." if len(seen.unreadable) > _NAMED else ""
        reason = f"{count(len(seen.unreadable), 'file')} cannot be read ({few}{more}): left out"
        lines.append(with_reason("  skip_corrupt: true", reason))
    lines.append(with_reason(f"  validation: {value(seen.validation)}", _validation_reason(seen)))
    steps = count(-(-seen.train // chosen.batch_size), "step")
    lines.append(with_reason(f"  batch_size: {chosen.batch_size}", f"{steps} in an epoch"))
    return block(lines)


def _validation_reason(seen: Seen) -> str:
    if not seen.validation:
        return "too few images of some class to hold any out"
    if "validation" in seen.splits and "test" in seen.splits:
        return f"not drawn: {count(seen.held_out, 'image')} of their own watch the training"
    each = f", of each {seen.target.singular} alike" if seen.counts else ""
    return f"{seen.held_out:,} of the training images watch the training{each}"


def augmentation_section(seen: Seen, chosen: Choices) -> str:
    """`augmentation:`."""
    if isinstance(seen.target, Numbers):
        reason = (
            "A number may depend on where and how large something is. Where it does not, add `- RandomCrop: "
            f"{{padding: {chosen.shift}}}`, which shifts, or `- RandomFlip: horizontal`."
        )
        return block([comment(reason), "augmentation: []"])
    lines = ["augmentation:"]
    mirroring = chosen.mirroring
    if mirroring.allowed:
        moves = seen.target.per_pixel or seen.target.boxed
        flip = "  - RandomFlip: " + ("horizontal" if moves else "{mode: horizontal, alternate: true}")
        lines.append(with_reason(flip, f"{mirroring.reason}; if not, remove this line"))
    else:
        no = f"No mirror images: {mirroring.reason}. If they mean the same, add `- RandomFlip: horizontal`."
        lines.append(comment(no, "  "))
    if seen.target.per_pixel:
        lines.append(
            with_reason("  - RandomZoom: {height_factor: [-0.3, 0.0]}", "nearer, never a border without a class")
        )
        if not chosen.grey:
            lines.append(f"  - {_JITTER}")
        return block(lines)
    if seen.target.boxed:
        lines.append(with_reason("  - RandomZoom: {height_factor: [-0.2, 0.2], fill_mode: constant}", "with the boxes"))
        lines.append("  - RandomTranslation: {height_factor: 0.1, width_factor: 0.1, fill_mode: constant}")
        jitter = "RandomBrightness: 0.1" if chosen.grey else _JITTER
        return block([*lines, f"  - {jitter}"])
    shift = f"shifts by up to {count(chosen.shift, 'pixel')}"
    lines.append(with_reason(f"  - RandomCrop: {{padding: {chosen.shift}}}", shift))
    if chosen.turn:
        reason = f"by up to 11 degrees: {seen.train:,} images are few"
        lines.append(with_reason("  - RandomRotation: {factor: 0.03, fill_mode: constant}", reason))
        lines.append("  - RandomZoom: {height_factor: 0.1, width_factor: 0.1, fill_mode: constant}")
    return block(lines)


def training_section(seen: Seen, chosen: Choices) -> str:
    """`training:`."""
    lines = ["training:"]
    if chosen.backbone is None:
        lines.append(with_reason(f"  epochs: {chosen.epochs}", chosen.epochs_reason))
    if chosen.label_smoothing:
        lines.append(f"  label_smoothing: {chosen.label_smoothing}")
    if chosen.class_weights is not None:
        lines.append(with_reason(f"  class_weights: {chosen.class_weights}", chosen.weights_reason))
    elif seen.target.per_pixel:
        lines.append(comment("For classes of few pixels, add `class_weights: median_frequency`, or weigh some.", "  "))
    if chosen.keeps_last:
        reason = f"keeps the last one, since the best of {seen.held_out:,} images would be the best by chance"
        lines.append(with_reason("  monitor: epoch", reason))
    if seen.target.per_pixel:
        return block(lines) + _OPTIMIZER_OF_MASKS
    if seen.target.boxed:
        return block(lines) + _OPTIMIZER_OF_BOXES
    if chosen.backbone is not None:
        lines.append(comment("First the new layers alone, then all with a small rate, which changes little.", "  "))
        first = max(1, chosen.epochs // 4)
        return block(lines) + _STAGES.format(name=chosen.backbone, first=first, second=chosen.epochs - first)
    return block(lines) + _OPTIMIZER.format(learning_rate=chosen.learning_rate)
