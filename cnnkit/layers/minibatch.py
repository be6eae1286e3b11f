"""The layer that looks at several images of a batch."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from cnnkit.format.script import Argument, Call
from cnnkit.format.shapes import Shape
from cnnkit.layers.base import Scope
from cnnkit.layers.channels import ChannelLayer

#: The computation takes the images of a group one after another.
_LARGEST_GROUP = 64


class MinibatchStandardDeviation(ChannelLayer):
    """Appends a channel that says how unlike the images of a group are (Karras et al. 2018, arXiv:1710.10196).

    The standard deviation of each value over the images of a group, averaged over all positions and channels, is the
    new channel's value everywhere (section 3). With it, a discriminator sees that made images are all alike. Groups are
    consecutive images: `group_size`, or the largest smaller number that divides the batch. For an image alone the value
    is 0. No parameters.

    Only a network that teaches another one, as a discriminator does, can have it: what it says of an image depends on
    the images beside it.
    """

    leading: ClassVar[str | None] = "group_size"
    mixes_images: ClassVar[bool] = True
    example: ClassVar[str] = """\
- LeakyReLU: 0.2
- MinibatchStandardDeviation: 4           # before the head of a discriminator
- Flatten
- Dense: 1
"""

    group_size: Annotated[int, Field(ge=2, le=_LARGEST_GROUP)] = Field(
        default=4, description="Images of a group; in a discriminator it divides `data.batch_size`."
    )

    @property
    def output_activation(self) -> str | None:
        return None

    def output_shape(self, input_shape: Shape) -> Shape:
        axis = self.channel_axis(input_shape)
        return (*input_shape[:axis], input_shape[axis] + 1, *input_shape[axis + 1 :])

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        return True

    def calls(self) -> tuple[Call, ...]:
        arguments = (Argument("group_size", self.group_size, 4), Argument("axis", self.keras_axis(), -1))
        return (Call("minibatch_standard_deviation", arguments, "group_size", of_tensor=True),)

    def build(self, scope: Scope) -> Any:
        """A functional model of Keras' operations."""
        from cnnkit.layers.functions import minibatch_standard_deviation

        return self._build(scope, minibatch_standard_deviation, self.group_size)
