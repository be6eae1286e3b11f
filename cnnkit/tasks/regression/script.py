"""What the plain Keras script of a network that learns numbers has of its own."""

from __future__ import annotations

from cnnkit.config.script_parts import ScriptParts, objective_call
from cnnkit.config.training import TrainingConfig
from cnnkit.format.script import Argument, Call, Raw
from cnnkit.tasks.regression.check import UNITS
from cnnkit.tasks.regression.training import configured_loss

#: The layer that gives numbers back in their units, behind those of the config.
_UNITS = (
    "# The network learns numbers as distances from their means, in standard deviations, and outputs their own units.",
    "means = train[1].mean(axis=0, dtype=np.float64).tolist()",
    "deviations = train[1].std(axis=0, dtype=np.float64)",
    "deviations = np.where(deviations > 0, deviations, 1).tolist()",
    f'units = layers.Rescaling(deviations, offset=means, name="{UNITS}", dtype="float32")',
    'model = keras.Model(model.inputs[0], units(model.outputs[0]), name="model")',
)

_RESULT = (
    "errors = best.predict(test[0], batch_size=500, verbose=0) - test[1]",
    "mae, rmse = np.abs(errors).mean(), np.sqrt(np.square(errors).mean())",
    'print(f"test mean absolute error {mae:.4f}, root mean squared error {rmse:.4f}")',
)


def script_parts(training: TrainingConfig) -> ScriptParts:
    """See `Task.script`."""
    loss = Argument("loss", objective_call(configured_loss(training), from_logits=False))
    constants = [Argument(name, Raw(name)) for name in ("means", "deviations")]
    figures = [
        Call("keras.metrics.MeanAbsoluteError", (Argument("name", "mae"),)),
        Call("keras.metrics.RootMeanSquaredError", (Argument("name", "rmse"),)),
    ]
    return ScriptParts(
        targets="tf.constant(numbers)",
        validation="",
        loss=Call("StandardizedLoss", (loss, *constants), "loss"),
        metrics=[*figures, *(objective_call(metric, from_logits=False) for metric in training.metrics)],
        copied={"cnnkit.tasks.regression.keras_objects": ["StandardizedLoss"]},
        before_compiling=_UNITS,
        result=_RESULT,
    )
