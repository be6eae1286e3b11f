"""Masks move with their images: each augmentation with an image as its own mask, and against SciPy and NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.ndimage import affine_transform

from cnnkit.augmentation import Augmentation, MaskError
from cnnkit.augmentation.pipeline import Pipeline
from cnnkit.format.seeds import derive_seed

from .examples import ARGUMENTS, augmented, example, make, one_hot, random_images

IGNORE = 255
REFUSED = {"MixUp", "AugMix", "ProgressiveResizing"}
FLIPS_AND_CROPS = {"RandomFlip", "RandomCrop"}
INTERPOLATING = {
    *("RandomRotation", "RandomTranslation", "RandomZoom", "RandomShear"),
    *("RandomPerspective", "RandomElasticTransform"),
}
#: What moves images and masks alike, whatever it draws.
MOVING = sorted(FLIPS_AND_CROPS | INTERPOLATING | {"CutMix"})
STAYING = sorted(set(ARGUMENTS) - {*MOVING, *REFUSED, "RandAugment"})


def patches(count: int = 8, height: int = 12, width: int = 16, seed: int = 0) -> np.ndarray:
    """Images of 4x4 patches, whose grey values, 0 to 10, are class ids: their own masks."""
    ids = np.random.default_rng(seed).integers(0, 11, (count, height // 4, width // 4, 1))
    return ids.astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)


def moved(
    augmentation: Augmentation, masks: np.ndarray, images: np.ndarray | None = None, *, ignore: int | None = IGNORE,
    seed: int = 0, epoch: int = 0, step: int = 0,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Images (by default the masks themselves) and masks after an augmentation."""
    pipeline = Pipeline([augmentation], seed, masks=True, ignore=ignore)
    batch = {"images": masks if images is None else images, "segmentation_masks": masks}
    changed = pipeline.apply_numpy(batch, epoch, step)
    return changed["images"], changed["segmentation_masks"]


def exactly(name: str, **arguments: Any) -> Augmentation:
    """The example of a class with further arguments; where it interpolates, images are as exact as masks are."""
    written = {**example(name).arguments(), **arguments}
    return make(name, {**written, "interpolation": "nearest"} if name in INTERPOLATING else written)


@pytest.mark.parametrize("name", MOVING)
def test_an_image_stays_its_own_mask(name: str) -> None:
    masks = patches(8)
    images, changed = moved(exactly(name), masks)
    assert changed.dtype == np.uint8
    assert (changed != masks).mean() > 0.02
    counts = changed != IGNORE
    assert counts.mean() > 0.5
    np.testing.assert_array_equal(images[counts], changed[counts])


@pytest.mark.parametrize("name", sorted(INTERPOLATING - {"RandomPerspective"} | {"RandomCrop"}))
@pytest.mark.parametrize("fill_mode", ["constant", "reflect", "other"])
def test_what_comes_from_outside_is_ignored_or_repeats_image_and_mask(name: str, fill_mode: str) -> None:
    if fill_mode == "other":
        fill_mode = "mirror" if name == "RandomCrop" else "wrap"
    masks = patches(6)
    fill_value = {"fill_value": 77} if fill_mode == "constant" else {}
    images, changed = moved(exactly(name, fill_mode=fill_mode, **fill_value), masks)
    outside = changed == IGNORE
    assert outside.any() == (fill_mode == "constant")
    np.testing.assert_array_equal(images[~outside], changed[~outside])
    assert (images[outside] == 77).all()


@pytest.mark.parametrize("name", sorted(INTERPOLATING))
def test_a_mask_lies_on_its_interpolated_image(name: str) -> None:
    """Within patches, where there is nothing to interpolate, bilinear images have the values of their masks."""
    masks = patches(6, 24, 32)
    padded = np.pad(masks, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    around = [padded[:, y : y + 24, x : x + 32] for y in range(3) for x in range(3)]
    # A second channel tells which pixels have no other patch beside them.
    inner = np.all([neighbour == masks for neighbour in around], axis=0)
    images, changed = moved(example(name), masks, np.concatenate([masks, inner * np.uint8(200)], axis=-1))
    inside = images[..., 1] > 199.9
    assert inside.mean() > 0.1
    assert len(np.unique(changed[inside])) == 11
    np.testing.assert_allclose(images[inside][:, 0], changed[inside][:, 0], atol=0.05)
    assert (np.abs(images - np.rint(images)) > 0.1).any()


def by_scipy(masks: np.ndarray, matrix: np.ndarray, offset: np.ndarray, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Masks moved by SciPy, the same way each; and which pixels do not lie halfway between two."""
    lines = [
        affine_transform(mask[..., 0], matrix, offset, order=0, mode=mode, cval=IGNORE)[..., np.newaxis]
        for mask in masks
    ]
    grid = np.stack(np.meshgrid(*map(np.arange, masks.shape[1:3]), indexing="ij"), axis=-1)
    coordinates = grid @ matrix.T + offset
    clear = (np.abs(coordinates - np.floor(coordinates) - 0.5) > 1e-3).all(axis=-1)
    return np.stack(lines), np.broadcast_to(clear[np.newaxis, :, :, np.newaxis], masks.shape)


HEIGHT, WIDTH = 24, 32
CENTRE = np.array([(HEIGHT - 1) / 2, (WIDTH - 1) / 2])


def about_the_centre(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return matrix, CENTRE - matrix @ CENTRE


def turned(share: float) -> tuple[np.ndarray, np.ndarray]:
    """Counter-clockwise, where rows count downwards."""
    cosine, sine = np.cos(2 * np.pi * share), np.sin(2 * np.pi * share)
    return about_the_centre(np.array([[cosine, sine], [-sine, cosine]]))


#: Augmentations that draw the same for each image; and matrix and offset from a pixel (row, column) of the result to
#: where it comes from.
KNOWN: list[tuple[Augmentation, tuple[np.ndarray, np.ndarray]]] = [
    (
        make("RandomTranslation", {"height_factor": [0.14, 0.14], "width_factor": [-0.2, -0.2]}),
        (np.eye(2), np.array([-0.14 * HEIGHT, 0.2 * WIDTH])),
    ),
    (make("RandomRotation", [0.06, 0.06]), turned(0.06)),
    (make("RandomRotation", [-0.25, -0.25]), turned(-0.25)),
    (
        make("RandomZoom", {"height_factor": [0.3, 0.3], "width_factor": [-0.4, -0.4]}),
        about_the_centre(np.diag([1.3, 0.6])),
    ),
]


@pytest.mark.parametrize(("augmentation", "geometry"), KNOWN)
@pytest.mark.parametrize(("fill_mode", "mode"), [("constant", "grid-constant"), ("reflect", "reflect")])
def test_masks_move_as_scipy_moves_them(
    augmentation: Augmentation, geometry: tuple[np.ndarray, np.ndarray], fill_mode: str, mode: str
) -> None:
    masks = patches(3, HEIGHT, WIDTH)
    augmentation = make(type(augmentation).__name__, {**augmentation.arguments(), "fill_mode": fill_mode})
    _, changed = moved(augmentation, masks)
    expected, clear = by_scipy(masks, *geometry, mode)
    assert clear.mean() > 0.7
    np.testing.assert_array_equal(changed[clear], expected[clear])


def test_a_sheared_mask_is_scipys_either_way() -> None:
    masks = patches(16, HEIGHT, WIDTH)
    arguments = {"x_factor": [0.3, 0.3], "y_factor": [0.17, 0.17], "fill_mode": "constant"}
    _, changed = moved(make("RandomShear", arguments), masks)
    ways = [by_scipy(masks, np.eye(2) + sign * np.array([[0, 0.17], [0.3, 0]]), 0, "grid-constant") for sign in (1, -1)]
    fits = np.array([[(changed[i] == way[i])[clear[i]].all() for way, clear in ways] for i in range(16)])
    assert (fits.sum(axis=1) == 1).all()
    assert 2 < fits[:, 0].sum() < 14


def homography(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The 3x3 matrix that takes four points (x, y) to four others."""
    rows, values = [], []
    for (x, y), (u, v) in zip(sources, targets, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.append(np.linalg.solve(np.array(rows), np.array(values)), 1).reshape(3, 3)


def test_a_mask_in_perspective_has_its_corners_where_they_were_drawn() -> None:
    from cnnkit.augmentation.keras_layers import SeedStream, drive

    masks = patches(8, HEIGHT, WIDTH)
    augmentation = make("RandomPerspective", {"factor": [1, 1], "scale": 0.4})
    _, changed = moved(augmentation, masks, seed=3)
    layer = augmentation.build()
    path = ("augmentation", "RandomPerspective", 0)
    stream = SeedStream((derive_seed(3, *path, 0), derive_seed(3, *path, 1)))
    drive(layer, stream)
    stream.start(0, 0, np.arange(8))
    drawn = layer.get_random_transformation(masks.astype(np.float32))
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    for index, mask in enumerate(masks):
        corners = [np.asarray(drawn[name])[index].astype(float) for name in ("start_points", "end_points")]
        ways = []
        for sources, targets in (corners, corners[::-1]):
            u, v, w = np.moveaxis(np.stack([xs, ys, np.ones_like(xs)], axis=-1) @ homography(sources, targets).T, -1, 0)
            x, y = u / w, v / w
            clear = (np.abs(x - np.floor(x) - 0.5) > 1e-2) & (np.abs(y - np.floor(y) - 0.5) > 1e-2)
            column, row = np.rint(x).astype(int), np.rint(y).astype(int)
            inside = (row >= 0) & (row < HEIGHT) & (column >= 0) & (column < WIDTH)
            expected = np.where(inside, mask[row.clip(0, HEIGHT - 1), column.clip(0, WIDTH - 1), 0], IGNORE)
            ways.append((changed[index, ..., 0] == expected)[clear].all())
        assert sum(ways) == 1


@pytest.mark.parametrize("mode", ["horizontal", "vertical"])
def test_a_flipped_mask_is_numpys(mode: str) -> None:
    masks = patches(32)
    _, changed = moved(make("RandomFlip", mode), masks)
    mirrored = np.flip(masks, 2 if mode == "horizontal" else 1)
    sides = [np.array_equal(new, flip) for new, flip in zip(changed, mirrored, strict=True)]
    kept = [np.array_equal(new, old) for new, old in zip(changed, masks, strict=True)]
    assert all(side or keep for side, keep in zip(sides, kept, strict=True))
    assert 6 < sum(sides) < 26


@st.composite
def moving(draw: Any) -> Augmentation:
    """Any geometric augmentation with any arguments, whose fill value is that of masks."""

    def factor(low: float, high: float) -> Any:
        ends = sorted(draw(st.tuples(*[st.floats(low, high, width=16)] * 2)))
        return draw(st.sampled_from([ends, ends[1]]))

    name = draw(st.sampled_from(sorted(INTERPOLATING)))
    factors = {
        "RandomRotation": {"factor": (-1, 1)},
        "RandomTranslation": {"height_factor": (-1, 1), "width_factor": (-1, 1)},
        "RandomZoom": {"height_factor": (-0.875, 1), "width_factor": (-0.875, 1)},
        "RandomShear": {"x_factor": (0, 1), "y_factor": (0, 1)},
        "RandomPerspective": {"factor": (0, 1)},
        "RandomElasticTransform": {"factor": (0, 1), "scale": (0, 1)},
    }[name]
    arguments: dict[str, Any] = {key: factor(*ends) for key, ends in factors.items()}
    if name == "RandomPerspective":
        arguments["scale"] = draw(st.floats(0, 1, width=16))
    else:
        arguments["fill_mode"] = draw(st.sampled_from(["constant", "reflect", "wrap", "nearest"]))
    interpolation = draw(st.sampled_from(["nearest", "bilinear"]))
    return make(name, {**arguments, "fill_value": IGNORE, "interpolation": interpolation})


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(augmentation=moving(), height=st.integers(2, 9), width=st.integers(2, 9), seed=st.integers(0, 9))
def test_whatever_moves_an_image_moves_its_mask(augmentation: Any, height: int, width: int, seed: int) -> None:
    masks = np.random.default_rng(seed).choice([0, 3, 11, 254], (2, height, width, 1)).astype(np.uint8)
    images, changed = moved(augmentation, masks, seed=seed)
    assert changed.dtype == np.uint8
    assert changed.shape == masks.shape
    assert set(np.unique(changed)) <= {*np.unique(masks), IGNORE}
    if augmentation.interpolation == "nearest":
        np.testing.assert_array_equal(images, changed)


@pytest.mark.parametrize("name", STAYING)
def test_a_change_of_colours_leaves_masks_alone(name: str) -> None:
    masks = patches(8, 16, 16)
    images, changed = moved(example(name), masks, random_images(8))
    np.testing.assert_array_equal(changed, masks)
    assert changed.dtype == np.uint8
    assert np.abs(images - random_images(8).astype(np.float32)).max() > 1


def test_a_pasted_rectangle_brings_its_mask() -> None:
    """Three channels, of which a mask has one."""
    masks = patches(16)
    images, changed = moved(make("CutMix", [1, 1]), masks, masks.repeat(3, axis=-1))
    np.testing.assert_array_equal(images, changed.repeat(3, axis=-1))
    assert sum(not np.array_equal(*pair) for pair in zip(changed, masks, strict=True)) > 8


def test_of_rand_augments_operations_those_that_move_an_image_move_its_mask() -> None:
    masks = patches(60)
    augmentation = make("RandAugment", {"num_ops": 1, "interpolation": "nearest"})
    images, changed = moved(augmentation, masks)
    moves = [not np.array_equal(*pair) for pair in zip(changed, masks, strict=True)]
    # Shear, translation and rotation of eleven.
    assert 8 < sum(moves) < 26
    np.testing.assert_array_equal(images[moves], changed[moves])
    assert set(np.unique(changed)) <= set(np.unique(masks))


@pytest.mark.parametrize("name", sorted(set(ARGUMENTS) - REFUSED))
def test_an_image_changes_as_it_does_without_a_mask(name: str) -> None:
    images = random_images(4)
    with_masks, _ = moved(example(name), patches(4, 16, 16), images, seed=4, epoch=2, step=3)
    without, _ = augmented(Pipeline([example(name)], 4), images, one_hot(4), 2, 3)
    np.testing.assert_array_equal(with_masks, without)


@pytest.mark.parametrize("name", [*MOVING, "RandAugment"])
def test_masks_depend_on_seed_epoch_and_step_alone(name: str) -> None:
    def masks_of(**numbers: int) -> np.ndarray:
        return moved(example(name), patches(3 if name == "RandomElasticTransform" else 6), **numbers)[1]

    first = masks_of(seed=1, epoch=2, step=3)
    np.testing.assert_array_equal(first, masks_of(seed=1, epoch=2, step=3))
    for other in ({"seed": 2, "epoch": 2, "step": 3}, {"seed": 1, "epoch": 3, "step": 3}, {"seed": 1, "epoch": 2}):
        assert not np.array_equal(first, masks_of(**other))


@pytest.mark.parametrize("name", sorted({*MOVING, "RandAugment"} - {"CutMix"}))
def test_a_mask_does_not_depend_on_the_others_of_its_batch(name: str) -> None:
    masks = patches(4)
    others = np.concatenate([masks[:1], patches(3, seed=1)])
    np.testing.assert_array_equal(moved(example(name), masks)[1][0], moved(example(name), others)[1][0])


@pytest.mark.parametrize("second", ["RandomRotation", pytest.param("RandomElasticTransform", marks=pytest.mark.long)])
def test_one_augmentation_after_another_moves_both_in_parallel_batches(second: str) -> None:
    import tensorflow as tf

    names = ("RandomFlip", second, "RandomErasing", "CutMix")
    augmentations = [*map(example, names), make("RandomCrop", {"height": 8, "width": 10})]
    pipeline = Pipeline(augmentations, 1, masks=True, ignore=IGNORE)
    batch = {"images": random_images(6), "segmentation_masks": patches(6, 16, 16)}
    dataset = tf.data.Dataset.from_tensor_slices(batch).batch(4).enumerate()
    dataset = dataset.map(lambda step, part: pipeline(part, tf.constant(4, tf.int64), step, tf.range(4)), 3)
    assert dataset.element_spec == {
        "images": tf.TensorSpec((None, 8, 10, 3), tf.float32),
        "segmentation_masks": tf.TensorSpec((None, 8, 10, 1), tf.uint8),
    }
    for step, changed in enumerate(dataset.as_numpy_iterator()):
        part = {name: value[4 * step : 4 * step + 4] for name, value in batch.items()}
        expected = pipeline.apply_numpy(part, 4, step)
        np.testing.assert_allclose(changed["images"], expected["images"], atol=1e-3)
        np.testing.assert_array_equal(changed["segmentation_masks"], expected["segmentation_masks"])


def windows(image: np.ndarray, height: int, width: int) -> Iterator[np.ndarray]:
    for y in range(image.shape[0] - height + 1):
        for x in range(image.shape[1] - width + 1):
            yield image[y : y + height, x : x + width]


@pytest.mark.parametrize("padding", [[0, 0], [2, 0], [1, 3]])
def test_a_crop_of_a_size_cuts_a_window_of_image_and_mask(padding: list[int]) -> None:
    masks = np.random.default_rng(0).integers(0, 11, (24, 7, 9, 1)).astype(np.uint8)
    images, changed = moved(make("RandomCrop", {"height": 5, "width": 6, "padding": padding}), masks)
    counts = changed != IGNORE
    np.testing.assert_array_equal(images[counts], changed[counts])
    assert (images[~counts] == 0).all()
    places = []
    for old, new in zip(masks, changed, strict=True):
        padded = np.pad(old, [(side, side) for side in (*padding, 0)], constant_values=IGNORE)
        fits = [place for place, window in enumerate(windows(padded, 5, 6)) if np.array_equal(window, new)]
        assert len(fits) == 1
        places += fits
    assert len(set(places)) > 6


def test_all_windows_of_a_size_are_equally_likely() -> None:
    image = np.arange(20, dtype=np.uint8).reshape(1, 4, 5, 1)
    _, changed = moved(make("RandomCrop", {"height": 2, "width": 3}), image.repeat(4500, axis=0))
    seen = np.array([np.all(changed == window, axis=(1, 2, 3)).sum() for window in windows(image[0], 2, 3)])
    assert seen.sum() == 4500
    # The 99.9 % quantile of chi-square for 8 degrees of freedom.
    assert np.sum((seen - 500) ** 2) / 500 < 26.1


def test_an_ignored_id_is_not_needed_where_nothing_is_filled() -> None:
    masks = patches(3)
    for name in ("RandomFlip", "RandomRotation", "RandomElasticTransform", "CutMix", "RandAugment", "RandomErasing"):
        _, changed = moved(example(name), masks, ignore=None)
        assert set(np.unique(changed)) <= set(np.unique(masks))
    _, changed = moved(make("RandomCrop", {"height": 8, "width": 8}), masks, ignore=None)
    assert changed.shape == (3, 8, 8, 1)


@pytest.mark.parametrize(
    ("name", "arguments", "ignore", "argument", "expected"),
    [
        ("MixUp", 0.2, IGNORE, None, "write `CutMix`"),
        ("ProgressiveResizing", [{"size": 8, "epochs": 1}], IGNORE, None, "train on crops"),
        ("AugMix", None, IGNORE, None, "write `RandAugment`"),
        ("RandomPerspective", None, None, None, "data.ignore: 255"),
        ("RandomCrop", {"padding": 4}, None, "padding", "fill_mode: reflect"),
        ("RandomZoom", {"height_factor": 0.2, "fill_mode": "constant"}, None, "fill_mode", "fill_mode: reflect"),
        ("RandomElasticTransform", {"fill_mode": "constant"}, None, "fill_mode", "data.ignore: 255"),
    ],
)
def test_what_no_mask_can_follow_is_refused_by_name(
    name: str, arguments: Any, ignore: int | None, argument: str | None, expected: str
) -> None:
    with pytest.raises(MaskError) as caught:
        make(name, arguments).for_masks(ignore)
    assert caught.value.argument == argument
    assert expected in caught.value.message
    assert f"`{argument or name}" in caught.value.message


def test_a_batch_has_masks_where_the_pipeline_is_for_masks() -> None:
    """Masks that would be left behind are no slip to go unnoticed."""
    images = patches(2)
    with pytest.raises(ValueError, match="segmentation_masks"):
        Pipeline([example("RandomFlip")], 0).apply_numpy({"images": images, "segmentation_masks": images})
    with pytest.raises(ValueError, match="segmentation_masks"):
        Pipeline([example("RandomFlip")], 0, masks=True).apply_numpy({"images": images})
