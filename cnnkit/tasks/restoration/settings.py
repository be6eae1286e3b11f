"""The arguments of a restoration, which its other modules go by."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from cnnkit.format.fields import NonNegativeNumber, PositiveInteger, PositiveNumber
from cnnkit.task import Task


class Settings(Task):
    """How a network restores a picture."""

    iterations: PositiveInteger = Field(
        default=100, description="Steps of an epoch, each of which looks at the whole picture."
    )
    input_channels: PositiveInteger = Field(
        default=32, description="Channels of the noise that the network makes the picture of."
    )
    input_scale: PositiveInteger = Field(
        default=1, description="How many times lower and narrower than the picture that noise is."
    )
    input_noise: NonNegativeNumber = Field(
        default=0.03,
        description="Standard deviation of what is added to the noise anew in each step; the noise itself is even "
        "between 0 and 0.1.",
    )
    average: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.99, description="Decay of the exponential average of the outputs, which is the restored picture."
    )
    forgetting: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.1,
        description="Share of a step in the exponential variance of the outputs, at whose minimum the picture is "
        "taken (Wang et al. 2023, arXiv:2112.06074).",
    )
    held_out: Annotated[float, Field(gt=0, le=0.5)] | None = Field(
        default=None,
        description="Share of the known pixels that the network does not learn of, but is judged by: the picture is "
        "taken where the average is nearest to them, whatever the variance (as Yaman et al. 2022, arXiv:2102.07737, "
        "keep measurements of one scan). Each pixel's noise must be its own. `null`: the variance decides.",
    )
    patience: PositiveInteger | None = Field(
        default=1000,
        description="Steps in which that variance, or the error on the pixels held out, has had no new minimum, after "
        "which an epoch is the last; `null` for all epochs.",
    )
    fall: PositiveNumber | None = Field(
        default=5.0,
        description="Where the fit has fallen by so many dB in an epoch, the weights of the epoch before are brought "
        "back; `null` for never.",
    )

    hidden: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Share of the known pixels that are hidden in a step, from which the network learns to fill in. It "
        "is then given the picture, filled in smoothly, in the place of noise, and its outputs are what is added to "
        "that, in standard deviations of the picture's details. `null`: it makes the whole picture of noise.",
    )
    from_copies: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="The network learns to enlarge the picture from smaller copies of it (as Shocher et al. 2018, "
        "arXiv:1712.06087). It is given the smoothest enlargement in the place of noise, and its outputs are what is "
        "added to that, in standard deviations of the picture's details. This is the share of them that is added: what "
        "copies teach holds only in part of finer details. `null`: the picture is made of noise.",
    )

    @property
    def corrects(self) -> bool:
        """Whether the network corrects a smooth picture in the place of making all of it of noise."""
        return self.hidden is not None or self.from_copies is not None

    def network_times(self, times: int) -> int:
        """How many times higher and wider than the damaged picture those are that the network outputs.

        Args:
            times: The same of the restored picture. Its smallest prime factor is what smaller copies teach; the rest of
                the enlargement is smooth.
        """
        if self.from_copies is None:
            return times
        return next((factor for factor in range(2, times + 1) if times % factor == 0), 1)

    @property
    def decided_by(self) -> str | None:
        """The column of iterations.csv by which the picture is taken; None where the last average is the picture."""
        if self.takes_last:
            return None
        return "variance" if self.held_out is None else "held_out"

    @property
    def takes_last(self) -> bool:
        """Whether the last average is the restored picture: what a correction learns of has no noise in it."""
        return self.corrects

    def input_shape(self, image_shape: tuple[int, int, int], times: int = 1) -> tuple[int, int, int]:
        height, width, channels = image_shape
        if self.hidden is not None:
            return (height, width, 2 * channels + 1)
        if self.from_copies is not None and times > 1:
            left = times // self.network_times(times)
            return (height // left, width // left, channels)
        return (-(-height // self.input_scale), -(-width // self.input_scale), self.input_channels)

    def output_shape(self, input_shape: Sequence[int], size: int) -> tuple[int, ...]:
        if self.corrects:
            return (*input_shape[:2], size)
        return (input_shape[0] * self.input_scale, input_shape[1] * self.input_scale, size)
