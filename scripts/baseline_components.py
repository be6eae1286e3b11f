"""What a classifier finds without having learned to detect: the connected parts of an image, each classified.

    cnnkit new mnist_fast -o mnist_fast.yaml
    cnnkit train mnist_fast.yaml --run-dir runs/mnist
    python scripts/baseline_components.py digits_boxes runs/mnist

Pixels above a grey value belong to something; what is connected (diagonals count) and large enough is cut out, brought
to MNIST's form (20 pixels, centred by its mass in 28x28) and classified by a run that has learned MNIST. Its box is the
part's, its score the class' probability. Grey value and smallest height are chosen on the validation
images. Prints the figures of the test images, measured as those of a detection are.
"""

from __future__ import annotations

import argparse
import itertools
import json
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import center_of_mass, label, shift

from cnnkit.config.data import DataConfig
from cnnkit.data import load
from cnnkit.data.boxes import BoxTargets
from cnnkit.runs.finding import find_run
from cnnkit.runs.trained import open_run
from cnnkit.tasks import task_named
from cnnkit.tasks.detection.peaks import Detections
from cnnkit.tasks.detection.precision import precisions
from cnnkit.terminal.console import echo

#: The grey values and the smallest heights that are tried.
GREYS = (60, 90, 120)
HEIGHTS = (8, 11)

#: Images that are classified together.
BATCH = 500


def as_mnist(part: Any) -> Any:
    """A part, float [height, width], in MNIST's form: uint8 [28, 28]."""
    height, width = part.shape
    scale = 20 / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = np.asarray(Image.fromarray(part.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR), np.float64)
    canvas = np.zeros((28, 28))
    top, left = (28 - resized.shape[0]) // 2, (28 - resized.shape[1]) // 2
    canvas[top : top + resized.shape[0], left : left + resized.shape[1]] = resized
    down, across = center_of_mass(canvas)
    # MNIST's strokes are as bright as can be.
    canvas = shift(canvas, (13.5 - down, 13.5 - across), order=1) * (255 / max(1.0, canvas.max()))
    return np.clip(canvas, 0, 255).astype(np.uint8)


def parts_of(image: Any, grey: int, smallest: int) -> tuple[list[Any], list[tuple[int, int, int, int]]]:
    """The parts of an image, [height, width], in MNIST's form, and their boxes: left, top, right, bottom."""
    numbers, count = label(image > grey, np.ones((3, 3)))
    parts, boxes = [], []
    for number in range(1, count + 1):
        inside = numbers == number
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        if bottom - top >= smallest:
            parts.append(as_mnist(np.where(inside, image, 0)[top:bottom, left:right]))
            boxes.append((left, top, right, bottom))
    return parts, boxes


def detect(images: Any, network: Any, grey: int, smallest: int) -> list[Detections]:
    """What is found in images, [n, height, width]: every part as the likeliest digit."""
    each = [parts_of(image, grey, smallest) for image in images]
    parts = [part for found, _ in each for part in found]
    batches = [np.stack(parts[start : start + BATCH])[..., np.newaxis] for start in range(0, len(parts), BATCH)]
    shares = np.concatenate([np.asarray(network(batch)) for batch in batches]) if batches else np.zeros((0, 10))
    found, start = [], 0
    for _, boxes in each:
        own = shares[start : start + len(boxes)]
        start += len(boxes)
        order = np.argsort(-own.max(axis=1, initial=0), kind="stable")
        places = np.array(boxes, np.float64).reshape(-1, 4)[order]
        found.append(
            Detections(places, own.max(axis=1, initial=0)[order].astype(np.float64), own.argmax(axis=1)[order])
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", help="of `make_detection_data.py`")
    parser.add_argument("run", help="one that has learned MNIST's digits")
    arguments = parser.parse_args()
    trained = open_run(find_run(arguments.run))
    trained.request_settings()
    network = trained.network()[0]
    data = load(DataConfig.model_validate({"folder": arguments.folder}), 0, task_named("detection"))
    figures = {}
    for name in ("validation", "test"):
        split = getattr(data, name)
        assert isinstance(split.targets, BoxTargets)
        images, truths = split.read(range(split.size))[..., 0], split.targets.each()
        if name == "validation":
            settings = list(itertools.product(GREYS, HEIGHTS))
            values = [precisions(detect(images, network, *one), truths, 10, 100).mean() for one in settings]
            best = settings[int(np.argmax(values))]
            continue
        result = precisions(detect(images, network, *best), truths, 10, 100)
        figures = {"grey": best[0], "smallest_height": best[1], "images": split.size}
        figures |= {"map": result.mean(), "map_50": result.mean(0), "map_75": result.mean(5)}
    echo(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
