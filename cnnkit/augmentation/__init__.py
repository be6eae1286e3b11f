"""Random changes to training images; `AUGMENTATIONS` maps the YAML names to their classes.

Left out on purpose: layers that change the size or the scale of images of every split alike (`CenterCrop`,
`Resizing`, `Rescaling`, `Normalization`) belong to `data` or `model`, and `MaxNumBoundingBoxes` is not needed.
"""

from cnnkit.augmentation.base import Augmentation, BoxError, MaskError, TargetError, shapes_in_training
from cnnkit.format.base import Table

__all__ = ["AUGMENTATIONS", "Augmentation", "BoxError", "MaskError", "TargetError", "shapes_in_training"]

_SIZE_HINT = (
    "it would change training images only; write `data.image_size: [height, width]` (and `data.resize`) instead"
)
_MODEL_HINT = "it must act on every split; write it as the first of `model.layers`, or use `data.normalization`"

AUGMENTATIONS = Table(
    kind="augmentation",
    listed=True,
    package="cnnkit.augmentation",
    modules={
        "geometry": (
            "RandomFlip",
            "RandomCrop",
            "RandomRotation",
            "RandomTranslation",
            "RandomZoom",
            "RandomShear",
            "RandomPerspective",
            "RandomElasticTransform",
        ),
        "color": (
            "RandomContrast",
            "RandomBrightness",
            "RandomHue",
            "RandomSaturation",
            "RandomColorJitter",
            "RandomColorDegeneration",
            "RandomSharpness",
            "RandomPosterization",
            "RandomGrayscale",
            "RandomInvert",
            "RandomGaussianBlur",
            "Solarization",
            "AutoContrast",
            "Equalization",
            "ContrastLimitedAdaptiveHistogramEqualization",
        ),
        "mixing": ("RandomErasing", "MixUp", "CutMix", "RandAugment", "AugMix"),
        "resizing": ("ProgressiveResizing",),
    },
    aliases={"CLAHE": "ContrastLimitedAdaptiveHistogramEqualization"},
    unavailable={
        "RandomHorizontalFlip": "write `RandomFlip: horizontal`",
        "RandomVerticalFlip": "write `RandomFlip: vertical`",
        "RandomSolarize": "write `Solarization`",
        "RandomAffine": "write `RandomRotation: 0.1`, `RandomTranslation` and `RandomShear` one after another",
        "RandomWidth": "write `RandomZoom: {height_factor: 0, width_factor: 0.1}`, which keeps the size",
        "RandomHeight": "write `RandomZoom: {height_factor: 0.1, width_factor: 0}`, which keeps the size",
        "AutoAugment": "the nearest is `RandAugment`",
        "TrivialAugment": "the nearest is `RandAugment: {num_ops: 1}`",
        "Normalize": _MODEL_HINT,
        "ToTensor": "leave it out; images reach the network as they are to",
        "CenterCrop": _SIZE_HINT,
        "Resizing": _SIZE_HINT,
        "Rescaling": _MODEL_HINT,
        "Normalization": _MODEL_HINT,
        "MaxNumBoundingBoxes": "leave it out; batches hold as many boxes as the image with most of them",
        "Cutout": "write `RandomErasing: {factor: [1, 1], fill_value: 0}`",
    },
)
