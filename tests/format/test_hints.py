"""What cnnkit says to keys at a wrong place, to keys and values of Keras 2, PyTorch and Python, and what helps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from broken import edited
from pydantic import BaseModel
from pydantic_core import PydanticCustomError

from cnnkit.augmentation import AUGMENTATIONS
from cnnkit.config.data import DataConfig, Splits
from cnnkit.config.load import load_config
from cnnkit.config.objectives.losses import LOSSES
from cnnkit.config.objectives.metrics import METRICS
from cnnkit.config.optimization.optimizers import OPTIMIZERS
from cnnkit.config.optimization.schedules import SCHEDULES
from cnnkit.config.run import ModelConfig, RunConfig
from cnnkit.config.training import EarlyStopping, TrainingConfig
from cnnkit.errors import ConfigError
from cnnkit.format.base import Choice, StrictModel, Table, split_named
from cnnkit.format.document import parse
from cnnkit.format.hints import DROPPED, RENAMED, meant_key, of_key, renamed
from cnnkit.format.similar import fold, nearest
from cnnkit.layers import LAYERS
from cnnkit.layers.blocks import BlockConfig
from cnnkit.layers.weights import CONSTRAINTS, INITIALIZERS, REGULARIZERS

SECTIONS: dict[str, type[StrictModel]] = {
    "": RunConfig,
    "data": DataConfig,
    "data.splits": Splits,
    "model": ModelConfig,
    "training": TrainingConfig,
    "training.early_stopping": EarlyStopping,
}
TABLES = {"augmentation": AUGMENTATIONS, "model.layers": LAYERS, "training.optimizer": OPTIMIZERS,
          "training.schedule": SCHEDULES, "training.loss": LOSSES, "training.metrics": METRICS}  # fmt: skip


def classes() -> list[type[BaseModel]]:
    """All sections and named objects."""
    found: list[type[BaseModel]] = [*SECTIONS.values(), BlockConfig]
    for table in TABLES.values():
        found += [cls for name in table.names() if (cls := table.get(name)) is not None]
    return found


@pytest.mark.parametrize(("path", "wrong"), [(a, b) for a in SECTIONS for b in SECTIONS if a != b])
def test_a_key_at_a_wrong_place_is_shown_the_right_one(path: str, wrong: str) -> None:
    """Every key of every section in every other one, unless that is called the same there or nearly so."""
    for key in SECTIONS[path].model_fields:
        others = [name for name, section in SECTIONS.items() if key in section.model_fields]
        owner = SECTIONS[wrong]
        if fold(key) in map(fold, owner.model_fields) or renamed(key, owner) is not None:
            continue
        text = of_key(key, owner, 3, RunConfig)
        place = [f"`{key}:` at the left margin" if not one else f"`{key}` in `{one}`" for one in others]
        assert any(one in text for one in place), text
        assert meant_key(key, owner, RunConfig) is None


def test_the_arguments_of_the_optimizer_and_the_names_of_objects_too() -> None:
    text = of_key("learning_rate", TrainingConfig, 0.01, RunConfig)
    assert text == "; write `training.optimizer: {Adam: {learning_rate: 0.01}}`"
    assert of_key("lr", TrainingConfig, 0.01, RunConfig) == text
    for place, table in TABLES.items():
        for name in table.names():
            text = of_key(name, RunConfig, None, RunConfig)
            owners = [one for one, other in TABLES.items() if name in other.names()]
            key = fold(name) in map(fold, (*RunConfig.model_fields, *TrainingConfig.model_fields))
            assert key or any(f"write it in `{one}`" in text for one in owners), (place, name, text)


def test_what_others_call_otherwise_leads_to_a_field_that_is_there() -> None:
    fields = {name for cls in classes() for name in cls.model_fields}
    for key, names in RENAMED.items():
        assert set(names) & fields, key
        assert key not in names
    for cls in classes():
        for key in {*RENAMED, *DROPPED} - set(cls.model_fields):
            assert issubclass(cls, StrictModel)
            meant = meant_key(key, cls, RunConfig)
            assert meant is None or meant in cls.model_fields


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("LeakyReLU: {alpha: 0.1}", "unknown argument `alpha`; write `negative_slope`"),
        ("Conv2D: {filters: 8, kernel_size: 3, stride: 2}", "write `strides`"),
        ("Conv2D: {out_channels: 8, kernel_size: 3}", "write `filters`"),
        ("Conv2D: {in_channels: 3, filters: 8, kernel_size: 3}", "leave it out; a layer takes what arrives"),
        ("Conv2D: {filters: 8, kernel_size: 3, input_shape: [32, 32, 3]}", "leave it out"),
        ("Conv2D: {filters: 8, kernel_size: 3, weight_decay: 0.1}", "`kernel_regularizer: {L2: ...}`"),
        ("Dense: {filters: 8}", "write `units`"),
        ("Dropout: {p: 0.5}", "write `rate`"),
        ("BatchNormalization: {eps: 1e-5, momentum: 0.1}", "write `epsilon`; PyTorch's `momentum: 0.1` is 0.9"),
        ("Reshape: {shape: [32, 32, 8]}", "write `target_shape`"),
        ("Repeat: {n: 2, layers: [ReLU]}", "write `times`"),
        ("MaxPooling2D: {kernel_size: 2}", "write `pool_size`"),
        ("MaxPooling2D: {pool_size: 2.0}", "got 2.0 (a number); write 2"),
        ("Conv2D: {filters: 8.0, kernel_size: 3}", "got 8.0 (a number); write 8"),
        ("Conv2D: {filters: 8, kernel_size: '3'}", "remove the quotes"),
        ("Conv2D: {filters: channels, kernel_size: 3}", "a parameter is written with a `$`: `$channels`"),
        ("Conv2D: {filters: channels * 2, kernel_size: 3}", "with a `$`: `$channels * 2`"),
        ("Conv2D: {filters: 8, kernel_size: 3, padding: None}", "YAML's None is `null`"),
        ("Branches: [null, [ReLU]]", "a path that passes its input on is an empty list, `[]`"),
        ("Branches: [Identity, [ReLU]]", "write `[Identity]`"),
        ("Branches: [[Identity], [ReLU]]", "a path that passes its input on is an empty list, `[]`"),
        ("Residual: ReLU", "write `[ReLU]`"),
        ("MaxPooling2D: (2, 2)", "`(2, 2)` is a tuple in Python; in YAML, write `[2, 2]`"),
        ("MaxPooling2D: {pool_size: (2, 2), strides: 2}", "in YAML, write `[2, 2]`"),
        ("ZeroPadding2D: {padding: ((1, 1), (2, 2))}", "in YAML, write `[[1, 1], [2, 2]]`"),
        ("Dropout: {rate: 0.5, noise_shape: (None, 1, 1, 1)}", "in YAML, write `[null, 1, 1, 1]`"),
        ("Reshape: [(3, 4), 5]", "in YAML, write `[3, 4]`"),
        ("Branches: {merge: multiply, paths: [[], [GlobalAveragePooling2D]]}", "`GlobalAveragePooling2D: {keepdims:"),
        ("Branches: [[], [GlobalMaxPooling2D, Dense: 3]]", "`GlobalMaxPooling2D: {keepdims: true}`"),
    ],
)
def test_a_layer_as_others_write_it(layer: str, words: str, tmp_path: Path) -> None:
    text = problems(edited(("ReLU", layer)), tmp_path)
    assert words in text
    assert text.count("\n") == 1, text


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (("epochs: 3", "epochs: 1e1"), "got 10.0 (a number); write 10"),
        (("epochs: 3", "epochs: 3.5"), "got 3.5 (a number)"),
        (("batch_size: 64", "batch_size: 64.0"), "write 64"),
        (("epochs: 3", "epochs: 3\n  batch_size: 3"), "write `batch_size` in `data`"),
        (("epochs: 3", "epochs: 3\n  callbacks: []"), "leave it out; `early_stopping`"),
        (("learning_rate: 0.1", "lr: 0.1"), "unknown argument `lr`; write `learning_rate`"),
        (("learning_rate: 0.1", "decay: 0.1"), "write a `training.schedule`"),
        (("seed: 0", "layers: []"), "write `layers` in `model`"),
        (("seed: 0", "sgd: 0"), "`SGD` is an optimizer; write it in `training.optimizer`"),
    ],
)
def test_a_section_as_others_write_it(edit: tuple[str, str], words: str, tmp_path: Path) -> None:
    text = problems(edited(edit), tmp_path)
    assert words in text
    assert text.count("\n") == 1, text


@pytest.mark.parametrize(
    "table", [*TABLES.values(), INITIALIZERS, REGULARIZERS, CONSTRAINTS], ids=lambda table: table.kind
)
def test_what_an_answer_to_a_name_says_to_write_is_valid(table: Table) -> None:
    """Layers have a test of their own."""
    for name, reason in table.unavailable.items():
        assert table.get(name) is None
        for text in re.findall(r"write `([A-Z][^`]+)`", reason):
            other = LAYERS if "model.layers" in reason else table
            Choice(other).validate(parse(text, "answer").plain())


@pytest.mark.parametrize(
    ("table", "name", "words"),
    [
        (INITIALIZERS, "XavierUniform", "write `GlorotUniform`"),
        (AUGMENTATIONS, "RandomAffine", "write `RandomRotation: 0.1`"),
        (AUGMENTATIONS, "ColorJitter", "did you mean `RandomColorJitter`?"),
        (AUGMENTATIONS, "RandomFog", "unknown augmentation `RandomFog`"),
        (OPTIMIZERS, "RAdam", "the nearest is `Adam`"),
        (OPTIMIZERS, "adm", "did you mean `Adam`?"),
        (METRICS, "BalancedAccuracy", "unknown metric `BalancedAccuracy`"),
        (SCHEDULES, "CosineAnnealingLR", "write `CosineDecay`"),
        (REGULARIZERS, "L2Regularizer", "unknown regularizer `L2Regularizer`"),
        (LOSSES, "CrossEntropyLoss", "write `CategoricalCrossentropy`"),
    ],
)
def test_no_neighbour_that_means_something_else_is_named(table: Table, name: str, words: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        split_named(name, table)
    text = caught.value.message()
    assert words in text
    assert ("did you mean" in text) == ("did you mean" in words)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mixed_bfloat", "mixed_bfloat16"),
        ("mixed_float", "mixed_float16"),
        ("MixedBFloat16", "mixed_bfloat16"),
        ("mixed_float32", None),
    ],
)
def test_the_digits_of_a_policy_may_be_left_out_but_not_be_others(name: str, meant: str | None) -> None:
    assert nearest(name, ["auto", "float32", "mixed_bfloat16", "mixed_float16"]) == meant


@pytest.mark.parametrize("name", ["Conv", "DepthwiseConv", "MaxPooling", "GlobalAveragePooling", "UpSampling"])
def test_a_layer_without_its_dimensions_is_one_of_images(name: str) -> None:
    assert nearest(name, LAYERS.names()) == name + "2D"


def test_a_very_long_name_is_compared_with_nothing() -> None:
    assert nearest("batch_size" * 100_000, ["batch_size"]) is None


def test_a_parameter_without_its_dollar_is_one_of_the_block_around_it(tmp_path: Path) -> None:
    block = "blocks: {unit: {parameters: {width: 3}, layers: [Conv2D: {filters: width, kernel_size: 3}]}}"
    text = problems(edited(("  layers:", f"  {block}\n  layers:")), tmp_path)
    assert text.endswith('got "width" (a string); a parameter is written with a `$`: `$width`')


def problems(text: str, folder: Path) -> str:
    file = folder / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(str(file))
    return str(caught.value)
