"""Measures what `cnnkit train FOLDER` makes of images, beside Keras' own tutorial networks in the same time.

Makes PNG files in class folders, with the real test split, of a data set or of some of its training images; lets
`cnnkit train FOLDER` choose a config and train it; and trains the network of Keras' tutorial for as many CPU seconds as
that whole command took. The tutorial's seconds count from its first step: importing TensorFlow and reading the files
are free for it. It keeps the epoch that is best on a tenth of the training images.

- digits and MNIST: "Simple MNIST convnet" of keras.io's examples (batches of 128);
- CIFAR-10: "Convolutional Neural Network" of TensorFlow's tutorials (batches of 32).

MNIST and CIFAR-10 are read with TensorFlow Datasets from the folder that TFDS_DATA_DIR names. The rows of a Markdown
table go to standard output, progress to standard error. CPU seconds are those of the processes, so that what else
the machine does hardly counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

#: For each set: the data set, and how many training images of it (None: all).
SETS: dict[str, tuple[str, int | None]] = {
    "digits": ("digits", None),
    "mnist200": ("mnist", 200),
    "mnist2000": ("mnist", 2000),
    "mnist": ("mnist", None),
    "cifar2000": ("cifar10", 2000),
}

#: CIFAR-10's in the order of their numbers.
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

#: The share of the training images on which the tutorial's best epoch is chosen.
HELD_OUT = 0.1


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, `sys.argv` by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="which (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument(
        "--folder", type=Path, help="where image folders and runs are made and kept (default: a temporary folder)"
    )
    parser.add_argument("--folders-only", action="store_true", help="only make the image folders")
    parser.add_argument("--without-tutorial", action="store_true", help="only cnnkit")
    return parser.parse_args(arguments)


# --- Image folders ------------------------------------------------------------------------------------------


def digits(seed: int) -> dict[str, tuple[Any, Any]]:
    """The bundled digits: four fifths to train, one to test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    found = load_digits()
    images = (found.images * 255 / 16).round().astype(np.uint8)
    train, test = train_test_split(np.arange(len(images)), test_size=0.2, stratify=found.target, random_state=seed)
    return {"train": (images[train], found.target[train]), "test": (images[test], found.target[test])}


def of_tfds(name: str, count: int | None, seed: int) -> dict[str, tuple[Any, Any]]:
    """A TFDS data set: `count` of its training images, equally many of each class, and all test images."""
    import tensorflow_datasets as tfds

    found = {}
    for split in ("train", "test"):
        images, labels = tfds.as_numpy(tfds.load(name, split=split, batch_size=-1, as_supervised=True, download=False))
        found[split] = (images.squeeze(), labels)
    if count is not None:
        images, labels = found["train"]
        random = np.random.default_rng(seed)
        classes = np.unique(labels)
        chosen = [random.permutation(np.flatnonzero(labels == one))[: count // len(classes)] for one in classes]
        places = np.concatenate(chosen)
        found["train"] = (images[places], labels[places])
    return found


def save_image(folder: Path, place: int, image: Any) -> None:
    """A PNG file in the folder of a class, called by the image's place among others."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / f"{place:05}.png")


def make_folder(folder: Path, name: str, seed: int) -> None:
    """PNG files of a set: `train/CLASS/00000.png`, `test/CLASS/...`."""
    source, count = SETS[name]
    splits = digits(seed) if source == "digits" else of_tfds(source, count, seed)
    for split, (images, labels) in splits.items():
        for place, (image, label) in enumerate(zip(images, labels, strict=True)):
            class_name = CIFAR_CLASSES[label] if source == "cifar10" else str(label)
            save_image(folder / split / class_name, place, image)


# --- cnnkit -------------------------------------------------------------------------------------------------


def measure_cnnkit(images: Path, place: Path, seed: int) -> tuple[float, float, str]:
    """Test accuracy and CPU seconds of `cnnkit train FOLDER`, and the config that it chose."""
    run = place / f"{images.name}-run"
    cache = tempfile.mkdtemp(dir=place)
    command = [sys.executable, "-m", "cnnkit", "train", str(images), "--set", f"seed={seed}", "--run-dir", str(run)]
    before = os.times()
    subprocess.run(command, check=True, stdout=sys.stderr, env={**os.environ, "CNNKIT_CACHE_DIR": cache}, cwd=place)
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    evaluation = json.loads((run / "evaluation.json").read_text())
    return evaluation["accuracy"], seconds, (run / "config.source.yaml").read_text()


# --- The tutorials ------------------------------------------------------------------------------------------


def mnist_convnet(shape: tuple[int, ...], classes: int) -> Any:
    """The network of keras.io/examples/vision/mnist_convnet."""
    import keras
    from keras import layers

    # 8x8 images are too small for the second of its poolings after unpadded convolutions.
    padding = "same" if shape[0] < 10 else "valid"
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(32, (3, 3), activation="relu", padding=padding),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(64, (3, 3), activation="relu", padding=padding),
            layers.MaxPooling2D((2, 2)),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def cifar_cnn(shape: tuple[int, ...], classes: int) -> Any:
    """The network of tensorflow.org/tutorials/images/cnn, with a softmax in place of `from_logits`."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(32, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(64, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(64, (3, 3), activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(classes, activation="softmax"),
        ]
    )


#: For each data set: the tutorial's network, and its batch size.
TUTORIALS: dict[str, tuple[Callable[..., Any], int]] = {
    "digits": (mnist_convnet, 128),
    "mnist": (mnist_convnet, 128),
    "cifar10": (cifar_cnn, 32),
}


def read_folder(folder: Path) -> tuple[Any, Any]:
    """The images of class folders, float32 [n, height, width, channels] from 0 to 1, and their labels [n]."""
    from PIL import Image

    classes = sorted(path.name for path in folder.iterdir())
    images, labels = [], []
    for label, name in enumerate(classes):
        for file in sorted((folder / name).iterdir()):
            image = np.asarray(Image.open(file))
            images.append(image[..., None] if image.ndim == 2 else image)
            labels.append(label)
    return np.stack(images).astype(np.float32) / 255, np.array(labels)


def run_tutorial(images: Path, name: str, seed: int, seconds: float) -> dict[str, Any]:
    """Trains a tutorial's network for so many CPU seconds of this process.

    Returns:
        `accuracy` on the test images after the epoch with the best `validation` accuracy, and the `epochs`.
    """
    import keras
    from sklearn.model_selection import train_test_split

    keras.utils.set_random_seed(seed)
    make, batch = TUTORIALS[SETS[name][0]]
    pixels, labels = read_folder(images / "train")
    test_pixels, test_labels = read_folder(images / "test")
    train, held = train_test_split(np.arange(len(labels)), test_size=HELD_OUT, stratify=labels, random_state=seed)
    model = make(pixels.shape[1:], int(labels.max()) + 1)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    begin = sum(os.times()[:2])

    class Budget(keras.callbacks.Callback):
        best, weights, epochs = -1.0, None, 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if sum(os.times()[:2]) - begin > seconds:
                self.model.stop_training = True

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.epochs = epoch + 1
            if logs["val_accuracy"] > self.best:
                self.best, self.weights = logs["val_accuracy"], self.model.get_weights()

    budget = Budget()
    model.fit(
        pixels[train],
        labels[train],
        batch_size=batch,
        epochs=1_000_000,
        validation_data=(pixels[held], labels[held]),
        callbacks=[budget],
        verbose=0,
    )
    model.set_weights(budget.weights)
    _, accuracy = model.evaluate(test_pixels, test_labels, batch_size=256, verbose=0)
    return {"accuracy": accuracy, "validation": budget.best, "epochs": budget.epochs}


def measure_tutorial(images: Path, name: str, seed: int, seconds: float) -> dict[str, Any]:
    """`run_tutorial` in a process of its own."""
    code = "import json, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import measure_new as m; "
    code += "print(json.dumps(m.run_tutorial(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))))"
    arguments = [str(Path(__file__).parent), str(images), name, str(seed), str(seconds)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def show(line: str) -> None:
    """A line of the table, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Measures and prints a row for each set and seed."""
    options = parse_arguments()
    with tempfile.TemporaryDirectory() as temporary:
        place = (options.folder or Path(temporary)).absolute()
        place.mkdir(parents=True, exist_ok=True)
        show("| images | seed | cnnkit, test accuracy | CPU s | tutorial, test accuracy | epochs |")
        show("|---|---|---|---|---|---|")
        for name in options.sets:
            for seed in options.seeds:
                images = place / f"{name}-seed{seed}"
                if not images.exists():
                    make_folder(images, name, seed)
                if options.folders_only:
                    continue
                accuracy, seconds, _ = measure_cnnkit(images, place, seed)
                row = f"| {name} | {seed} | {accuracy:.2%} | {seconds:.0f} |"
                if not options.without_tutorial:
                    tutorial = measure_tutorial(images, name, seed, seconds)
                    row += f" {tutorial['accuracy']:.2%} | {tutorial['epochs']} |"
                show(row)


if __name__ == "__main__":
    main()
