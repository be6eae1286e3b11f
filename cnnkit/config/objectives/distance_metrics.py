"""Metrics of the distance between outputs and one-hot labels."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from cnnkit.config.objectives.metrics import Metric
from cnnkit.format.base import describe, invalid
from cnnkit.format.fields import ClassAxis, is_whole


class CategoricalHinge(Metric):
    """Largest margin between the true class and the others."""

    better: ClassVar[Literal["max", "min"]] = "min"


class KLDivergence(Metric):
    """Kullback-Leibler divergence."""

    better: ClassVar[Literal["max", "min"]] = "min"
    needs_probabilities: ClassVar[bool] = True


class Poisson(Metric):
    """Poisson loss."""

    better: ClassVar[Literal["max", "min"]] = "min"
    needs_probabilities: ClassVar[bool] = True


class _AlongAxis(Metric):
    axis: ClassAxis = Field(default=-1, description="The axis of the classes.")


class CosineSimilarity(_AlongAxis):
    """Cosine between output and one-hot labels."""


class PearsonCorrelation(_AlongAxis):
    """Pearson correlation between output and one-hot labels."""


class ConcordanceCorrelation(_AlongAxis):
    """Concordance correlation between output and one-hot labels."""


class Hinge(Metric):
    """Hinge loss of each class on its own."""

    needs_hard_labels: ClassVar[bool] = True
    better: ClassVar[Literal["max", "min"]] = "min"


class SquaredHinge(Metric):
    """Squared hinge loss of each class on its own."""

    needs_hard_labels: ClassVar[bool] = True
    better: ClassVar[Literal["max", "min"]] = "min"


class MeanSquaredError(Metric):
    """Mean of squared differences to the one-hot labels."""

    better: ClassVar[Literal["max", "min"]] = "min"


class RootMeanSquaredError(Metric):
    """Root of the mean squared difference."""

    better: ClassVar[Literal["max", "min"]] = "min"


class MeanAbsoluteError(Metric):
    """Mean of absolute differences."""

    better: ClassVar[Literal["max", "min"]] = "min"


class MeanAbsolutePercentageError(Metric):
    """Mean of relative differences."""

    better: ClassVar[Literal["max", "min"]] = "min"


class MeanSquaredLogarithmicError(Metric):
    """Mean of squared differences of logarithms."""

    better: ClassVar[Literal["max", "min"]] = "min"


class LogCoshError(Metric):
    """Logarithm of the hyperbolic cosine of the difference."""

    better: ClassVar[Literal["max", "min"]] = "min"


def _no_regressors(value: Any) -> int:
    if is_whole(value) and value == 0:
        return 0
    raise invalid(
        "Keras cannot compute the adjusted score inside a compiled training step; leave it out, or write 0, got "
        f"{describe(value)}"
    )


class R2Score(Metric):
    """Coefficient of determination."""

    class_aggregation: Literal["uniform_average", "variance_weighted_average"] = Field(
        default="uniform_average", description="How the classes become one number."
    )
    num_regressors: Annotated[int, PlainValidator(_no_regressors), WithJsonSchema({"const": 0})] = Field(
        default=0, description="0: Keras cannot adjust the score while a network trains."
    )
