"""Plain Keras, as its tutorials write it: arrays into `fit`, everything else at its default."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from benchmarks.gate import Gate, epoch_gate
from benchmarks.images import load_with_whole_images, read_images
from benchmarks.networks import BATCH_SIZE

EPOCHS = 1_000_000


def tutorial_script(
    gate: Gate,
    network: str,
    augmentation: str,
    arrays: str,
    jit: bool | str = "auto",
    onednn: bool | None = None,
    policy: str = "float32",
) -> None:
    """One of the networks of `throughput`; the augmentation consists of layers in the model, as the tutorials do it.

    Args:
        jit: What `compile` gets for `jit_compile`; Keras' default is `auto`.
        onednn: Whether oneDNN computes; TensorFlow decides by default.
        policy: Keras' dtype policy.
    """
    if onednn is not None:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = str(int(onednn))
    import keras

    keras.config.set_dtype_policy(policy)
    images, labels = read_images(arrays)
    # As in the tutorial: NumPy makes float64 of it.
    train_images = images / 255.0
    layers = [keras.Input(shape=images.shape[1:])]
    if augmentation == "flip-shift":
        shift = 4 / images.shape[1]
        layers += [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomTranslation(shift, shift, fill_mode="constant"),
        ]
    body, optimizer = {"tutorial": _tutorial, "vgg": _vgg, "alexnet": _alexnet, "resnet20": _resnet20}[network]()
    model = keras.Sequential(layers + body)
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit,
    )
    model.fit(train_images, labels, batch_size=BATCH_SIZE, epochs=EPOCHS, callbacks=[epoch_gate(gate)])


def _tutorial() -> tuple[list[Any], Any]:
    from keras import layers

    body = [
        layers.Conv2D(32, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Conv2D(64, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Conv2D(64, (3, 3), activation="relu"),
        layers.Flatten(),
        layers.Dense(64, activation="relu"),
        layers.Dense(10),
    ]
    return body, "adam"


def _vgg() -> tuple[list[Any], Any]:
    from keras import layers

    body: list[Any] = []
    for filters in (64, 128, 256):
        for _ in range(2):
            body.append(layers.Conv2D(filters, 3, padding="same", use_bias=False))
            body.append(layers.BatchNormalization())
            body.append(layers.ReLU())
        body.append(layers.MaxPooling2D())
    return [*body, layers.GlobalAveragePooling2D(), layers.Dense(10)], "adam"


def _alexnet() -> tuple[list[Any], Any]:
    import keras
    import tensorflow as tf
    from keras import layers

    def normalization() -> Any:
        return layers.Lambda(
            lambda x: tf.nn.local_response_normalization(x, depth_radius=2, bias=2.0, alpha=1e-4, beta=0.75)
        )

    body = [
        layers.Conv2D(64, 5, strides=2, padding="same", activation="relu"),
        normalization(),
        layers.MaxPooling2D(3, strides=2, padding="same"),
        layers.Conv2D(128, 5, padding="same", activation="relu"),
        normalization(),
        layers.MaxPooling2D(3, strides=2, padding="same"),
        layers.Conv2D(192, 3, padding="same", activation="relu"),
        layers.Conv2D(192, 3, padding="same", activation="relu"),
        layers.Conv2D(128, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(3, strides=2, padding="same"),
        layers.Flatten(),
        layers.Dense(512, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(512, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(10),
    ]
    return body, keras.optimizers.SGD(learning_rate=0.02, momentum=0.9, weight_decay=5e-4)


def _resnet20() -> tuple[list[Any], Any]:
    """One functional model, as Keras' examples write residual networks."""
    import keras
    from keras import layers

    def convolution(x: Any, filters: int, strides: int = 1) -> Any:
        x = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(convolution(inputs, 16))
    for filters in (16, 32, 64):
        for block in range(3):
            strides = 2 if filters > 16 and block == 0 else 1
            y = convolution(layers.ReLU()(convolution(x, filters, strides)), filters)
            if strides == 2:
                x = keras.ops.pad(x[:, ::2, ::2], [[0, 0], [0, 0], [0, 0], [0, filters // 2]])
            x = layers.ReLU()(layers.add([x, y]))
    outputs = layers.Dense(10)(layers.GlobalAveragePooling2D()(x))
    return [keras.Model(inputs, outputs)], keras.optimizers.SGD(learning_rate=0.1, momentum=0.9)


def config_script(gate: Gate, config: str, overrides: list[str], arrays: str) -> None:
    """A config's network, loss and optimizer, with Keras' defaults for the rest.

    The layers are built from the config; the augmentations are Keras' own layers in a tf.data map, as its tutorials
    write it. Those that Keras lacks are left out, which makes this side faster.
    """
    import keras

    from cnnkit.layers.stack import head
    from cnnkit.tasks.classification.training import make_loss
    from cnnkit.training.model import normalization_constants

    loaded = load_with_whole_images(config, overrides)
    shape, classes = loaded.info.shape, loaded.info.classes
    images, labels = read_images(arrays)
    measured = images.mean((0, 1, 2)).tolist(), images.var((0, 1, 2)).tolist()
    training = loaded.config.training
    model = _plain_model(loaded, normalization_constants(loaded.config, measured))
    loss = make_loss(training, head([step.layer for step in loaded.steps]))
    if training.label_smoothing:
        loss.label_smoothing = training.label_smoothing
    optimizer = training.optimizer.build(training.optimizer.learning_rate)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    targets = keras.utils.to_categorical(labels, classes)
    batch_size = loaded.config.data.batch_size
    layers, gate.notes["left_out"] = keras_augmentation(loaded.config.augmentation, shape)
    if layers:
        model.fit(_augmented(images, targets, batch_size, layers), epochs=EPOCHS, callbacks=[epoch_gate(gate)])
    else:
        model.fit(images, targets, batch_size=batch_size, epochs=EPOCHS, callbacks=[epoch_gate(gate)])


def _plain_model(loaded: Any, constants: Any) -> Any:
    """A config's network of Keras' own layers, in float32; what cnnkit does its own way is no plain Keras."""
    from cnnkit.training.model import build_model, without_training_state

    # Keras smooths in the loss.
    plain = {"label_smoothing": 0.0, "dtype_policy": "float32"}
    config = loaded.config.model_copy(update={"training": loaded.config.training.model_copy(update=plain)})
    return without_training_state(build_model(config, loaded.steps, loaded.info.target, constants))


def keras_augmentation(entries: Sequence[Any], shape: tuple[int, ...]) -> tuple[list[Any], list[str]]:
    """Keras' own layers for the augmentations of a config, and the names of those that it lacks.

    Keras' RandomCrop does not pad, so `tf.pad` stands before it, and it cuts all images of a batch at one place.
    """
    import keras
    import tensorflow as tf

    found: list[Any] = []
    lacking: list[str] = []
    for entry in entries:
        name = type(entry).__name__
        arguments = dict(entry.keras_arguments())
        # Keras draws an image's side anew in each epoch.
        arguments.pop("alternate", None)
        if name == "RandomCrop":
            rows, columns = entry.padding
            mode = {"reflect": "REFLECT", "constant": "CONSTANT"}.get(entry.fill_mode, "SYMMETRIC")
            border = [[0, 0], [rows, rows], [columns, columns], [0, 0]]
            if rows or columns:
                found.append(lambda images, training, border=border, mode=mode: tf.pad(images, border, mode))
            arguments = {"height": shape[0], "width": shape[1]}
        try:
            found.append(getattr(keras.layers, name)(**arguments))
        except (AttributeError, TypeError, ValueError):
            lacking.append(name)
    return found, lacking


def _augmented(images: Any, targets: Any, batch_size: int, layers: Sequence[Any]) -> Any:
    import tensorflow as tf

    def augment(images: Any, targets: Any) -> tuple[Any, Any]:
        images = tf.cast(images, tf.float32)
        for layer in layers:
            if type(layer).__name__ in ("MixUp", "CutMix"):
                mixed = layer({"images": images, "labels": targets}, training=True)
                images, targets = mixed["images"], mixed["labels"]
            else:
                images = layer(images, training=True)
        return images, targets

    batches = tf.data.Dataset.from_tensor_slices((images, targets)).shuffle(len(images)).batch(batch_size)
    return batches.map(augment, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def predict_script(gate: Gate, model: str, arrays: str, tuned: bool) -> None:
    """`model.predict` of an array of images, in batches as large as `cnnkit eval` makes them.

    Args:
        model: The saved model's file.
        tuned: Whether TensorFlow is set up as cnnkit does it; else as it comes.
    """
    from cnnkit.machine.tensorflow import load_tensorflow
    from cnnkit.runs.inference import inference_batch_size

    if tuned:
        load_tensorflow()
    import keras

    images, _ = read_images(arrays)
    loaded = keras.models.load_model(model)
    batch_size = inference_batch_size(loaded)
    while True:
        gate.enter()
        loaded.predict(images, batch_size=batch_size, verbose=0)
        gate.leave()
        gate.notes = {"batch_size": batch_size, "jit_compile": bool(loaded.jit_compile)}
