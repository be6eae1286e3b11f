"""The config that is written for images, as text with its reasons, checked as any other."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnnkit.config.dataset import RecordedImages
from cnnkit.config.load import LoadedConfig, validate
from cnnkit.config.run import RunConfig
from cnnkit.config.target import Numbers, OneClass
from cnnkit.errors import UsageError
from cnnkit.format.override import read_tree
from cnnkit.format.schema import Schema
from cnnkit.images.padding import padding_to
from cnnkit.layers.backbone_graph import WeightFile, read_network
from cnnkit.network.duration import minutes_of_training
from cnnkit.network.summary import Summary, summarize
from cnnkit.proposal.boxes import network_of_boxes
from cnnkit.proposal.choices import Choices, are_photographs, choose, range_text
from cnnkit.proposal.look import Seen, look
from cnnkit.proposal.networks import levels, network_of_backbone, network_of_masks, network_of_one_answer
from cnnkit.proposal.sections import augmentation_section, data_section, training_section
from cnnkit.proposal.text import block, comment, count, value
from cnnkit.task import Task
from cnnkit.tasks import task_of
from cnnkit.terminal.printable import printable
from cnnkit.training.imagenet import is_cached

#: What photographs are begun with: small, quick on a processor, and good enough to tell whether more is needed.
BACKBONE = "MobileNetV3Small"

#: A training takes no longer than this, if it can see its images a few times meanwhile.
_MINUTES = 30
_FEWEST_EPOCHS = 3


@dataclass(frozen=True)
class Proposal:
    """A config for images.

    Attributes:
        text: The whole file.
        lines: What was found and chosen, a line each, for a terminal.
    """

    text: str
    lines: tuple[str, ...]


def proposer(
    source: str,
    image: str | None = None,
    target: str | None = None,
    task: Task | None = None,
    backbone: str | None = None,
) -> Callable[[Path], Proposal]:
    """Looks at a folder or table of images or texts, and gives the config for a file that it is to be written to.

    Args:
        source, image, target, task: As for `look`.
        backbone: As for `propose`.

    Raises:
        UsageError: if nothing can be learned of it.
    """
    from cnnkit.proposal.texts import propose_texts, texts_in

    text = None if image is not None else texts_in(source)
    if text is None:
        seen = look(source, image, target, task)
        return lambda file: propose(seen, file, backbone)
    if backbone is not None:
        raise UsageError("--backbone is for images, and these are texts; leave it out")

    def of_texts(file: Path) -> Proposal:
        written, lines = propose_texts(source, text, target, task, file)
        return Proposal(written, tuple(lines))

    return of_texts


def propose(seen: Seen, file: Path, backbone: str | None = None) -> Proposal:
    """The config for images that were looked at.

    Args:
        file: Where it is to be written: a relative path in a config belongs to its folder.
        backbone: The network of keras.applications to begin with. By default `BACKBONE` where the images are
            photographs and Keras has its weights already, and else a small network that is trained from scratch.

    Raises:
        UsageError: if no network can be begun with for images with masks.
    """
    of_places = seen.target.per_pixel or seen.target.boxed
    if backbone is not None and of_places:
        raise UsageError("--backbone is for classes, labels or numbers of an image; leave it out for masks and boxes")
    if seen.target.boxed and not seen.objects:
        raise UsageError(f"no training image of `{seen.source}` has an object; there is nothing to learn of them")
    photographs = not of_places and are_photographs(seen)
    if backbone is None and photographs and is_cached(_weights(seen)):
        backbone = BACKBONE
    chosen = choose(seen, backbone)
    summary = _summary(seen, chosen, file)
    minutes = minutes_of_training(summary, seen.train, chosen.epochs)
    if minutes > _MINUTES and chosen.epochs > _FEWEST_EPOCHS:
        epochs = max(_FEWEST_EPOCHS, int(chosen.epochs * _MINUTES / minutes))
        seen_images = f"{epochs * seen.train:,} images are seen"
        reason = f"{seen_images}: as many epochs as {_MINUTES} minutes allow, or {_FEWEST_EPOCHS}"
        chosen = replace(chosen, epochs=epochs, epochs_reason=reason)
        # What it says of the epochs is checked, too.
        minutes = minutes_of_training(_summary(seen, chosen, file), seen.train, epochs)
    network = (
        f"{_network(seen, chosen)}, {summary.parameters:,} parameters; {chosen.epochs} epochs, about "
        f"{_duration(minutes)} on two cores"
    )
    notes = _notes(seen)
    head = _head(seen, notes, network, photographs and backbone is None)
    lines = (f"found     {_found(seen)}", *(f"note: {note}" for note in notes), f"chosen    {network}")
    return Proposal(head + _text(seen, chosen, file), lines)


def _head(seen: Seen, notes: Sequence[str], network: str, advise: bool) -> str:
    """The comments at the top.

    Args:
        advise: Whether to say that a network that has learned ImageNet would be better.
    """
    better = (
        "Photographs are learned better, and of fewer, by a network that has learned ImageNet, which is downloaded: "
        f"cnnkit new --from {shlex.quote(seen.source)} --backbone {BACKBONE}"
    )
    return block(
        [
            comment(f"Images of `{printable(seen.source)}`: {_found(seen)}."),
            *(comment(note) for note in notes),
            comment(f"{network[:1].upper()}{network[1:]} (by its operations, as the shipped configs were timed)."),
            comment(better) if advise else "",
            comment("Written by `cnnkit new --from`; the reasons are given so that they can be disagreed with."),
        ]
    )


def _weights(seen: Seen) -> WeightFile:
    """The file of the weights of `BACKBONE` for images."""
    return read_network(BACKBONE).file_for(choose(seen, BACKBONE).shape)


def _network(seen: Seen, chosen: Choices) -> str:
    if chosen.backbone is not None:
        return f"{chosen.backbone}, which has learned ImageNet"
    kind = "U-Net" if seen.target.per_pixel else "CenterNet" if seen.target.boxed else "small network"
    return f"a {kind} from scratch"


def _text(seen: Seen, chosen: Choices, file: Path) -> str:
    source = {name: _beside(path, file) if name in ("folder", "table") else path for name, path in seen.data.items()}
    if seen.target.per_pixel:
        model = network_of_masks(chosen.padded, levels(chosen.size))
    elif seen.target.boxed:
        model = network_of_boxes(chosen.size, chosen.shape[2])
    elif chosen.backbone is not None:
        model = network_of_backbone(chosen.backbone, seen.target)
    else:
        model = network_of_one_answer(chosen.size, chosen.shape[2], seen.target)
    return "".join(
        [
            block(["seed: 0", f"task: {value(seen.task.to_plain())}"]),
            data_section(seen, chosen, source),
            augmentation_section(seen, chosen),
            model,
            training_section(seen, chosen),
        ]
    )


def _summary(seen: Seen, chosen: Choices, file: Path) -> Summary:
    """The network that was chosen; its config is checked as any other.

    Raises:
        ConfigError: if it is wrong, as with a backbone that does not exist.
    """
    text = _text(seen, chosen, file)
    tree = read_tree(str(file), Schema("model", model=RunConfig), text)
    known = RecordedImages(chosen.shape, seen.names, padding_to(*chosen.size, chosen.pad_to or 1))
    valid = validate(tree, known=known)
    return summarize(LoadedConfig(valid.config, valid.info, valid.steps, str(file), tree, text))


def _duration(minutes: float) -> str:
    if minutes < 0.75:
        return "half a minute" if minutes > 0.25 else "a quarter of a minute"
    return count(round(minutes), "minute")


def _beside(path: object, file: Path) -> str:
    """A path as a config in a file names it: relative to its folder, unless it was given from the root."""
    text = os.path.expanduser(str(path))
    return text if os.path.isabs(text) else os.path.relpath(text, file.parent)


def _found(seen: Seen) -> str:
    colour = "in colour" if seen.colour else "grey"
    nouns = f"{seen.target.size:,} {seen.target.singular if seen.target.size == 1 else seen.target.plural}"
    text = f"{count(seen.total, 'image')} of {range_text(seen.sizes)}, {colour}, {nouns}"
    if seen.objects:
        text += f", {count(len(seen.objects), 'object')} to learn from"
    each = ""
    if seen.counts:
        few, many = min(seen.counts), max(seen.counts)
        each = f"{few:,}" + (f" to {many:,}" if many > few else "")
    if len(seen.splits) == 1:
        return text + (f" of {each}" if each else "") + "; a fifth is kept to test"
    parts = [f"{split:,} in `{name}`" for name, split in seen.splits.items()]
    parts[0] += f" ({each} of each {seen.target.singular})" if each else ""
    return f"{text}; {', '.join(parts)}"


def _is_number(name: str) -> bool:
    return name.removeprefix("-").replace(".", "", 1).isdecimal()


def _notes(seen: Seen) -> list[str]:
    notes = []
    amounts = task_of(Numbers)
    if "table" in seen.data and isinstance(seen.target, OneClass) and all(map(_is_number, seen.names)) and amounts:
        notes.append(
            f"`{seen.data['target']}` holds {len(seen.names)} whole numbers, which are taken for classes; if they are "
            f"amounts, write it anew with `--task {amounts.name}`."
        )
    if seen.target.per_pixel and "class_names" in seen.data:
        notes.append("Nothing says what the numbers in the masks mean: give them names in `class_names`.")
    if seen.looked_at < seen.total:
        notes.append(f"Looked at {seen.looked_at:,} of them, spread evenly; `cnnkit data check` looks at all.")
    if seen.copies:
        verb = "is a copy" if seen.copies == 1 else "are copies"
        notes.append(
            f"{count(seen.copies, 'image')} {verb} of one in another split, so that what is tested on was learned; "
            "`cnnkit data check` names them."
        )
    if seen.repeated:
        verb = "is a copy" if seen.repeated == 1 else "are copies"
        notes.append(
            f"{count(seen.repeated, 'image')} {verb} of another; since splits are drawn, one may be learned and the "
            "other tested on; `cnnkit data check` names them."
        )
    return notes
