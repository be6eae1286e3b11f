"""Dense and the reshaping layers against Keras."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from cnnkit.format.shapes import Shape, ShapeError
from cnnkit.layers.base import Names

from .test_normalization import SHAPES
from .truth import GRID, check_agreement, data_formats, make, optional


@GRID
@given(
    st.integers(1, 20),
    optional(
        activation=st.sampled_from([None, "relu", "softmax"]),
        use_bias=st.booleans(),
        kernel_initializer=st.sampled_from(["glorot_uniform", "Orthogonal", "zeros"]),
        kernel_regularizer=st.sampled_from([None, "L1L2", "OrthogonalRegularizer"]),
        activity_regularizer=st.sampled_from([None, "L1"]),
        bias_constraint=st.sampled_from([None, "UnitNorm"]),
        trainable=st.booleans(),
    ),
    SHAPES,
)
def test_dense_agrees_with_keras(units: int, arguments: dict[str, Any], shape: Shape) -> None:
    check_agreement("Dense", arguments | {"units": units}, shape)


@GRID
@given(data_formats, SHAPES)
def test_flatten_agrees_with_keras(data_format: str | None, shape: Shape) -> None:
    check_agreement("Flatten", {"data_format": data_format}, shape)


@st.composite
def reshapes(draw: st.DrawFn) -> tuple[list[int], Shape]:
    """A shape, and mostly a reordering of its sizes, one perhaps left open."""
    shape = draw(SHAPES)
    target = list(draw(st.permutations(shape)))
    if draw(st.booleans()):
        target[draw(st.integers(0, len(target) - 1))] = -1
    if draw(st.integers(0, 3)) == 0:
        target.append(draw(st.sampled_from([1, 2, -1])))
    return target, shape


@GRID
@given(reshapes())
def test_reshape_agrees_with_keras(case: tuple[list[int], Shape]) -> None:
    target, shape = case
    check_agreement("Reshape", {"target_shape": target}, shape)


@GRID
@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), SHAPES)
def test_permute_agrees_with_keras(dims: list[int], shape: Shape) -> None:
    check_agreement("Permute", {"dims": dims}, shape)


@GRID
@given(st.permutations([1, 2, 3]), SHAPES)
def test_a_permutation_agrees_with_keras(dims: list[int], shape: Shape) -> None:
    check_agreement("Permute", {"dims": dims}, shape)


def test_an_orthogonal_penalty_on_the_output_needs_vectors() -> None:
    """Keras finds out in the first training step."""
    layer = make("Dense", {"units": 3, "activity_regularizer": "OrthogonalRegularizer"})
    assert layer.output_shape((8,)) == (3,)
    with pytest.raises(ShapeError) as caught:
        layer.output_shape((4, 4, 8))
    assert caught.value.argument == "activity_regularizer"


def test_lists_and_scalars_are_the_leading_argument() -> None:
    assert make("Dense", 128) == make("Dense", {"units": 128})
    assert make("Permute", [2, 1, 3]).output_shape((4, 5, 6)) == (5, 4, 6)
    assert make("Reshape", [4, -1]).output_shape((2, 2, 3)) == (4, 3)
    assert make("Flatten").output_shape((2, 2, 3)) == (12,)


def test_classes_stand_for_a_number_of_units() -> None:
    layer = make("Dense", {"units": "classes"}).resolve(Names({"classes": 100}), (7,))
    assert layer.output_shape((512,)) == (100,)
    assert layer.parameters((512,)) == (51_300, 0)
    assert layer.macs((512,)) == 51_200


def test_dense_on_an_image_acts_on_each_position() -> None:
    layer = make("Dense", 4)
    assert layer.output_shape((5, 6, 3)) == (5, 6, 4)
    assert layer.macs((5, 6, 3)) == 5 * 6 * 3 * 4


@pytest.mark.parametrize(
    ("name", "arguments", "shape", "argument"),
    [
        ("Reshape", [5, 5], (4, 4, 2), "target_shape"),
        ("Permute", [2, 1], (4, 4, 2), "dims"),
    ],
)
def test_a_shape_that_does_not_fit_blames_the_argument(name: str, arguments: Any, shape: Shape, argument: str) -> None:
    with pytest.raises(ShapeError) as caught:
        make(name, arguments).output_shape(shape)
    assert caught.value.argument == argument
    assert "4x4x2" in caught.value.message


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("Reshape", [-1, -1], "at most one size may be -1"),
        ("Reshape", "flat", "sizes from 1 to 2,147,483,647"),
        ("Permute", [0, 1, 2], "each axis once, counted from 1"),
        ("Dense", 0, "from 1 to 1,000,000, or `classes`"),
        ("Dense", "128", "remove the quotes"),
    ],
)
def test_a_wrong_argument_is_explained(name: str, arguments: Any, expected: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        make(name, arguments)
    assert expected in str((caught.value.context or {})["errors"][0]["msg"])
