"""The augmentation of a config as Python: Keras' layers, each image with draws of its own, and masks that go along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cnnkit.augmentation.base import Augmentation
from cnnkit.config.target import Target
from cnnkit.eject.text import call_text, copied, wrapped
from cnnkit.format.script import Call

_SEEDED = '''\
def seeded(layer, number=0):
    """A layer whose draws follow only from the seed, the epoch and the step; and the stream that it draws from."""
    path = "augmentation", type(layer).__name__, number
    stream = SeedStream((seed_of(*path, 0), seed_of(*path, 1)))
    drive(layer, stream)
    return layer, stream
'''

_AUGMENT = '''\
@tf.autograph.experimental.do_not_convert
def augment(images, labels, epoch, step, places):
    """Changes each image of a batch in its own way; the draws depend only on the seed, the epoch and the step."""
    shape = %(shape)s
    images = tf.cast(images, tf.float32)
    for layer, stream in AUGMENTATION:
        stream.start(epoch, step, places)
%(apply)s
        images = tf.ensure_shape(images, shape)
    return images, labels
'''

_SEEDED_WITH_MASKS = '''\
def seeded(layer, mask_layer=None, number=0):
    """Layers whose draws follow only from the seed, the epoch and the step; and the stream that they draw from."""
    path = "augmentation", type(layer).__name__, number
    stream = SeedStream((seed_of(*path, 0), seed_of(*path, 1)))
    drive(layer, stream)
    if mask_layer is not None:
        drive(mask_layer, stream)
    return layer, mask_layer, stream
'''

_AUGMENT_WITH_MASKS = '''\
@tf.autograph.experimental.do_not_convert
def augment(images, masks, epoch, step, places):
    """Changes each image of a batch in its own way, and moves its mask with it; the draws depend only on the seed,
    the epoch and the step.

    Args:
        images: [batch, height, width, channels].
        masks: Class numbers, [batch, height, width, 1].
    """
    images, masks = tf.cast(images, tf.float32), tf.cast(masks, tf.float32)
    for layer, mask_layer, stream in AUGMENTATION:
        stream.start(epoch, step, places)
        images = layer(images, training=True)
        if mask_layer is not None:
            # The same draws over again, for an image that is not interpolated.
            stream.start(epoch, step, places)
            masks = mask_layer(masks, training=True)
    return images, tf.cast(masks, tf.uint8)
'''

_SEEDED_WITH_BOXES = '''\
def seeded(layer, move=None, number=0):
    """A layer whose draws follow only from the seed, the epoch and the step, what moves boxes as it moves images, and
    the stream that both draw from.
    """
    path = "augmentation", type(layer).__name__, number
    stream = SeedStream((seed_of(*path, 0), seed_of(*path, 1)))
    drive(layer, stream)
    return layer, move, stream
'''

_AUGMENT_WITH_BOXES = '''\
@tf.autograph.experimental.do_not_convert
def augment(images, boxes, epoch, step, places):
    """Changes each image of a batch in its own way, and moves its boxes with it; the draws depend only on the seed,
    the epoch and the step.

    Args:
        images: [batch, height, width, channels].
        boxes: [batch, most, 6].
    """
    shape = images.shape
    images = tf.cast(images, tf.float32)
    for layer, move, stream in AUGMENTATION:
        stream.start(epoch, step, places)
        changed = tf.ensure_shape(layer(images, training=True), shape)
        if move is not None:
            # The same draws over again.
            stream.start(epoch, step, places)
            boxes = moved_boxes(move, layer, images, boxes)
        images = changed
    return images, boxes
'''


def write_augmentation(augmentation: Sequence[Augmentation], target: Target) -> list[str]:
    """The functions and constants that augment a batch; the last one is `augment`.

    Args:
        target: What is to be learned. Where it moves with images, `augment` takes masks or boxes in place of labels.
    """
    calls = [one.call() for one in augmentation]
    movers: list[Call | str | None] = [None] * len(calls)
    several = any(len(one.shapes((1, 1, 1))) > 1 for one in augmentation)
    shape = "(images.shape[0], None, None, images.shape[3])" if several else "images.shape"
    seeded, augment = _SEEDED, _AUGMENT % {"shape": shape, "apply": _apply(augmentation)}
    if target.per_pixel:
        of_masks = [one.for_masks(target.ignore) for one in augmentation]
        movers = [None if one is None else one.call() for one in of_masks]
        seeded, augment = _SEEDED_WITH_MASKS, _AUGMENT_WITH_MASKS
    box_movers = {one.box_mover for one in augmentation if target.boxed and one.box_mover is not None}
    if box_movers:
        movers = [one.box_mover for one in augmentation]
        seeded, augment = _SEEDED_WITH_BOXES, _AUGMENT_WITH_BOXES
    made = [call for call in (*calls, *movers) if isinstance(call, Call)]
    layers = _layers({"drive", *(call.function for call in made if "." not in call.function), "SeedStream"})
    functions = [layers + "\n", seeded]
    if box_movers:
        functions.insert(1, copied("cnnkit.augmentation.box_layers", ["moved_boxes", *box_movers]) + "\n")
    counts: Counter[str] = Counter()
    items = []
    for one, call, mover in zip(augmentation, calls, movers, strict=True):
        kind = type(one).__name__
        arguments = [call_text(call)]
        if mover is not None:
            arguments.append(call_text(mover) if isinstance(mover, Call) else mover)
        if counts[kind]:
            arguments.append(f"{counts[kind]}" if seeded is _SEEDED else f"number={counts[kind]}")
        items.append(f"seeded({', '.join(arguments)}),")
        counts[kind] += 1
    comment = "# Layers of Keras, or made of them, that give each image draws of its own."
    lines = [line for item in items for line in wrapped(item, 4)]
    functions.append("\n".join([comment, "AUGMENTATION = [", *lines, "]"]) + "\n")
    return [*functions, augment]


def _layers(names: set[str]) -> str:
    """Layers and the stream that they draw from, without those of its methods that nothing calls."""
    unused = {"bits_of_images", "branch", "numbers", "choose", "chosen", "beta", "dirichlet", "_logarithms_of_gammas"}
    while True:
        text = copied("cnnkit.augmentation.keras_layers", names, unused)
        called = {name for name in unused if f".{name}(" in text}
        if not called:
            return text
        # These may call others.
        unused -= called


def _apply(augmentation: Sequence[Augmentation]) -> str:
    """The lines that apply one layer to images, and to labels where some layer mixes those."""
    mixing = sorted({f"layers.{type(one).__name__}" for one in augmentation if one.mixes_labels})
    plain = "images = layer(images, training=True)"
    if mixing:
        kinds = mixing[0] if len(mixing) == 1 else f"({', '.join(mixing)})"
        apply = [
            f"        if isinstance(layer, {kinds}):",
            '            mixed = layer({"images": images, "labels": labels}, training=True)',
            '            images, labels = mixed["images"], mixed["labels"]',
            "        else:",
            f"            {plain}",
        ]
        if all(one.mixes_labels for one in augmentation):
            apply = [line[4:] for line in apply[1:3]]
    else:
        apply = [f"        {plain}"]
    return "\n".join(apply)
