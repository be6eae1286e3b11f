"""What the files next to a prepared TFDS data set say of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnkit.config.data import DataProblem
from cnnkit.config.known_data_sets import KnownMasks
from cnnkit.format.similar import suggestion
from cnnkit.terminal.printable import printable


def read_prepared(folder: Path) -> dict[str, Any]:
    """What `dataset_info.json` and `features.json` of a prepared set say.

    Returns:
        `image` and `label` (feature keys), `is_supervised` (whether the set itself says which these are), `shape`
        (None for a size that differs), `dtype`, `classes` (None where the label is no class label), `class_names`
        (or None) and `splits` (images of each).

    Raises:
        DataProblem: if the set is not one of labelled images.
    """
    info, features, keys = _read(folder)
    is_supervised = len(keys) >= 2 and None not in keys[:2]
    image_key, label_key = keys[:2] if is_supervised else ("image", "label")
    image = features.get(image_key, {}).get("image")
    label = features.get(label_key, {})
    if image is None or not ("classLabel" in label or "tensor" in label):
        texts = _text_features(features)
        raise DataProblem(
            f"`{info.get('name', folder)}` is not a data set of labelled images (its features are "
            f"{', '.join(sorted(features))})" + (f"; to learn from texts, add `text: {texts[0]}`" if texts else ""),
            "name",
        )
    classes, names = _classes(folder, label_key, label)
    return {
        "image": image_key,
        "label": label_key,
        "is_supervised": is_supervised,
        "shape": _shape(image),
        "dtype": image.get("dtype", "uint8"),
        "classes": classes,
        "class_names": names,
        "splits": _splits(info),
    }


def read_prepared_texts(folder: Path, feature: str, label: str | None = None) -> dict[str, Any]:
    """The same of a set of texts.

    Args:
        feature: The feature of the texts.
        label: That of the classes; by default the one that the set calls so, else `label`.

    Returns:
        `text` and `label` (feature keys), `classes`, `class_names` and `splits`, as `read_prepared`.

    Raises:
        DataProblem: if the set has no such features.
    """
    info, features, keys = _read(folder)
    name = info.get("name", folder)
    texts = _text_features(features)
    if feature not in texts:
        raise DataProblem(
            f"`{name}` has no feature `{feature}` of texts{suggestion(feature, texts)}"
            + ("" if texts else f"; its features are {', '.join(sorted(features))}"),
            "text",
        )
    if (folder / f"{feature}.text.subwords").exists() or (folder / f"{feature}.text.bytes").exists():
        raise DataProblem(
            f"`{name}` has numbers in the place of the texts in `{feature}`; take a configuration of plain text",
            "name",
        )
    label_key = label or (keys[1] if len(keys) >= 2 and keys[1] is not None else "label")
    written = features.get(label_key, {})
    if not _is_label(written):
        labels = [one for one, said in features.items() if _is_label(said)]
        advice = " (`target:` names another)" if labels else ""
        raise DataProblem(
            f"`{name}` has no feature `{label_key}` of classes{suggestion(label_key, labels)}{advice}",
            "target" if label else "name",
        )
    classes, names = _classes(folder, label_key, written)
    return {"text": feature, "label": label_key, "classes": classes, "class_names": names, "splits": _splits(info)}


def text_feature_of(folder: Path) -> str | None:
    """The feature of the texts of a prepared set: its input, else its first; None of other sets."""
    _, features, keys = _read(folder)
    if any("image" in feature for feature in features.values()):
        return None
    texts = _text_features(features)
    return next((key for key in keys[:1] if key in texts), next(iter(texts), None))


def _text_features(features: Mapping[str, Any]) -> list[str]:
    """The features that are a text each."""
    return [name for name, feature in features.items() if "text" in feature or _tensor_type(feature) == "string"]


def _is_label(feature: Mapping[str, Any]) -> bool:
    return "classLabel" in feature or _tensor_type(feature).startswith(("int", "uint"))


def _tensor_type(feature: Mapping[str, Any]) -> str:
    """The type of a feature that is a number or a string; empty where it is neither."""
    tensor = feature.get("tensor")
    return "" if tensor is None or tensor.get("shape", {}).get("dimensions") else str(tensor.get("dtype", ""))


def _classes(folder: Path, key: str, label: Mapping[str, Any]) -> tuple[int | None, tuple[str, ...] | None]:
    """How many classes a feature has, and their names; None for what the set does not say."""
    classes = int(label.get("classLabel", {}).get("numClasses", 0)) or None
    file = folder / f"{key}.labels.txt"
    names = None
    if file.is_file():
        names = tuple(printable(line) for line in file.read_text("utf-8").split("\n") if line)
    return classes, names if names and len(names) == classes else None


def read_prepared_masks(folder: Path, known: KnownMasks | None = None) -> dict[str, Any]:
    """The same of a set whose images come with a mask each: `label` is the feature of the masks.

    That is the one that `known` names, else the only other feature of images with one channel.

    Returns:
        As `read_prepared`, without names of classes, and `first`: the number in masks of the first class.

    Raises:
        DataProblem: if the set has no masks, or several features that may be.
    """
    info, features, keys = _read(folder)
    images = {name: feature["image"] for name, feature in features.items() if "image" in feature}
    image_key = keys[0] if keys and keys[0] in images else "image"
    masks = [name for name, image in images.items() if name != image_key and _shape(image)[2] == 1]
    if known is not None:
        masks = [name for name in masks if name == known.feature]
    if image_key not in images or len(masks) != 1:
        several = f"several ({', '.join(masks)})" if masks else "none"
        raise DataProblem(
            f"`{info.get('name', folder)}` is not a data set of images with masks: of features that are images of one "
            f"channel, one is expected beside `{image_key}`, and it has {several}; its features are "
            f"{', '.join(sorted(features))}",
            "name",
        )
    image = images[image_key]
    return {
        "image": image_key,
        "label": masks[0],
        "is_supervised": True,
        "shape": _shape(image),
        "dtype": image.get("dtype", "uint8"),
        "classes": None,
        "class_names": None,
        "splits": _splits(info),
        "first": 0 if known is None else known.first,
    }


def read_prepared_boxes(folder: Path) -> dict[str, Any]:
    """The same of a set whose images come with a box around each object, in the only feature of such.

    Returns:
        As `read_prepared`: `label` is the feature of the classes, such as `objects/label`; and `box` that of the boxes,
        `crowd` that of crowds and of what is hard to see, or None.

    Raises:
        DataProblem: if the set has no boxes, or several features that may be.
    """
    info, features, keys = _read(folder)
    image_key = keys[0] if keys and "image" in features.get(keys[0], {}) else "image"
    found = [(name, inner) for name, inner in _sequences(features).items() if _has_boxes(inner)]
    if "image" not in features.get(image_key, {}) or len(found) != 1:
        several = f"several ({', '.join(name for name, _ in found)})" if found else "none"
        raise DataProblem(
            f"`{info.get('name', folder)}` is not a data set of images with boxes: one feature of objects with a box "
            f"and a class is expected, and it has {several}; its features are {', '.join(sorted(features))}",
            "name",
        )
    ((objects, inner),) = found
    label = next(name for name in _LABELS_OF_BOXES if "classLabel" in inner.get(name, {}))
    box = next(name for name, feature in inner.items() if "boundingBox" in feature)
    crowd = next((name for name in ("is_crowd", "is_difficult", "is_group_of") if name in inner), None)
    names_file = folder / f"{objects}-{label}.labels.txt"
    names = None
    if names_file.is_file():
        names = tuple(printable(line) for line in names_file.read_text("utf-8").split("\n") if line)
    return {
        "image": image_key,
        "label": f"{objects}/{label}",
        "box": f"{objects}/{box}",
        "crowd": None if crowd is None else f"{objects}/{crowd}",
        "is_supervised": True,
        "shape": _shape(features[image_key]["image"]),
        "dtype": features[image_key]["image"].get("dtype", "uint8"),
        "classes": int(inner[label]["classLabel"].get("numClasses", 0)) or None,
        "class_names": names,
        "splits": _splits(info),
    }


#: What the classes of objects are called.
_LABELS_OF_BOXES = ("label", "type")


def _sequences(features: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The features of what there may be any number of in an image, each with its parts."""
    parts = {name: feature.get("sequence", {}).get("feature", {}) for name, feature in features.items()}
    return {name: part.get("featuresDict", {}).get("features", {}) for name, part in parts.items()}


def _has_boxes(parts: Mapping[str, Any]) -> bool:
    """Whether parts are those of an object: one box, as shares (upper, left, lower, right), and a class."""
    boxes = [part["boundingBox"] for part in parts.values() if "boundingBox" in part]
    formats = [box.get("bboxFormat", "REL_YXYX") for box in boxes]
    return formats == ["REL_YXYX"] and any("classLabel" in parts.get(name, {}) for name in _LABELS_OF_BOXES)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any], list[Any]]:
    """`dataset_info.json`, the features by name, and those that the set calls input and target."""
    info = json.loads((folder / "dataset_info.json").read_text("utf-8"))
    features = json.loads((folder / "features.json").read_text("utf-8"))
    items = info.get("supervisedKeys", {}).get("tuple", {}).get("items", [])
    return (
        info,
        features.get("featuresDict", {}).get("features", {}),
        [item.get("featureKey") for item in items],
    )


def _shape(image: Mapping[str, Any]) -> tuple[int | None, int | None, int]:
    """(height, width, channels) of a feature that is an image; None for a size that differs."""
    dimensions = [int(size) for size in image.get("shape", {}).get("dimensions", [])]
    height, width, channels = [size if size > 0 else None for size in dimensions] or (None, None, 3)
    return height, width, channels or 3


def _splits(info: Mapping[str, Any]) -> dict[str, int]:
    """The records of each split."""
    return {
        split["name"]: sum(int(length) for length in split.get("shardLengths", [])) for split in info.get("splits", [])
    }
