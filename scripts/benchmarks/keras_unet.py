"""The U-Net of configs/unet_camvid.yaml in plain Keras: one functional model, as Keras' examples write it."""

from __future__ import annotations

from typing import Any

from benchmarks.gate import Gate, epoch_gate
from benchmarks.images import read_pairs

EPOCHS = 1_000_000

#: Filters of the levels, from the whole image to the lowest.
WIDTHS = (16, 32, 64, 128, 128, 256)


def script(gate: Gate, config: str, overrides: list[str], arrays: str) -> None:
    """Trains it on pairs in memory; the augmentation consists of Keras' own layers in a tf.data map.

    Optimizer, batch size, class weights and the augmentations' ranges are read from the config; the network is written
    out here. It has to have as many weights as the config's.
    """
    import keras
    import numpy as np

    from cnnkit.config.load import load_config
    from cnnkit.network.summary import summarize

    loaded = load_config(config, overrides)
    training, data = loaded.config.training, loaded.config.data
    (height, width, _), classes, ignored = loaded.info.shape, loaded.info.classes, loaded.info.target.ignore
    assert ignored is not None
    images, masks = read_pairs(arrays)
    images = images.astype(np.float32)
    below, right = height - images.shape[1], width - images.shape[2]
    padded = np.pad(images, [(0, 0), (0, below), (0, right), (0, 0)])
    masks = np.pad(masks, [(0, 0), (0, below), (0, right)], constant_values=ignored)
    model = network(images, (height, width), classes)
    expected = summarize(loaded).parameters
    if model.count_params() != expected + 2 * images.shape[-1] + 1:
        raise SystemExit(
            f"plain Keras has {model.count_params():,} weights with its Normalization, cnnkit {expected:,}"
        )
    model.compile(
        optimizer=training.optimizer.build(training.optimizer.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(ignore_class=ignored),
        metrics=[
            keras.metrics.MeanIoU(classes, sparse_y_pred=False, ignore_class=ignored, name="mean_iou"),
        ],
    )
    weights = [*training.class_weights, 0.0]
    batches = augmented(padded, masks, weights, data.batch_size, loaded.config.augmentation)
    model.fit(batches, epochs=EPOCHS, callbacks=[epoch_gate(gate)])


def network(images: Any, size: tuple[int, int], classes: int) -> Any:
    """The model, with images of any brightness as its input.

    Args:
        images: Of them the input is standardized.
        size: Height and width of the input.
    """
    import keras
    from keras import layers

    def convolution(x: Any, filters: int) -> Any:
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    standardization = layers.Normalization()
    standardization.adapt(images)
    inputs = keras.Input((*size, images.shape[-1]))
    x = convolution(standardization(inputs), WIDTHS[0])
    skips = []
    for filters in WIDTHS[1:-1]:
        skips.append(x)
        x = convolution(convolution(layers.MaxPooling2D()(x), filters), filters)
    skips.append(x)
    x = convolution(convolution(layers.MaxPooling2D()(x), WIDTHS[-1]), WIDTHS[-1])
    x = layers.SpatialDropout2D(0.2)(x)
    for filters, skip in zip(reversed(WIDTHS[:-1]), reversed(skips), strict=True):
        x = layers.Conv2DTranspose(filters, 2, strides=2, kernel_initializer="he_normal")(x)
        x = convolution(layers.Concatenate()([skip, x]), filters)
    outputs = layers.Softmax()(layers.Conv2D(classes, 1)(x))
    return keras.Model(inputs, outputs)


def augmented(images: Any, masks: Any, weights: list[float], batch_size: int, entries: Any) -> Any:
    """Batches of images, masks and pixel weights, by Keras' own layers; as a shift it has RandomTranslation."""
    import tensorflow as tf
    from keras import layers

    arguments = {type(entry).__name__: dict(entry.keras_arguments()) for entry in entries}
    rows, columns = next(entry.padding for entry in entries if type(entry).__name__ == "RandomCrop")
    steps = [
        layers.RandomFlip("horizontal"),
        layers.RandomTranslation(rows / images.shape[1], columns / images.shape[2], fill_mode="constant"),
        layers.RandomZoom(**arguments["RandomZoom"]),
        layers.RandomColorJitter(**arguments["RandomColorJitter"]),
    ]

    def augment(images: Any, masks: Any) -> tuple[Any, Any, Any]:
        pair = {"images": images, "segmentation_masks": tf.cast(masks, tf.float32)[..., None]}
        for step in steps:
            pair = step(pair, training=True)
        masks = tf.cast(pair["segmentation_masks"][..., 0], tf.int32)
        return pair["images"], masks, tf.gather(tf.constant(weights), masks)

    batches = tf.data.Dataset.from_tensor_slices((images, masks)).shuffle(len(images)).batch(batch_size)
    return batches.map(augment, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
