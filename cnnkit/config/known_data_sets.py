"""Shape and classes of common data sets, so that a config is checked before anything is loaded.

Names, shapes and labels are those of TensorFlow Datasets 4.9 (and of scikit-learn for `digits`); a test
compares each entry with them.
"""

from __future__ import annotations

from typing import NamedTuple


class Known(NamedTuple):
    """One data set: (height, width, channels), where None stands for sizes that differ between images."""

    shape: tuple[int | None, int | None, int]
    classes: int
    class_names: tuple[str, ...] | None = None


class KnownMasks(NamedTuple):
    """One data set of images with a mask each.

    Attributes:
        shape: As of `Known`.
        feature: What the set calls its masks.
        class_names: In the order of the numbers in them.
        first: The number of the first class; a config counts them from 0.
    """

    shape: tuple[int | None, int | None, int]
    feature: str
    class_names: tuple[str, ...]
    first: int = 0


class KnownTexts(NamedTuple):
    """One data set of texts.

    Attributes:
        features: Those that are texts to learn from.
        label: The feature of the classes, where a config names none.
        class_names: In the order of their numbers.
    """

    features: tuple[str, ...]
    label: str
    class_names: tuple[str, ...]


class KnownBoxes(NamedTuple):
    """One data set of images with a box around each object.

    Attributes:
        shape, classes, class_names: As of `Known`.
        first: The number of an image's first pixel, which a box's left and upper edges name: VOC counts from 1.
    """

    shape: tuple[int | None, int | None, int]
    classes: int
    class_names: tuple[str, ...] | None = None
    first: int = 0


_DIGITS = tuple("0123456789")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_IMAGENETTE = (
    "n01440764",
    "n02102040",
    "n02979186",
    "n03000684",
    "n03028079",
    "n03394916",
    "n03417042",
    "n03425413",
    "n03445777",
    "n03888257",
)
_FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_EUROSAT = (
    "AnnualCrop",
    "Forest",
    "HerbaceousVegetation",
    "Highway",
    "Industrial",
    "Pasture",
    "PermanentCrop",
    "Residential",
    "River",
    "SeaLake",
)
_HISTOLOGY = ("tumor", "stroma", "complex", "lympho", "debris", "mucosa", "adipose", "empty")

KNOWN: dict[str, Known] = {
    "digits": Known((8, 8, 1), 10, _DIGITS),
    "mnist": Known((28, 28, 1), 10, _DIGITS),
    "fashion_mnist": Known((28, 28, 1), 10, _FASHION),
    "kmnist": Known((28, 28, 1), 10, ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
    "emnist/balanced": Known((28, 28, 1), 47),
    "emnist/byclass": Known((28, 28, 1), 62),
    "emnist/bymerge": Known((28, 28, 1), 47),
    "emnist/digits": Known((28, 28, 1), 10, _DIGITS),
    "emnist/letters": Known((28, 28, 1), 37),
    "emnist/mnist": Known((28, 28, 1), 10, _DIGITS),
    "cifar10": Known((32, 32, 3), 10, _CIFAR10),
    "cifar10_1": Known((32, 32, 3), 10, _CIFAR10),
    "cifar100": Known((32, 32, 3), 100),
    "svhn_cropped": Known((32, 32, 3), 10, _DIGITS),
    "stl10": Known(
        (96, 96, 3),
        10,
        ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
    ),
    "eurosat/rgb": Known((64, 64, 3), 10, _EUROSAT),
    "imagenette/full-size-v2": Known((None, None, 3), 10, _IMAGENETTE),
    "imagenette/320px-v2": Known((None, None, 3), 10, _IMAGENETTE),
    "imagenette/160px-v2": Known((None, None, 3), 10, _IMAGENETTE),
    "imagenet_resized/8x8": Known((8, 8, 3), 1000),
    "imagenet_resized/16x16": Known((16, 16, 3), 1000),
    "imagenet_resized/32x32": Known((32, 32, 3), 1000),
    "imagenet_resized/64x64": Known((64, 64, 3), 1000),
    "imagenet2012": Known((None, None, 3), 1000),
    "tf_flowers": Known((None, None, 3), 5, ("dandelion", "daisy", "tulips", "sunflowers", "roses")),
    "cats_vs_dogs": Known((None, None, 3), 2, ("cat", "dog")),
    "beans": Known((500, 500, 3), 3, ("angular_leaf_spot", "bean_rust", "healthy")),
    "rock_paper_scissors": Known((300, 300, 3), 3, ("rock", "paper", "scissors")),
    "horses_or_humans": Known((300, 300, 3), 2, ("horses", "humans")),
    "food101": Known((None, None, 3), 101),
    "oxford_flowers102": Known((None, None, 3), 102),
    "oxford_iiit_pet": Known((None, None, 3), 37),
    "caltech101": Known((None, None, 3), 102),
    "stanford_dogs": Known((None, None, 3), 120),
    "cars196": Known((None, None, 3), 196),
    "binary_alpha_digits": Known((20, 16, 1), 36),
    "cmaterdb/bangla": Known((32, 32, 3), 10, _DIGITS),
    "cmaterdb/devanagari": Known((32, 32, 3), 10, _DIGITS),
    "cmaterdb/telugu": Known((32, 32, 3), 10, _DIGITS),
    "malaria": Known((None, None, 3), 2, ("parasitized", "uninfected")),
    "patch_camelyon": Known((96, 96, 3), 2),
    "colorectal_histology": Known((150, 150, 3), 8, _HISTOLOGY),
    "uc_merced": Known((None, None, 3), 21),
    "resisc45": Known((256, 256, 3), 45),
    "deep_weeds": Known((256, 256, 3), 9),
    "places365_small": Known((256, 256, 3), 365),
    "cassava": Known((None, None, 3), 5, ("cbb", "cbsd", "cgm", "cmd", "healthy")),
    "plant_village": Known((None, None, 3), 38),
    "citrus_leaves": Known((None, None, 3), 4, ("Black spot", "canker", "greening", "healthy")),
    "quickdraw_bitmap": Known((28, 28, 1), 345),
}

#: Those that have masks, too. Pets: 1 is the animal, 2 what is around it, 3 "not classified", its outline
#: (https://www.robots.ox.ac.uk/~vgg/data/pets/).
KNOWN_MASKS: dict[str, KnownMasks] = {
    "oxford_iiit_pet": KnownMasks((None, None, 3), "segmentation_mask", ("pet", "background", "outline"), first=1),
}

#: Sets of texts. A label that is missing, as in the test split of `glue` and in `unsupervised`, is -1.
KNOWN_TEXTS: dict[str, KnownTexts] = {
    "imdb_reviews/plain_text": KnownTexts(("text",), "label", ("neg", "pos")),
    "ag_news_subset": KnownTexts(("description", "title"), "label", ("World", "Sports", "Business", "Sci/Tech")),
    "yelp_polarity_reviews": KnownTexts(("text",), "label", ("1", "2")),
    "glue/sst2": KnownTexts(("sentence",), "label", ("negative", "positive")),
    "glue/cola": KnownTexts(("sentence",), "label", ("unacceptable", "acceptable")),
    "trec": KnownTexts(("text",), "label-coarse", ("DESC", "ENTY", "ABBR", "HUM", "NUM", "LOC")),
}

_VOC = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)

#: Those that have boxes. The names of COCO's classes come with its annotations.
KNOWN_BOXES: dict[str, KnownBoxes] = {
    "voc/2007": KnownBoxes((None, None, 3), 20, _VOC, first=1),
    "voc/2012": KnownBoxes((None, None, 3), 20, _VOC, first=1),
    "coco/2014": KnownBoxes((None, None, 3), 80),
    "coco/2017": KnownBoxes((None, None, 3), 80),
}

#: What TFDS takes where a set of several configurations is named without one.
DEFAULT_CONFIGURATIONS = {
    "emnist": "byclass",
    "eurosat": "rgb",
    "imagenette": "full-size-v2",
    "imagenet_resized": "8x8",
    "cmaterdb": "bangla",
    "voc": "2007",
    "coco": "2014",
    "imdb_reviews": "plain_text",
    "glue": "cola",
}
