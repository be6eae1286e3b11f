from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest
from pydantic_core import PydanticCustomError, PydanticUndefined

from cnnkit.augmentation import AUGMENTATIONS, Augmentation, shapes_in_training
from cnnkit.augmentation.pipeline import Pipeline
from cnnkit.format.shapes import ShapeError

from .examples import ARGUMENTS, augmented, example, make, random_images

#: Keras' arguments that the run decides.
FROM_THE_RUN = {"self", "seed", "data_format", "name", "kwargs"}


def keras_arguments(name: str) -> dict[str, Any]:
    import keras

    signature = inspect.signature(getattr(keras.layers, name).__init__)
    return {key: value.default for key, value in signature.parameters.items() if key not in FROM_THE_RUN}


def our_arguments(name: str) -> dict[str, Any]:
    fields = AUGMENTATIONS.get(name).model_fields  # type: ignore[union-attr]
    return {
        key: inspect.Parameter.empty if field.default is PydanticUndefined else field.default
        for key, field in fields.items()
    }


def messages(error: PydanticCustomError) -> str:
    return " ".join(item["msg"] for item in (error.context or {}).get("errors", [])) or error.message()


def test_every_image_layer_of_keras_is_there_or_has_a_reason() -> None:
    import keras

    # The nearest class that a layer which draws and one which does not have in common, and no other layers.
    image_layer = next(base for base in keras.layers.RandomFlip.__mro__ if issubclass(keras.layers.CenterCrop, base))
    assert not issubclass(keras.layers.Rescaling, image_layer)
    of_keras = {
        name for name, value in vars(keras.layers).items() if inspect.isclass(value) and issubclass(value, image_layer)
    }
    assert of_keras <= {*AUGMENTATIONS.names(), *AUGMENTATIONS.unavailable}
    assert set(ARGUMENTS) == set(AUGMENTATIONS.names())


@pytest.mark.parametrize("name", sorted({*AUGMENTATIONS.names()} - {"ProgressiveResizing"}))
def test_arguments_and_defaults_are_those_of_keras(name: str) -> None:
    ours = our_arguments(name)
    if name == "RandomCrop":
        assert keras_arguments(name).keys() == ours.keys() - {"padding", "fill_mode", "fill_value"}
    elif name == "RandomFlip":
        assert keras_arguments(name) | {"alternate": False} == ours
    else:
        assert ours == keras_arguments(name)


@pytest.mark.parametrize("name", AUGMENTATIONS.names())
def test_fields_are_described(name: str) -> None:
    for field in AUGMENTATIONS.get(name).model_fields.values():  # type: ignore[union-attr]
        assert field.description


FACTORS = [
    (name, field)
    for name in ARGUMENTS
    for field in our_arguments(name)
    if "factor" in field and name != "RandomPosterization"
] + [("RandomGaussianBlur", "sigma"), ("RandomErasing", "scale"), ("RandomPerspective", "scale"),
     ("RandomElasticTransform", "scale")]  # fmt: skip


@pytest.mark.parametrize(("name", "field"), FACTORS)
@pytest.mark.parametrize("value", [-1.01, -1.0, -0.5, 0.0, 0.5, 1.0, 1.01, "0.5"])
def test_a_factor_is_valid_where_keras_takes_it(name: str, field: str, value: Any) -> None:
    import keras

    needed = {key: 0.1 for key, default in our_arguments(name).items() if default is inspect.Parameter.empty}
    arguments = {**needed, field: value}
    try:
        getattr(keras.layers, name)(**arguments)
    except (ValueError, TypeError):
        with pytest.raises(PydanticCustomError):
            make(name, arguments)
    else:
        make(name, arguments)


@pytest.mark.parametrize("value", [0, 1, 3, 8, 9, [1, 8], [0, 3], [3, 9]])
def test_posterization_takes_one_to_eight_bits(value: Any) -> None:
    ends = value if isinstance(value, list) else [value]
    if all(1 <= end <= 8 for end in ends):
        assert make("RandomPosterization", value).to_plain() == {"RandomPosterization": {"factor": value}}
    else:
        with pytest.raises(PydanticCustomError) as caught:
            make("RandomPosterization", value)
        assert "from 1 to 8" in messages(caught.value)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("RandomRotation", [0.3, 0.1], "lower bound first"),
        ("RandomRotation", [0.1, 0.2, 0.3], "[low, high]"),
        ("RandomRotation", True, "got true"),
        ("RandomZoom", -1, "above -1 and up to 1"),
        ("RandomPosterization", 2.5, "whole number"),
        ("RandomContrast", {"factor": 0.1, "value_range": [255, 0]}, "the lower one first"),
        ("RandomGaussianBlur", {"kernel_size": 4}, "odd whole number"),
        ("RandomErasing", {"fill_value": [1, 2]}, "[red, green, blue]"),
        ("RandomCrop", None, "needs `padding`"),
        ("RandomCrop", {"padding": -1}, "from 0 to 65,536"),
        ("RandomCrop", 4, "takes its arguments by name"),
        ("RandomColorJitter", None, "at least one of"),
        ("RandomShear", None, "needs `x_factor` or `y_factor`"),
        ("CenterCrop", {"height": 8, "width": 8}, "data.image_size"),
        ("Rescaling", 0.1, "model.layers"),
        ("RandomFlp", None, "did you mean `RandomFlip`?"),
    ],
)
def test_mistakes_are_explained(name: str, arguments: Any, expected: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        make(name, arguments)
    assert expected in messages(caught.value)


def test_the_short_name_of_clahe_is_known() -> None:
    assert type(make("CLAHE", {"clip_limit": 2})) is AUGMENTATIONS.get("ContrastLimitedAdaptiveHistogramEqualization")


def shape_error(augmentation: Augmentation, shape: tuple[int, ...]) -> ShapeError | None:
    try:
        assert augmentation.output_shape(shape) == shape
    except ShapeError as error:
        return error
    return None


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_an_augmentation_takes_the_channels_that_its_layer_can_compute(name: str, channels: int) -> None:
    import tensorflow as tf

    augmentation = example(name)
    # Of these, each image draws another operation.
    images = random_images(16 if name in ("RandAugment", "AugMix") else 2, channels=channels)
    pipeline = Pipeline([augmentation], seed=0)
    refusal = shape_error(augmentation, images.shape[1:])
    try:
        changed, _ = augmented(pipeline, images)
    except (ValueError, tf.errors.OpError):
        assert refusal is not None
        assert f"{channels} (here: 16x16x{channels})" in refusal.message
    else:
        assert refusal is None
        assert changed.shape[1:] == augmentation.shapes(images.shape[1:])[0]


@pytest.mark.parametrize(
    ("name", "arguments", "shape", "argument", "expected"),
    [
        ("RandomCrop", {"height": 28, "width": 28}, (32, 32, 3), "height", "data.image_size"),
        ("RandomCrop", {"height": 32, "width": 28, "padding": 4}, (32, 32, 3), "width", "32x28"),
        ("RandomCrop", {"padding": 9, "fill_mode": "reflect"}, (8, 8, 1), "padding", "at most 8, got 9"),
        ("RandomCrop", {"padding": 8, "fill_mode": "mirror"}, (8, 8, 1), "padding", "at most 7, got 8"),
        ("RandomErasing", {"fill_value": [1, 2, 3]}, (8, 8, 1), "fill_value", "3 channels"),
        ("CLAHE", {"tile_grid_size": 20}, (8, 8, 1), "tile_grid_size", "at most 8"),
        ("RandomFlip", None, (10,), None, "height, width, channels"),
        ("RandomPerspective", None, (1, 8, 3), None, "at least 2x2"),
    ],
)
def test_shapes_that_do_not_fit_are_explained(
    name: str, arguments: Any, shape: tuple[int, ...], argument: str | None, expected: str
) -> None:
    with pytest.raises(ShapeError) as caught:
        make(name, arguments).output_shape(shape)
    assert caught.value.argument == argument
    assert expected in caught.value.message


def test_a_crop_may_name_the_size_that_the_images_have() -> None:
    assert make("RandomCrop", {"height": 32, "width": 24, "padding": [4, 0]}).output_shape((32, 24, 3)) == (
        32,
        24,
        3,
    )


def test_images_may_be_cropped_where_each_pixel_has_a_class() -> None:
    crop = make("RandomCrop", {"height": 160, "width": 200})
    assert crop.output_shape((180, 240, 3), per_pixel=True) == (160, 200, 3)
    assert make("RandomCrop", {"width": 200}).output_shape((180, 240, 3), per_pixel=True) == (180, 200, 3)
    padded = make("RandomCrop", {"height": 190, "width": 240, "padding": [5, 0]})
    assert padded.output_shape((180, 240, 3), per_pixel=True) == (190, 240, 3)
    with pytest.raises(ShapeError, match="validation images are never cropped"):
        crop.output_shape((180, 240, 3))
    crops = [example("RandomFlip"), crop, make("RandomCrop", {"height": 96})]
    assert shapes_in_training(crops, (180, 240, 3)) == ((96, 200, 3),)


@pytest.mark.parametrize(
    ("arguments", "argument", "expected"),
    [
        ({"height": 200, "width": 200}, "height", ["200x200", "180x240", "height: 180"]),
        ({"height": 180, "width": 256}, "width", ["180x256", "180x240", "width: 240"]),
        ({"height": 200, "padding": [5, 0]}, "height", ["200x240", "180x240", "height: 190", "with their padding"]),
    ],
)
def test_a_window_larger_than_the_image_is_explained(
    arguments: dict[str, Any], argument: str, expected: list[str]
) -> None:
    with pytest.raises(ShapeError) as caught:
        make("RandomCrop", arguments).output_shape((180, 240, 3), per_pixel=True)
    assert caught.value.argument == argument
    for text in expected:
        assert text in caught.value.message


def test_reading_augmentations_does_not_import_tensorflow() -> None:
    program = (
        "import sys; from cnnkit.augmentation import AUGMENTATIONS\n"
        "for name in AUGMENTATIONS.names(): AUGMENTATIONS.get(name).model_json_schema()\n"
        "AUGMENTATIONS.get('RandomFlip')().for_masks(255), AUGMENTATIONS.get('RandAugment')().for_masks(None)\n"
        "print([name for name in ('tensorflow', 'keras', 'numpy') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
