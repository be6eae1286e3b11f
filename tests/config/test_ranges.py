"""Every number of the format has a range, stated in its schema and kept; and what it makes of an image has one, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, ValidationError

from cnnkit.augmentation import AUGMENTATIONS
from cnnkit.config.data import ChannelStatistics, DataConfig
from cnnkit.config.load import load_config
from cnnkit.config.objectives.losses import LOSSES
from cnnkit.config.objectives.metrics import METRICS
from cnnkit.config.optimization.optimizers import OPTIMIZERS
from cnnkit.config.optimization.schedules import SCHEDULES
from cnnkit.config.run import ModelConfig, RunConfig, StackConfig
from cnnkit.config.training import EarlyStopping, TrainingConfig
from cnnkit.errors import ConfigError
from cnnkit.format.base import NamedObject, StrictModel, Table
from cnnkit.layers import LAYERS
from cnnkit.layers.blocks import BlockConfig
from cnnkit.layers.geometry import stride_between
from cnnkit.layers.normalization import RenormClipping
from cnnkit.layers.weights import CONSTRAINTS, INITIALIZERS, REGULARIZERS

TABLES = (
    AUGMENTATIONS,
    CONSTRAINTS,
    INITIALIZERS,
    LAYERS,
    LOSSES,
    METRICS,
    OPTIMIZERS,
    REGULARIZERS,
    SCHEDULES,
)
SECTIONS: tuple[type[StrictModel], ...] = (
    RunConfig,
    ModelConfig,
    StackConfig,
    BlockConfig,
    DataConfig,
    ChannelStatistics,
    TrainingConfig,
    EarlyStopping,
    RenormClipping,
)


def classes(table: Table) -> Iterator[type[NamedObject]]:
    for name in table.names():
        found = table.get(name)
        assert found is not None
        yield found


def numbers(schema: Any) -> Iterator[dict[str, Any]]:
    """The schemas of numbers inside a JSON Schema, but not those of named objects, which are asked themselves."""
    if isinstance(schema, list):
        for item in schema:
            yield from numbers(item)
    elif isinstance(schema, Mapping):
        kind = schema.get("type")
        if "enum" not in schema and {"integer", "number"} & set(kind if isinstance(kind, list) else [kind]):
            yield dict(schema)
        for key in ("anyOf", "items", "additionalProperties"):
            yield from numbers(schema.get(key))


def fields() -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Every field with its type, and a schema of a number in it."""
    for cls in (*SECTIONS, *(cls for table in TABLES for cls in classes(table))):
        for name, info in cls.model_fields.items():
            text = str(info.annotation) + str(info.metadata)
            if "Choice(" in text or "bool" in text or any(cls.__name__ in text for cls in SECTIONS):
                continue
            adapter: Any = TypeAdapter(
                Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
            )
            for schema in numbers(adapter.json_schema()):
                yield f"{cls.__name__}.{name}", adapter, schema


def test_every_number_has_a_range_and_keeps_it() -> None:
    """Beyond the schema's bounds, alone and in a list, nothing is valid."""
    seen = set()
    for place, adapter, schema in fields():
        seen.add(place)
        low, high = (schema.get(key, schema.get(f"exclusive{key.capitalize()}")) for key in ("minimum", "maximum"))
        if low is None or high is None:
            raise AssertionError(f"{place} has no range: {schema}")
        step = 1 if schema["type"] == "integer" else max(1.0, abs(low), abs(high))
        for outside in (high + step, low - step):
            for value in (outside, [outside], [outside] * 2, [outside] * 3, [[outside] * 2] * 2):
                try:
                    valid = adapter.validate_python(value, strict=True)
                except ValidationError:
                    continue
                raise AssertionError(f"{place} takes {value} as {valid}")
    assert {"Conv2D.filters", "RunConfig.seed", "Repeat.times", "Muon.ns_steps", "RandomCrop.padding"} <= seen
    assert len(seen) > 150


CONFIG = """\
data: {{name: cifar10{data}}}
model:
  blocks:
    unit:
      parameters: {{size: required}}
      layers: [{{Conv2D: {{filters: $size * 1000, kernel_size: 1}}}}]
  layers:
    - {layer}
    - GlobalAveragePooling2D
    - Dense: classes
training: {{epochs: 1{training}}}
"""


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (
            {"layer": "Conv2D: {filters: 99999999999, kernel_size: 3}"},
            ["filters", "from 1 to 1,000,000", "got 99999999999"],
        ),
        ({"layer": "Conv2D: {filters: 9, kernel_size: 2147483647}"}, ["kernel_size", "from 1 to 65,536"]),
        ({"layer": "MaxPooling2D: 100000000"}, ["pool_size", "from 1 to 65,536"]),
        ({"layer": "ZeroPadding2D: 100000"}, ["padding", "all from 0 to 65,536"]),
        ({"layer": "ZeroPadding2D: 60000"}, ["120032x120032x3, 43,223,043,072 values", "2,147,483,647"]),
        ({"layer": "UpSampling2D: 60000"}, ["output for one image would be 1920000x1920000x3"]),
        ({"layer": "Repeat: {times: 6000, layers: [ReLU]}"}, ["times", "at most 4,000"]),
        ({"layer": "unit: 2000"}, ["filters", "from 1 to 1,000,000", "got 2000000", "(from `$size * 1000`)"]),
        ({"layer": "unit: 9223372036854775807"}, ["is too large; numbers reach 2^63 - 1"]),
        ({"layer": "Conv2D: {filters: $channels + 9999999999999, kernel_size: 1}"}, ["from 1 to 1,000,000"]),
        (
            {"layer": "Conv2D: {filters: 9, kernel_size: 3, strides: 999, padding: [60000, 60000]}"},
            ["image with its padding", "120032"],
        ),
        ({"layer": "Conv2D: {filters: 1000000, kernel_size: 32}"}, ["weight `kernel` would be 32x32x3x1000000"]),
        ({"layer": "Reshape: [32, 32, 1, 1, 1, 1, 1, 1, 3]"}, ["at most 8 sizes"]),
        ({"layer": "ReLU", "training": ", threads: 1000000000"}, ["threads", "from 1 to 1,024"]),
        ({"layer": "ReLU", "training": ", steps_per_execution: 9223372036854775807"}, ["from 1 to 1,000,000"]),
        ({"layer": "ReLU", "data": ", batch_size: 1000000000"}, ["batch_size", "of at most 1,000,000"]),
        ({"layer": "ReLU", "data": ", image_size: 100000000"}, ["image_size", "from 1 to 65,536"]),
        ({"layer": "ReLU", "training": ", warmup_epochs: 1e300"}, ["warmup_epochs", "of at most 1,000,000"]),
        ({"layer": "ReLU", "training": ", optimizer: {SGD: 1e300}"}, ["learning_rate", "of at most 1e+30", "1e+300"]),
    ],
)
def test_a_value_out_of_range_is_refused_where_it_stands(
    parts: dict[str, str], words: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(CONFIG.format(**{"data": "", "training": "", **parts}))
    with pytest.raises(ConfigError) as caught:
        load_config(str(file))
    (problem,) = caught.value.problems
    for word in words:
        assert word in f"{problem.path}: {problem.message}"


@pytest.mark.parametrize("size", range(1, 40))
def test_the_stride_of_a_shortcut_is_the_smallest_that_leaves_so_many_positions(size: int) -> None:
    for wanted in range(1, size + 3):
        strides = [stride for stride in range(1, size + 1) if len(range(0, size, stride)) == wanted]
        assert stride_between(size, wanted) == (min(strides) if strides else None)
