"""The augmentation of a config as Python: Keras' layers, each image with draws of its own, and masks that go along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cnnkit.augmentation.base import Augmentation
from cnnkit.config.target import Target
from cnnkit.eject.text import call_text, copied, wrapped

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
    shape = images.shape
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


def write_augmentation(augmentation: Sequence[Augmentation], target: Target) -> list[str]:
    """The functions and constants that augment a batch; the last one is `augment`.

    Args:
        target: What is to be learned. Where there is one for each pixel, `augment` takes masks in place of labels.
    """
    calls = [one.call() for one in augmentation]
    movers = [one.for_masks(target.ignore) if target.per_pixel else None for one in augmentation]
    mask_calls = [None if mover is None else mover.call() for mover in movers]
    own = {call.function for call in (*calls, *mask_calls) if call is not None and "." not in call.function}
    layers = _layers({"drive", *own, "SeedStream"})
    seeded = _SEEDED_WITH_MASKS if target.per_pixel else _SEEDED
    functions = [layers + "\n", seeded]
    counts: Counter[str] = Counter()
    items = []
    for one, call, mask_call in zip(augmentation, calls, mask_calls, strict=True):
        kind = type(one).__name__
        arguments = [call_text(call)] + ([] if mask_call is None else [call_text(mask_call)])
        if counts[kind]:
            arguments.append(f"number={counts[kind]}" if target.per_pixel else f"{counts[kind]}")
        items.append(f"seeded({', '.join(arguments)}),")
        counts[kind] += 1
    comment = "# Layers of Keras, or made of them, that give each image draws of its own."
    lines = [line for item in items for line in wrapped(item, 4)]
    functions.append("\n".join([comment, "AUGMENTATION = [", *lines, "]"]) + "\n")
    functions.append(_AUGMENT_WITH_MASKS if target.per_pixel else _AUGMENT % {"apply": _apply(augmentation)})
    return functions


def _layers(names: set[str]) -> str:
    """Layers and the stream that they draw from, without those of its methods that nothing calls."""
    unused = {"bits_of_images", "branch", "numbers", "choose", "chosen"}
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
