"""A layer made of layers, every name in it replaced: paths side by side from one input, merged, and activated.

`Residual`, `Branches`, `Repeat` and calls of blocks all become this; it is built as one named functional model.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from cnnkit.format.script import Argument
from cnnkit.format.shapes import Shape, ShapeError, format_shape
from cnnkit.layers.axes import positions
from cnnkit.layers.base import ALONE, Layer, Scope, Seeds, Sharing, Weight
from cnnkit.layers.receptive_field import View
from cnnkit.layers.stack import Step, last_activation
from cnnkit.layers.submodel import functional
from cnnkit.layers.window import WindowedLayer, compute_dtype

Merge = Literal["concatenate", "add", "average", "maximum", "minimum", "multiply", "subtract", "dot"]
#: Merges of exactly two paths.
OF_TWO = ("subtract", "dot")


#: What merges do to the paths, in messages.
_COMBINED = {"add": "added", "average": "averaged", "multiply": "multiplied", "subtract": "subtracted"}


@dataclass(frozen=True)
class Part:
    """One path: layers in order, each with the name that tells where in the YAML it stands.

    Attributes:
        title: Where the path's layers stand, such as `layers`, `paths.0` or `shortcut`.
        steps: The layers, resolved, and the shapes around them.
        labels: A name for each, such as `layers.0.Conv2D`.
        implied: Whether the config does not write these layers.
        chosen: What these layers are, in words, where the config left the choice to cnnkit.
    """

    title: str
    steps: tuple[Step, ...]
    labels: tuple[str, ...]
    implied: bool = False
    chosen: str | None = None

    @classmethod
    def of(cls, title: str, steps: Sequence[Step], implied: bool = False) -> "Part":
        """A path whose layers are named by their place."""
        labels = tuple(f"{title}.{index}.{step.layer.kind}" for index, step in enumerate(steps))
        return cls(title, tuple(steps), labels, implied)

    def output_shape(self, input_shape: Shape) -> Shape:
        return self.steps[-1].output_shape if self.steps else input_shape

    def behind(self, view: View) -> View:
        """What is seen after the path of what is seen before it."""
        for step in self.steps:
            view = view.behind(step.layer, step.input_shape)
        return view

    @cached_property
    def reads_all_pixels(self) -> bool:
        """Whether no stride of the path leaves rows or columns of the input unread."""
        return all(_reads_all_pixels(step) for step in self.steps)

    @cached_property
    def has_single_pixel_windows(self) -> bool:
        """Whether an output position of the path sees one pixel, as in a shortcut."""
        return all(max(getattr(layer, "window", (1, 1))) == 1 for layer in leaves([step.layer for step in self.steps]))


class Resolved(Layer):
    """Paths from one input to one output.

    Attributes:
        written: The layer of the config that this one stands for.
        parts: The paths.
        merge: How their outputs become one; None for a single path.
        axis: The axis along which they are concatenated, counted as Keras does.
        product: Of which axis of each of two paths products are summed, and whether vectors along it get length 1
            before; for `dot`.
        activation: What is applied to the result.
        values: What the parameters stand for, where this is a call of a block.
    """

    written: Any
    parts: Any
    merge: Any
    axis: int
    product: Any
    activation: str
    values: Any

    @classmethod
    def of(
        cls,
        written: Layer,
        parts: Sequence[Part],
        merge: Merge | None = None,
        axis: int = -1,
        activation: str = "linear",
        values: Mapping[str, Any] | None = None,
        product: tuple[tuple[int, int], bool] | None = None,
    ) -> "Resolved":
        taken: set[str] = {name for name in (merge, "activation", "identity") if name is not None}
        for part in parts:
            for step, label in zip(part.steps, part.labels, strict=True):
                name = step.layer.name or label
                if name in taken:
                    raise ShapeError(f"another part in here has the name `{name}` already; names must differ")
                taken.add(name)
        common = {name: getattr(written, name) for name in Layer.model_fields}
        return cls.model_construct(
            written=written,
            parts=tuple(parts),
            merge=merge,
            axis=axis,
            product=product,
            activation=activation,
            values=dict(values or {}),
            **common,
        )

    @property
    def kind(self) -> str:
        return str(self.written.kind)

    def arguments(self) -> dict[str, Any]:
        return dict(self.written.arguments())

    def to_plain(self) -> Any:
        return self.written.to_plain()

    @property
    def _steps(self) -> list[Step]:
        return [step for part in self.parts for step in part.steps]

    def output_shape(self, input_shape: Shape) -> Shape:
        shapes = [part.output_shape(input_shape) for part in self.parts]
        if self.merge is None:
            return shapes[0]
        if self.merge == "concatenate":
            return self._concatenated(shapes)
        return self._multiplied(shapes) if self.merge == "dot" else self._combined(shapes)

    def _multiplied(self, shapes: list[Shape]) -> Shape:
        """The shape of sums of products along an axis of each of two paths."""
        (first, one), (second, other) = zip(shapes, self._summed(shapes), strict=True)
        if first[one] != second[other]:
            raise ShapeError(
                f"{self._described(shapes)}: products are summed along axis {one + 1} of the first and axis "
                f"{other + 1} of the second, which must agree, but have {first[one]} and {second[other]}",
                "axes",
            )
        left = (*first[:one], *first[one + 1 :], *second[:other], *second[other + 1 :])
        return left or (1,)

    def _summed(self, shapes: list[Shape]) -> list[int]:
        """Where the axes of a `dot` lie in the shapes of the paths."""
        axes, _ = self.product
        return [positions(axis, shape, "axes")[0] for axis, shape in zip(axes, shapes, strict=True)]

    @property
    def merge_arguments(self) -> tuple[Argument, ...]:
        """What Keras' merge takes besides the paths."""
        if self.merge == "concatenate":
            return (Argument("axis", self.axis, -1),)
        if self.merge == "dot":
            axes, normalize = self.product
            return Argument("axes", axes), Argument("normalize", normalize, False)
        return ()

    @property
    def mixes_axes(self) -> bool:
        """Whether a position of the output is none of the paths'."""
        return bool(self.merge == "dot")

    def _concatenated(self, shapes: list[Shape]) -> Shape:
        rank = len(shapes[0])
        axis = self.axis - 1 if self.axis > 0 else rank + self.axis
        if not 0 <= axis < rank:
            raise ShapeError(
                f"axis {self.axis} is not one of {format_shape(shapes[0])}, which is the first path", "axis"
            )
        first = shapes[0]
        for shape in shapes[1:]:
            if len(shape) != rank or any(
                a != b for i, (a, b) in enumerate(zip(first, shape, strict=True)) if i != axis
            ):
                raise ShapeError(
                    f"{self._described(shapes)}: to be concatenated, they must agree on all axes but axis {axis + 1}"
                    + (", the channels" if axis == rank - 1 else "")
                    + self._pooling_hint()
                )
        return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])

    def _combined(self, shapes: list[Shape]) -> Shape:
        result = shapes[0]
        for shape in shapes[1:]:
            fits = len(shape) == len(result) and all(a == b or 1 in (a, b) for a, b in zip(result, shape, strict=True))
            if not fits:
                verb = _COMBINED.get(self.merge, "compared")
                raise ShapeError(
                    f"{self._described(shapes)}: to be {verb}, they must agree, or be 1, on each axis"
                    + self._pooling_hint()
                )
            result = tuple(max(a, b) for a, b in zip(result, shape, strict=True))
        return result

    def _pooling_hint(self) -> str:
        """Names a global pooling that leaves no image, where there is one."""
        flat = (layer.kind for layer in leaves([self]) if getattr(layer, "keepdims", True) is False)
        kind = next(flat, None)
        return f"; `{kind}: {{keepdims: true}}` leaves an image of 1x1" if kind is not None else ""

    def _described(self, shapes: list[Shape]) -> str:
        texts = [f"`{part.title}` gives {format_shape(shape)}" for part, shape in zip(self.parts, shapes, strict=True)]
        return ", ".join(texts)

    def loses_nothing_in(self, part: Part) -> bool:
        """Whether rows and columns that a path leaves unread are read beside it.

        So it is with the strided 1x1 convolution of a residual connection, whose main path reads the whole image.
        """
        beside = [one for one in self.parts if one is not part]
        return part.has_single_pixel_windows and any(one.reads_all_pixels for one in beside)

    def variables(self, input_shape: Shape) -> tuple[Weight, ...]:
        return tuple(weight for step in self._steps for weight in step.layer.variables(step.input_shape))

    @property
    def takes_ids_first(self) -> bool:
        """Whether a layer that the input arrives at takes ids."""
        first = [part.steps[0].layer for part in self.parts if part.steps]
        return any(one.takes_ids_first if isinstance(one, Resolved) else one.takes_ids for one in first)

    def tensors(self, input_shape: Shape) -> Iterator[tuple[str, Shape]]:
        # The layers inside were asked themselves.
        yield "output for one image", self.output_shape(input_shape)

    def parameters(self, input_shape: Shape) -> tuple[int, int]:
        counts = [step.layer.parameters(step.input_shape) for step in self._steps]
        trainable, fixed = sum(count[0] for count in counts), sum(count[1] for count in counts)
        return (trainable, fixed) if self.trainable else (0, trainable + fixed)

    def macs(self, input_shape: Shape) -> int:
        inside = sum(step.layer.macs(step.input_shape) for step in self._steps)
        if self.merge != "dot":
            return inside
        # Each value of the result is a sum of products along the axis.
        shapes = [part.output_shape(input_shape) for part in self.parts]
        return inside + math.prod(self._multiplied(shapes)) * shapes[0][self._summed(shapes)[0]]

    def paths_behind(self, view: View) -> tuple[View, ...]:
        return tuple(part.behind(view) for part in self.parts)

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        return View.of(input_shape).behind(self, input_shape).whole[axis]

    def output_order(self, order: tuple[int, ...]) -> tuple[int, ...]:
        for step in self.parts[0].steps:
            order = step.layer.order_behind(order)
        return order

    def needs_xla_on_cpu(self) -> bool:
        return any(step.layer.needs_xla_on_cpu() for step in self._steps)

    @property
    def output_activation(self) -> str | None:
        if self.activation != "linear":
            return self.activation
        last = [last_activation([step.layer for step in part.steps]) for part in self.parts]
        if self.merge is None:
            return last[0]
        # The average of probabilities is one.
        return last[0] if self.merge == "average" and len(set(last)) == 1 else None

    def build(self, scope: Scope) -> Any:
        """A named functional model of stock layers."""
        import keras

        dtype = self.dtype or scope.dtype

        def body(inputs: Any) -> Any:
            tensors = [_apply(part, inputs, scope, dtype) for part in self.parts]
            result = tensors[0]
            if self.merge is not None:
                options = {argument.name: argument.value for argument in self.merge_arguments}
                merge = getattr(keras.layers, self.merge.capitalize())
                result = merge(name=self.merge, dtype=dtype, **options)(tensors)
            if self.activation != "linear":
                result = keras.layers.Activation(self.activation, name="activation", dtype=dtype)(result)
            return keras.layers.Identity(name="identity", dtype=dtype)(result) if result is inputs else result

        # In half precision, neighbouring ids would become one.
        arriving = "float32" if self.takes_ids_first else compute_dtype(dtype)
        model = functional(self.name or scope.name, scope.keras_shape, arriving, body)
        if not self.trainable:
            # Setting it to true would undo it in the layers inside.
            model.trainable = False
        return model


def _reads_all_pixels(step: Step) -> bool:
    layer = step.layer
    if isinstance(layer, Resolved):
        return any(part.reads_all_pixels for part in layer.parts)
    return not isinstance(layer, WindowedLayer) or not layer.warnings(step.input_shape)


def scopes(
    steps: Sequence[Step],
    labels: Sequence[str],
    seeds: Seeds,
    dtype: str | None,
    *,
    ending: bool,
    sharing: Sharing = ALONE,
) -> list[Scope]:
    """The scopes in which layers in order are built.

    Probabilities and losses in half precision under- and overflow (Keras' mixed precision guide): from the network's
    last layer that computes something to its end, everything is in float32.

    Args:
        labels: The layers' names.
        dtype: The dtype policy of the others.
        ending: Whether the network ends with these layers.
        sharing: What several devices need.
    """
    computing = [index for index, step in enumerate(steps) if step.layer.output_activation != "keep"]
    last = (computing[-1] if computing else 0) if ending else len(steps)
    result = []
    for index, (step, label) in enumerate(zip(steps, labels, strict=True)):
        layer = step.layer
        holds_ending = index == last and isinstance(layer, Resolved) and layer.merge is None
        own = dtype if index < last or holds_ending else "float32"
        result.append(Scope(label, step.input_shape, seeds, own, ending=holds_ending, fed=step.fed, sharing=sharing))
    return result


def _apply(part: Part, tensor: Any, scope: Scope, dtype: str | None) -> Any:
    from cnnkit.layers.fused import postpone_activations

    inner = scopes(part.steps, part.labels, scope.seeds, dtype, ending=scope.ending, sharing=scope.sharing)
    built = [step.layer.build(one) for step, one in zip(part.steps, inner, strict=True)]
    for layer in postpone_activations(built):
        tensor = layer(tensor)
    return tensor


def leaf_steps(steps: Sequence[Step]) -> Iterator[Step]:
    """All steps whose layers are not made of others, at any depth."""
    for step in steps:
        if isinstance(step.layer, Resolved):
            for part in step.layer.parts:
                yield from leaf_steps(part.steps)
        else:
            yield step


def leaves(layers: Sequence[Layer]) -> Iterator[Layer]:
    """All layers that are not made of others, at any depth."""
    for layer in layers:
        if isinstance(layer, Resolved):
            for part in layer.parts:
                yield from (step.layer for step in leaf_steps(part.steps))
        else:
            yield layer
