"""Optimizers, schedules, losses and metrics against Keras itself: names, defaults, and that each of them trains."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from cnnkit.config import shipped
from cnnkit.config.load import load_config
from cnnkit.config.objectives.crossentropies import CategoricalCrossentropy
from cnnkit.config.objectives.losses import LOSSES
from cnnkit.config.objectives.metrics import METRICS
from cnnkit.config.optimization.optimizers import OPTIMIZERS, Optimizer
from cnnkit.config.optimization.schedules import SCHEDULES, Schedule
from cnnkit.format.base import Choice, NamedObject, Table
from cnnkit.format.document import dump

#: The table, Keras' module of the same things, and the classes there that nobody names in a config.
KINDS: dict[str, tuple[Table, Any, set[str]]] = {
    "optimizer": (OPTIMIZERS, keras.optimizers, {"Optimizer", "OptimizerMap"}),
    "schedule": (SCHEDULES, keras.optimizers.schedules, {"LearningRateSchedule"}),
    "loss": (LOSSES, keras.losses, {"Loss"}),
    "metric": (METRICS, keras.metrics, {"Metric", "MeanMetricWrapper"}),
}

#: Arguments that the format leaves to the run, with the reason.
LEFT_OUT = {
    "optimizer": {"name"},  # a name has no effect
    "schedule": {"name", "initial_learning_rate"},  # the rate is the optimizer's
    "loss": {"name", "dtype"},  # the run's dtype policy decides
    "metric": {"dtype"},
}

#: Arguments that Keras does not have; of schedules, the same length in epochs.
ADDED = {
    "CosineDecay": {"decay_epochs"},
    "ExponentialDecay": {"decay_epochs"},
    "InverseTimeDecay": {"decay_epochs"},
    "PolynomialDecay": {"decay_epochs"},
    "CosineDecayRestarts": {"first_decay_epochs"},
    "PiecewiseConstantDecay": {"boundaries_epochs"},
    # Convolutions, which Keras leaves to Adam.
    "Muon": {"convolutions", "normalize_kernels"},
}

#: Defaults that differ from Keras', with the reason.
OTHER_DEFAULTS: dict[tuple[str, str, str], Any] = {
    # A length in updates is the whole run's where it is left out, or given in epochs.
    ("schedule", "CosineDecay", "decay_steps"): None,
    ("schedule", "ExponentialDecay", "decay_steps"): None,
    ("schedule", "InverseTimeDecay", "decay_steps"): None,
    ("schedule", "PolynomialDecay", "decay_steps"): None,
    ("schedule", "CosineDecayRestarts", "first_decay_steps"): None,
    ("schedule", "PiecewiseConstantDecay", "boundaries"): None,
    # Whether the network outputs logits is known from its head.
    ("loss", "CategoricalCrossentropy", "from_logits"): None,
    ("loss", "BinaryCrossentropy", "from_logits"): None,
    ("loss", "CategoricalFocalCrossentropy", "from_logits"): None,
    ("loss", "BinaryFocalCrossentropy", "from_logits"): None,
    ("metric", "CategoricalCrossentropy", "from_logits"): None,
    ("metric", "BinaryCrossentropy", "from_logits"): None,
    ("metric", "AUC", "from_logits"): None,
    # Keras' one number per class is no column of metrics.csv.
    ("metric", "F1Score", "average"): "macro",
    ("metric", "FBetaScore", "average"): "macro",
}

#: Arguments without a default.
REQUIRED: dict[str, dict[str, Any]] = {
    "ExponentialDecay": {"decay_rate": 0.5},
    "InverseTimeDecay": {"decay_rate": 0.5},
    "PiecewiseConstantDecay": {"boundaries": [1, 2], "values": [0.1, 0.01, 0.001]},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
}

#: What Keras has no object for.
OURS = {"Sum"}

OBJECTS = [(kind, name) for kind, (table, _, _) in KINDS.items() for name in table.names() if name not in OURS]


def keras_class(kind: str, name: str) -> Any:
    return keras.callbacks.ReduceLROnPlateau if name == "ReduceLROnPlateau" else getattr(KINDS[kind][1], name)


def signature(cls: Any) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(cls.__init__).parameters
    return {name: parameter for name, parameter in parameters.items() if name not in ("self", "kwargs")}


def make(kind: str, name: str, arguments: Any = None) -> Any:
    """The config's object of that name, with what it needs."""
    raw = REQUIRED.get(name) if arguments is None else arguments
    return Choice(KINDS[kind][0]).validate({name: raw})


# --- Names and defaults -------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), OBJECTS, ids="-".join)
def test_arguments_are_keras(kind: str, name: str) -> None:
    cls = KINDS[kind][0].get(name)
    assert cls is not None
    theirs = signature(keras_class(kind, name)).keys() - LEFT_OUT[kind]
    assert cls.model_fields.keys() - ADDED.get(name, set()) == theirs


@pytest.mark.parametrize(("kind", "name"), OBJECTS, ids="-".join)
def test_defaults_are_keras(kind: str, name: str) -> None:
    cls = KINDS[kind][0].get(name)
    assert cls is not None
    theirs = signature(keras_class(kind, name))
    for argument, field in cls.model_fields.items():
        if argument in ADDED.get(name, set()) or (kind, argument) == ("metric", "name"):
            continue
        default = inspect.Parameter.empty if field.is_required() else field.default
        expected = OTHER_DEFAULTS.get((kind, name, argument), theirs[argument].default)
        assert default == expected, argument


def test_declared_differences_are_differences() -> None:
    for (kind, name, argument), ours in OTHER_DEFAULTS.items():
        assert signature(keras_class(kind, name))[argument].default != ours


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_of_keras_is_there_or_explained(kind: str) -> None:
    table, module, bases = KINDS[kind]
    classes = {name for name in dir(module) if inspect.isclass(getattr(module, name))}
    assert classes - bases - set(table.names()) - set(table.unavailable) == set()
    assert not set(table.names()) & set(table.unavailable)


def test_every_loss_function_of_keras_has_its_class() -> None:
    functions = {name for name in dir(keras.losses) if inspect.isfunction(getattr(keras.losses, name))}
    functions -= {"get", "serialize", "deserialize"}
    assert functions - set(LOSSES.aliases) - set(LOSSES.unavailable) == set()


@pytest.mark.parametrize("alias", OPTIMIZERS.aliases)
def test_optimizer_alias_means_what_keras_means(alias: str) -> None:
    assert type(keras.optimizers.get(alias)).__name__ == OPTIMIZERS.aliases[alias]


@pytest.mark.parametrize("alias", METRICS.aliases)
def test_metric_alias_means_what_keras_means(alias: str) -> None:
    named = keras.metrics.get(alias)
    expected = getattr(keras.metrics, METRICS.aliases[alias])()
    assert type(named) is type(expected)


@pytest.mark.parametrize("alias", LOSSES.aliases)
def test_loss_alias_means_what_keras_means(alias: str) -> None:
    named = getattr(keras.losses, alias, None) or keras.losses.get(alias)
    assert named is getattr(keras.losses, LOSSES.aliases[alias])().fn


# --- Building and training ----------------------------------------------------------------------------

CLASSES = 4


def tiny_model(activation: str = "softmax") -> Any:
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, activation="relu", kernel_initializer=keras.initializers.GlorotUniform(1)),
            keras.layers.Dense(CLASSES, activation=activation, kernel_initializer=keras.initializers.GlorotUniform(2)),
        ]
    )


def tiny_data(size: int = 8) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    labels = np.eye(CLASSES, dtype=np.float32)[random.integers(0, CLASSES, size)]
    return random.normal(size=(size, 6)).astype(np.float32), labels


def losses_of_training(model: Any) -> list[float]:
    """Of each step in two epochs of two batches; `fit` would take longer to begin than to train."""
    images, labels = tiny_data()
    steps = [(images[:4], labels[:4]), (images[4:], labels[4:])] * 2
    return [float(model.train_on_batch(*step, return_dict=True)["loss"]) for step in steps]


def test_without_arguments_the_keras_object_is_keras_own() -> None:
    for name in OPTIMIZERS.names():
        optimizer = make("optimizer", name)
        ours = optimizer.build(optimizer.learning_rate).get_config()
        theirs = keras_class("optimizer", name)().get_config()
        assert ours == theirs | {"name": ours["name"], "learning_rate": pytest.approx(theirs["learning_rate"])}


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_optimizer_trains(name: str) -> None:
    optimizer = make("optimizer", name)
    model = tiny_model()
    before = model.get_weights()
    model.compile(optimizer.build(0.1), keras.losses.CategoricalCrossentropy(), run_eagerly=True)
    assert np.isfinite(losses_of_training(model)).all()
    assert any((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))


def test_every_shared_argument_reaches_the_optimizer() -> None:
    values = {
        "weight_decay": 0.25,
        "clipnorm": 2.0,
        "use_ema": True,
        "ema_momentum": 0.5,
        "ema_overwrite_frequency": 7,
        "loss_scale_factor": 3.0,
        "gradient_accumulation_steps": 5,
    }
    for name in OPTIMIZERS.names():
        optimizer = make("optimizer", name, values)
        assert isinstance(optimizer, Optimizer)
        config = optimizer.build(0.125).get_config()
        assert config["learning_rate"] == 0.125
        assert {argument: config[argument] for argument in values} == values


@pytest.mark.parametrize("name", sorted(set(LOSSES.names()) - OURS))
def test_loss_trains_and_has_keras_value(name: str) -> None:
    """One-hot labels give what Keras gives, for the losses that want class numbers too."""
    images, labels = tiny_data()
    model = tiny_model()
    loss = make("loss", name).build(from_logits=False)
    predictions = model(images).numpy()
    on_numbers = name in ("CategoricalGeneralizedCrossEntropy", "Circle")
    theirs = getattr(keras.losses, name)()(labels.argmax(-1) if on_numbers else labels, predictions)
    assert float(loss(labels, predictions)) == pytest.approx(float(theirs), rel=1e-6)
    model.compile(keras.optimizers.SGD(0.01), loss, run_eagerly=True)
    assert np.isfinite(losses_of_training(model)).all()


def test_generalized_cross_entropy_by_its_formula() -> None:
    """(1 - p^q) / q of the true class (Zhang and Sabuncu 2018, equation 6)."""
    probabilities = np.array([[0.5, 0.3, 0.1, 0.1], [0.2, 0.2, 0.5, 0.1]], np.float32)
    labels = np.eye(4, dtype=np.float32)[[0, 1]]
    loss = make("loss", "CategoricalGeneralizedCrossEntropy", {"q": 0.7}).build(from_logits=False)
    expected = np.mean([(1 - 0.5**0.7) / 0.7, (1 - 0.2**0.7) / 0.7])
    assert float(loss(labels, probabilities)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "name", ["CategoricalCrossentropy", "BinaryCrossentropy", "CategoricalFocalCrossentropy", "BinaryFocalCrossentropy"]
)
def test_from_logits_follows_the_head_unless_it_is_written(name: str) -> None:
    assert make("loss", name).build(from_logits=True).get_config()["from_logits"] is True
    assert make("loss", name).build(from_logits=False).get_config()["from_logits"] is False
    assert make("loss", name, {"from_logits": False}).build(from_logits=True).get_config()["from_logits"] is False


@pytest.fixture(scope="module")
def measured() -> dict[str, tuple[float, float, float]]:
    """For each metric: its value in training, in validation, and Keras' own on the same predictions.

    Binary cross-entropy has a sigmoid head: Keras 3.15 takes the logits of any head for a sigmoid's.
    """
    images, labels = tiny_data(16)
    found = {}
    for head in ("softmax", "sigmoid"):
        metrics = [
            make("metric", name) for name in METRICS.names() if (name == "BinaryCrossentropy") == (head == "sigmoid")
        ]
        model = tiny_model(head)
        built = [metric.build(from_logits=False) for metric in metrics]
        model.compile(keras.optimizers.SGD(0.01), "categorical_crossentropy", metrics=built, run_eagerly=True)
        training = model.train_on_batch(images, labels, return_dict=True)
        # One graph of so many metrics is slow enough: that of the validation.
        model.run_eagerly, model.jit_compile = False, False
        validation = model.evaluate(images, labels, batch_size=8, verbose=0, return_dict=True)
        predictions = model.predict(images, verbose=0)
        for metric in metrics:
            name = type(metric).__name__
            average = {"average": "macro"} if name in ("F1Score", "FBetaScore") else {}
            expected = keras_class("metric", name)(**metric.arguments(), **average)
            expected.update_state(labels, predictions)
            found[name] = (training[metric.column], validation[metric.column], float(expected.result()))
    return found


@pytest.mark.parametrize("name", METRICS.names())
def test_metric_measures(name: str, measured: dict[str, tuple[float, float, float]]) -> None:
    training, validation, expected = measured[name]
    assert np.ndim(training) == 0
    assert np.isfinite(training)
    assert validation == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", METRICS.names())
def test_metric_column_is_keras_name(name: str) -> None:
    """The name that Keras gives the first of its kind, and the same one for the second."""
    keras.backend.clear_session(free_memory=False)
    metric = make("metric", name)
    theirs = keras_class("metric", name)(**metric.arguments()).name
    assert metric.column == theirs
    assert [metric.build(False).name, metric.build(False).name] == [theirs, theirs]
    named = make("metric", name, {**(REQUIRED.get(name) or {}), "name": "mine"})
    assert (named.column, named.build(False).name) == ("mine", "mine")


# --- Schedules ----------------------------------------------------------------------------------------


def rates(schedule: Schedule, count: int, scale: int = 1, total: int = 20) -> list[float]:
    """The rate at each of Keras' steps, for a base rate of 1 and 5 updates per epoch."""
    built = schedule.build(1.0, updates_per_epoch=5, total_updates=total, scale=scale)
    return [float(built(step)) for step in range(count)]


def restarted_cosine(step: float, period: float) -> float:
    """Each period twice as long as the one before it."""
    while step >= period:
        step, period = step - period, 2 * period
    return float(0.5 * (1 + np.cos(np.pi * step / period)))


SPANS = {
    "CosineDecay": lambda x, n: 0.5 * (1 + np.cos(np.pi * np.minimum(x / n, 1))),
    "ExponentialDecay": lambda x, n: 0.5 ** (x / n),
    "InverseTimeDecay": lambda x, n: 1 / (1 + 0.5 * x / n),
    "PolynomialDecay": lambda x, n: (1 - 0.0001) * (1 - np.minimum(x / n, 1)) + 0.0001,
    "CosineDecayRestarts": restarted_cosine,
}


@pytest.mark.parametrize("name", SPANS)
@pytest.mark.parametrize(
    ("given", "updates"), [({}, 20), ({"steps": 10}, 10), ({"epochs": 3}, 15), ({"epochs": 0.5}, 2)], ids=str
)
def test_a_schedule_spans_the_run_or_what_is_written(name: str, given: dict[str, Any], updates: int) -> None:
    first = "first_decay" if name == "CosineDecayRestarts" else "decay"
    arguments = {f"{first}_{unit}": value for unit, value in given.items()}
    schedule = make("schedule", name, {**(REQUIRED.get(name) or {}), **arguments})
    expected = [float(SPANS[name](step, updates)) for step in range(20)]
    np.testing.assert_allclose(rates(schedule, 20), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SPANS)
def test_accumulated_gradients_stretch_a_schedule(name: str) -> None:
    """Keras counts batches: with two per update, the rate of update u holds at batch 2u."""
    schedule = make("schedule", name)
    expected = [float(SPANS[name](step, 20)) for step in range(20)]
    np.testing.assert_allclose(rates(schedule, 40, scale=2)[::2], expected, rtol=1e-5, atol=1e-6)


def test_keras_own_warm_up_is_part_of_the_run_and_stretched_too() -> None:
    schedule = make("schedule", "CosineDecay", {"warmup_target": 3.0, "warmup_steps": 5})
    expected = [1 + 2 * step / 5 for step in range(5)]
    expected += [3 * 0.5 * (1 + np.cos(np.pi * step / 15)) for step in range(15)] + [0.0]
    np.testing.assert_allclose(rates(schedule, 21), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rates(schedule, 41, scale=2)[::2], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "first"),
    [({"boundaries": [5, 10]}, 6), ({"boundaries_epochs": [1, 2]}, 5), ({"boundaries_epochs": [0.01, 1]}, 0)],
    ids=str,
)
def test_piecewise_constant(arguments: dict[str, Any], first: int) -> None:
    """Updates are those of Keras, whose boundary has the old value; an epoch of 5 ends after its fifth."""
    schedule = make("schedule", "PiecewiseConstantDecay", {**arguments, "values": [3.0, 2.0, 1.0]})
    assert rates(schedule, 13) == [3.0] * first + [2.0] * 5 + [1.0] * (8 - first)
    # The last batch of an update tells its rate.
    assert rates(schedule, 26, scale=2)[1::2] == rates(schedule, 13)


# --- The config as a whole ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped.names())
def test_a_shipped_config_survives_being_written_out(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    first = load_config(str(shipped.find(name)), to_train=False)
    (tmp_path / "again.yaml").write_text(dump(first.config.to_plain()))
    again = load_config(str(tmp_path / "again.yaml"), to_train=False)
    assert again.config == first.config
    assert again.config.to_plain() == first.config.to_plain()
    assert again.info == first.info


def test_an_object_with_every_argument_survives_being_written_out() -> None:
    for kind, name in OBJECTS:
        table = KINDS[kind][0]
        plain = make(kind, name)
        whole = {argument: getattr(plain, argument) for argument in type(plain).model_fields}
        whole = {argument: value for argument, value in whole.items() if value is not None}
        first = make(kind, name, whole)
        assert isinstance(first, NamedObject)
        again = Choice(table).validate(first.to_plain())
        assert again == first
        assert again.to_plain() == first.to_plain()


def test_every_field_has_a_description() -> None:
    for kind, name in OBJECTS:
        cls = KINDS[kind][0].get(name)
        assert cls is not None
        assert cls.__doc__
        for argument, field in cls.model_fields.items():
            assert field.description, (name, argument)


def test_cross_entropy_is_the_class_that_the_tables_hold() -> None:
    """A loss and a metric share the name; each table has its own class."""
    assert LOSSES.get("CategoricalCrossentropy") is CategoricalCrossentropy
    assert METRICS.get("CategoricalCrossentropy") is not CategoricalCrossentropy
