"""The JSON Schema for editors accepts what the config accepts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from cnnkit.augmentation import AUGMENTATIONS
from cnnkit.config import shipped
from cnnkit.config.objectives.losses import LOSSES
from cnnkit.config.objectives.metrics import METRICS
from cnnkit.config.optimization.optimizers import OPTIMIZERS
from cnnkit.config.optimization.schedules import SCHEDULES
from cnnkit.config.run import RunConfig
from cnnkit.format.base import Choice
from cnnkit.layers import LAYERS
from cnnkit.layers.substitution import Known, knowing
from cnnkit.layers.unresolved import LAYER_CHOICE, Unresolved
from cnnkit.layers.weights import CONSTRAINTS, INITIALIZERS, REGULARIZERS

PRINT = """
import sys
from cnnkit.cli import main
try:
    main()
finally:
    heavy = ("tensorflow", "keras", "matplotlib", "sklearn", "tensorflow_datasets", "rich", "numpy")
    print(*(name for name in heavy if name in sys.modules), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def printed() -> subprocess.CompletedProcess[str]:
    """What `cnnkit schema` prints in a new process; and the heavy modules that it has loaded, to stderr.

    Making the schema takes seconds: all tests read what the command has made.
    """
    command = [sys.executable, "-c", PRINT, "schema"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


@pytest.fixture(scope="module")
def schema(printed: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(printed.stdout)
    return found


def test_the_command_prints_a_json_schema_and_loads_nothing_heavy(
    printed: subprocess.CompletedProcess[str], schema: dict[str, Any]
) -> None:
    assert printed.stderr.split() == []
    assert schema["type"] == "object"
    assert {"data", "model", "training"} <= set(schema["properties"])


def fits(schema: dict[str, Any], value: Any, definitions: dict[str, Any]) -> bool:
    """Whether a value fits a JSON schema; for the keywords that the config's schema uses, and no others."""
    if "$ref" in schema:
        return fits(definitions[schema["$ref"].removeprefix("#/$defs/")], value, definitions)
    assert schema.keys() <= KNOWN, schema.keys()
    return all(
        CHECKS[keyword](argument, value, schema, definitions)
        for keyword, argument in schema.items()
        if keyword in CHECKS
    )


#: By keyword, whether a value fits it, given its argument, the value, the schema in which it stands, and definitions.
CHECKS: dict[str, Callable[[Any, Any, dict[str, Any], dict[str, Any]], bool]] = {
    "type": lambda names, value, *_: any(
        _has_type(name, value) for name in ([names] if isinstance(names, str) else names)
    ),
    "anyOf": lambda parts, value, _, known: any(fits(part, value, known) for part in parts),
    "oneOf": lambda parts, value, _, known: sum(fits(part, value, known) for part in parts) == 1,
    "allOf": lambda parts, value, _, known: all(fits(part, value, known) for part in parts),
    "uniqueItems": lambda _, value, *rest: not isinstance(value, list) or len(set(map(str, value))) == len(value),
    "not": lambda part, value, _, known: not fits(part, value, known),
    "contains": lambda item, value, _, known: (
        not isinstance(value, list) or any(fits(item, one, known) for one in value)
    ),
    "enum": lambda values, value, *_: any(value == one and type(value) is type(one) for one in values),
    "const": lambda one, value, *_: value == one and type(value) is type(one),
    "minimum": lambda bound, value, *_: not _is_number(value) or value >= bound,
    "maximum": lambda bound, value, *_: not _is_number(value) or value <= bound,
    "exclusiveMinimum": lambda bound, value, *_: not _is_number(value) or value > bound,
    "exclusiveMaximum": lambda bound, value, *_: not _is_number(value) or value < bound,
    "minItems": lambda count, value, *_: not isinstance(value, list) or len(value) >= count,
    "maxItems": lambda count, value, *_: not isinstance(value, list) or len(value) <= count,
    "minLength": lambda count, value, *_: not isinstance(value, str) or len(value) >= count,
    "maxLength": lambda count, value, *_: not isinstance(value, str) or len(value) <= count,
    "pattern": lambda pattern, value, *_: not isinstance(value, str) or re.search(pattern, value) is not None,
    "items": lambda item, value, _, known: not isinstance(value, list) or all(fits(item, one, known) for one in value),
    "minProperties": lambda count, value, *_: not isinstance(value, dict) or len(value) >= count,
    "maxProperties": lambda count, value, *_: not isinstance(value, dict) or len(value) <= count,
    "propertyNames": lambda names, value, _, known: (
        not isinstance(value, dict) or all(fits(names, key, known) for key in value)
    ),
    "required": lambda keys, value, *_: not isinstance(value, dict) or all(key in value for key in keys),
    "properties": lambda fields, value, _, known: (
        not isinstance(value, dict)
        or all(fits(part, value[key], known) for key, part in fields.items() if key in value)
    ),
    "additionalProperties": lambda allowed, value, schema, known: (
        allowed is True
        or not isinstance(value, dict)
        or all(
            allowed is not False and fits(allowed, value[key], known)
            for key in value.keys() - schema.get("properties", {}).keys()
        )
    ),
}
KNOWN = CHECKS.keys() | {"$schema", "format", "title", "description", "default", "$defs"}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _has_type(name: str, value: Any) -> bool:
    types: dict[str, Any] = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    if name == "number":
        return _is_number(value)
    if name == "integer":
        return _is_number(value) and value == int(value)
    return isinstance(value, types[name])


def plain_text(text: str) -> Any:
    from cnnkit.format.document import parse

    return parse(text, "f.yaml").plain()


@pytest.mark.parametrize("name", shipped.names())
def test_the_schema_accepts_a_shipped_config(name: str, schema: dict[str, Any]) -> None:
    assert fits(schema, plain_text(shipped.find(name).read_text("utf-8")), schema["$defs"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed: 0", "sead: 0"),
        ("batch_size", "batchsize"),
        ("RandomFlip", "RandomFlop"),
        ("BatchNormalization", "BatchNormalisation"),
        ("kernel_size", "kernal_size"),
        ("filters: 8", "filters: eight"),
        ("filters: 8", "filters: 0"),
        ("SGD", "SDG"),
        ("momentum", "momentm"),
        ("factor: 0.5", "factor: 5"),
        ("patience", "patiense"),
        ("[AUC]", "[AUCC]"),
        ("epochs: 3", "epochs: 0"),
        ("epochs: 3", "epochs: three"),
        ("data:", "dta:"),
        ("softmax", "softmx"),
        ("Dropout: 0.5", "Dropout: {rate: 0.5, seed: 1}"),
    ],
)
def test_the_schema_refuses_what_the_config_refuses(old: str, new: str, schema: dict[str, Any]) -> None:
    from broken import BASE, edited

    assert fits(schema, plain_text(BASE), schema["$defs"])
    assert not fits(schema, plain_text(edited((old, new))), schema["$defs"])


#: Values that may stand for the leading argument of something.
SHORT = (
    *(None, True, -2, -1, 0, 1, 2, 3, 0.5, 1.5, -0.1, 1e9, "x", "rleu", "relu", "same", "horizontal", "diagonal"),
    *("classes", "$channels", "$channels * 2", "3 * 4", [], [1, 2], [0, 0], [1, 2, 3], [0.1, 0.2]),
    *(["ReLU"], [["ReLU"], []], [["ReLU"]], ["x"], [[1, 2], [3, 4]], ["$channels", 2], [[1, "$channels"], [0, 0]]),
    *({"x": 1}, {}),
)


#: Whose numbers are compared with each other's defaults, which a JSON Schema cannot do.
BEYOND_SCHEMA = ("RandomUniform", "MinMaxNorm")


def taken(kind: str, value: Any) -> bool | None:
    """Whether the config takes a value where it expects a named object; None where what its names stand for decides."""
    if kind in ("initializer", "regularizer", "constraint"):
        # What is an argument of layers may hold names, too; some are for the one kind of kernel, some for the other.
        argument = {f"kernel_{kind}": value}
        kernels = [{"Dense": {"units": 1, **argument}}, {"Conv2D": {"filters": 1, "kernel_size": 3, **argument}}]
        answers = [taken("layer", layer) for layer in kernels]
        return None if None in answers else any(answers)
    choice = LAYER_CHOICE if kind == "layer" else Choice(SHORT_TABLES[kind])
    try:
        # A schema cannot tell which names are those of blocks.
        with knowing(Known({name: {} for name in SHORT if isinstance(name, str) and name.isidentifier()})):
            found = choice.validate(value)
    except (PydanticCustomError, ValidationError):
        return False
    return None if isinstance(found, Unresolved) else True


SHORT_TABLES = {"layer": LAYERS, "augmentation": AUGMENTATIONS, "optimizer": OPTIMIZERS, "schedule": SCHEDULES,
                "loss": LOSSES, "metric": METRICS, "initializer": INITIALIZERS, "regularizer": REGULARIZERS,
                "constraint": CONSTRAINTS}  # fmt: skip


@pytest.mark.parametrize("kind", SHORT_TABLES)
def test_the_schema_takes_the_short_forms_that_the_config_takes_and_no_others(
    kind: str, schema: dict[str, Any]
) -> None:
    """Every named object as a bare name, and with every kind of value in the place of its leading argument."""
    part = schema["$defs"][kind]
    table = SHORT_TABLES[kind]
    different = []
    for name in table.names():
        for written in (name, *({name: value} for value in SHORT)):
            ours, said = taken(kind, written), fits(part, written, schema["$defs"])
            if name not in BEYOND_SCHEMA and ours is not None and ours != said:
                different.append((written, ours, said))
    assert different == [], "\n".join(map(str, different))


def test_the_schema_knows_extends(schema: dict[str, Any]) -> None:
    assert fits(schema, {"extends": "base.yaml", "training": {"epochs": 3}}, schema["$defs"])
    assert not fits(schema, {"extends": 3}, schema["$defs"])
    assert not fits(schema, {"training": {"epochs": 3}}, schema["$defs"])
    one, several = schema["properties"]["extends"]["anyOf"]
    assert one["type"] == several["items"]["type"] == "string"
    assert "extends" not in RunConfig.model_fields


def test_the_schema_knows_names_in_the_place_of_layers(schema: dict[str, Any]) -> None:
    """As in the reference, which shows them in a config of its own."""
    text = (Path(__file__).parents[2] / "docs" / "reference.md").read_text(encoding="utf-8")
    shown = next(block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "Residual: $main" in block)
    plain = {"extends": "base.yaml", **plain_text(shown)}
    assert fits(schema, plain, schema["$defs"])
    plain["model"]["blocks"]["unit"]["layers"][0] = "$no-name"
    assert not fits(schema, plain, schema["$defs"])


@pytest.mark.parametrize(
    ("layer", "fitting"),
    [
        ({"Dropout": "$rate / 2"}, True),
        ({"MaxPooling2D": ["$channels", 2]}, True),
        ({"ZeroPadding2D": [[1, "$channels"], [0, 0]]}, True),
        ({"Conv2D": {"filters": "$n * 2", "kernel_size": ["$k", 1]}}, True),
        ({"Activation": "$act"}, True),
        ({"Activation": "$act * 2"}, False),
        ({"Residual": "$main"}, True),
        ({"Residual": ["$main", 2]}, False),
        ("Dropout", False),
        ({"Dropout": None}, False),
    ],
)
def test_the_schema_knows_where_expressions_stand(layer: Any, fitting: bool, schema: dict[str, Any]) -> None:
    assert fits(schema["$defs"]["layer"], layer, schema["$defs"]) is fitting


def test_the_schema_says_which_draft_it_is(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
