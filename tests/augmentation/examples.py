"""One sensible use of every augmentation, shared by the tests of this folder."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkit.augmentation import AUGMENTATIONS, Augmentation
from cnnkit.augmentation.pipeline import Pipeline
from cnnkit.format.base import Choice

ARGUMENTS: dict[str, Any] = {
    "RandomFlip": "horizontal",
    "RandomCrop": {"padding": 4},
    "RandomRotation": 0.1,
    "RandomTranslation": {"height_factor": 0.2, "width_factor": 0.2},
    "RandomZoom": 0.2,
    "RandomShear": {"x_factor": 0.2, "y_factor": 0.1},
    "RandomPerspective": [1, 1],
    "RandomElasticTransform": [1, 1],
    "RandomContrast": [0.3, 0.5],
    "RandomBrightness": 0.2,
    "RandomHue": 0.2,
    "RandomSaturation": [0.2, 0.9],
    "RandomColorJitter": {
        "brightness_factor": 0.1,
        "contrast_factor": 0.2,
        "saturation_factor": [0.4, 0.6],
        "hue_factor": 0.1,
    },
    "RandomColorDegeneration": 0.5,
    "RandomSharpness": 1.0,
    "RandomPosterization": [2, 7],
    "RandomGrayscale": 0.5,
    "RandomInvert": [0.5, 0.5],
    "RandomGaussianBlur": {"factor": [1, 1], "sigma": [0.3, 1]},
    "Solarization": {"addition_factor": 0.1, "threshold_factor": 0.5},
    "AutoContrast": None,
    "Equalization": None,
    "ContrastLimitedAdaptiveHistogramEqualization": None,
    "RandomErasing": [1, 1],
    "MixUp": 0.5,
    "CutMix": [1, 1],
    "RandAugment": None,
    "AugMix": None,
    "ProgressiveResizing": [{"size": 8, "epochs": 3}],
}
#: These are traced in a second or more, once for each case.
SLOW = {"RandAugment", "AugMix", "RandomElasticTransform", "ContrastLimitedAdaptiveHistogramEqualization"}
DETERMINISTIC = {"AutoContrast", "Equalization", "ContrastLimitedAdaptiveHistogramEqualization", "ProgressiveResizing"}
MIXING = {"MixUp", "CutMix"}
RANDOM = sorted(set(ARGUMENTS) - DETERMINISTIC)


def make(name: str, arguments: Any = None) -> Augmentation:
    """The augmentation that YAML's `name: arguments` means."""
    found = Choice(AUGMENTATIONS).validate({name: arguments})
    assert isinstance(found, Augmentation)
    return found


def example(name: str) -> Augmentation:
    return make(name, ARGUMENTS[name])


def random_images(count: int, size: int = 16, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Images of smooth random patterns between 20 and 220, as uint8."""
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(20, 220, (count, size // 4, size // 4, channels))
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2) + generator.uniform(-15, 15, (count, size, size, channels))
    return np.clip(fine, 20, 220).astype(np.uint8)


def augmented(
    pipeline: Pipeline, images: np.ndarray, labels: np.ndarray | None = None, epoch: int = 0, step: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels after a pipeline; by default, all images have one class."""
    labels = np.ones((len(images), 1), np.float32) if labels is None else labels
    changed = pipeline.apply_numpy({"images": images, "labels": labels}, epoch, step)
    return changed["images"], changed["labels"]


def one_hot(count: int) -> np.ndarray:
    """A class of its own for every image."""
    return np.eye(count, dtype=np.float32)
