"""Writes docs/reference.md, the reference of the config format, from the classes that read it.

python scripts/make_reference.py            # write it
python scripts/make_reference.py --check    # exit 1 if it is not up to date
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter, WithJsonSchema
from pydantic.fields import FieldInfo

from cnnkit.augmentation import AUGMENTATIONS, Augmentation
from cnnkit.config.box_columns import BoxColumns
from cnnkit.config.damage import Damage
from cnnkit.config.data import ChannelStatistics, DataConfig, Splits
from cnnkit.config.objectives.losses import LOSSES
from cnnkit.config.objectives.metrics import METRICS
from cnnkit.config.optimization.optimizers import OPTIMIZERS
from cnnkit.config.optimization.schedules import SCHEDULES
from cnnkit.config.run import ModelConfig, RunConfig
from cnnkit.config.stages import Stage
from cnnkit.config.training import EarlyStopping, TrainingConfig
from cnnkit.format.base import NamedObject, StrictModel, Table, to_plain
from cnnkit.format.fields import LARGEST_NUMBER
from cnnkit.format.schema import schema_of
from cnnkit.layers import LAYERS
from cnnkit.layers.base import Layer
from cnnkit.layers.blocks import BlockConfig
from cnnkit.layers.weights import CONSTRAINTS, INITIALIZERS, REGULARIZERS
from cnnkit.network.lint import RULES, Advice
from cnnkit.tasks import TASKS
from cnnkit.training.resuming import MAY_CHANGE

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "reference.md"
COST = ROOT / "docs" / "augmentation_cost.md"

INTRODUCTION = """\
# The config format

This page is made by `python scripts/make_reference.py` from the classes that read a config; it cannot say anything
else than they do. `cnnkit schema` prints the same as JSON Schema, for editors.

`cnnkit new NAME` copies a config that cnnkit ships; `cnnkit new --from FOLDER` writes one for your own images, with the
reason for each choice.

A config is one YAML file (YAML 1.2 scalars: `1e-3` is a number, `on` a string). Names are Keras' names, and so are
arguments and defaults. A *named object* (a layer, an optimizer, an initializer, ...) is written in one of three ways:

```yaml
- BatchNormalization                      # a bare name: Keras' defaults
- Conv2D: {filters: 32, kernel_size: 3}   # a name with keyword arguments
- Dropout: 0.5                            # a name with its leading argument, given below as `Name: argument`
```

Unknown keys, wrong types, values out of range and shapes that do not fit are all reported at once with file, line and
column, before TensorFlow is loaded. `extends: other.yaml` starts from another file: mappings merge; lists, and named
objects of another name, replace, and so does one of two keys that exclude each other (`folder` takes the place of
`name`). Of several, `extends: [a.yaml, b.yaml]`, later ones change earlier ones. A relative path, in `extends`,
`data.folder`, `data.table` and a Backbone's `weights`, belongs to the folder of the file that has it (of a link: where
the link lies; of what comes through a pipe: the current folder). `--set training.epochs=5` changes one value on the
command line, at any depth (`--set model.layers[6].Dropout.rate=0.4`; `layers[-1]` counts from the end).

A command that takes CONFIG takes a file, a run, a pipe, and `-`, the standard input.

Every number has a range, far beyond what any network needs, so that a slip of the hand is no crash: it stands beside
the type where it is not all numbers from -1e30 to 1e30. Axes are counted from -8 to 8. What a layer makes of one image,
and each weight, holds at most 2,147,483,647 values; a network has at most 4,000 layers. What training needs beyond the
free memory is refused before it starts.

Layers can be made of layers (`Residual`, `Branches`, `Repeat`), and `model.blocks` gives layers a name with parameters,
to be used wherever a layer may stand:

```yaml
model:
  blocks:
    pair:
      parameters: {filters: required, strides: 1}
      layers:
        - Residual:
            activation: relu
            layers:
              - Conv2D: {filters: $filters, kernel_size: 3, strides: $strides, padding: same, activation: relu}
              - Conv2D: {filters: $filters, kernel_size: 3, padding: same}
  layers:
    - pair: 32                                          # a scalar is the first parameter
    - pair: {filters: $channels * 2, strides: 2}
```

`$name` stands for a parameter of the block; `$channels`, `$height` and `$width` for the sizes of what arrives at the
layer where they are written (height and width where that is an image, `$length` where it is a signal or the vectors
of a text's words; unless the block has parameters of these names). Where a number is valid, so is arithmetic with
`+ - * / //`, `min(a, b)`, `max(a, b)`, parentheses, numbers, `$name` and `classes`. It is exact; `//` rounds down,
and a whole number is one however it was computed: `6 / 2` is 3, where `7 / 2` is refused. Inside of `{ }` and `[ ]`,
an expression with a comma is quoted.

In the layers of a `Repeat`, `$index` is the number of the repetition, from 0, and `$times` how many there are. A block
sees only what its call hands on:

```yaml
- Repeat: {times: 8, layers: [unit: {rate: 0.2 * $index / $times, filters: "max($channels, 16 * $index)"}]}
```

A parameter may stand for any value: a layer or a list of layers, too, where a layer may stand (`- $norm`) and where a
list of layers may stand (`Residual: $main`):

```yaml
model:
  blocks:
    unit:
      parameters: {norm: BatchNormalization, main: required}
      layers: [$norm, {Residual: $main}]
  layers:
    - unit: {main: [{Conv2D: {filters: $channels, kernel_size: 3, padding: same}}]}
    - unit: {norm: [BatchNormalization, ReLU], main: [{Dropout: 0.1}, ReLU]}
```

What Keras means, where it is easy to misread:

- The `weight_decay` of an optimizer bypasses momentum and also shrinks batch normalization and biases;
  `training.exclude_from_weight_decay: [bias, gamma, beta]` leaves those out.
- The regularizer `L2: x` adds x times the sum of squares, whose gradient is 2x times the weight: a paper's weight decay
  of 5e-4 is `L2: 2.5e-4`.
- Steps of a schedule are optimizer updates. With `gradient_accumulation_steps: n` an update takes n batches.
- The learning rate of an epoch, in metrics.csv, in TensorBoard, on pages and in ejected scripts, is that of its first
  update. Keras' own callbacks record the rate that the next epoch begins with.
- `reflect` as a fill mode repeats the edge pixel, as NumPy's `symmetric` does.
"""


RESUMING = """\
`cnnkit train --resume RUN` goes on at the last checkpoint with the run's own config. With CONFIG or `--set`, some
settings may be others than before, since no step depends on them. Each change is told, and recorded in
environment.json; anything else is refused, with both values. Where the run chose for an `auto`, its choice stays. What
may change:
"""


INITIAL_WEIGHTS = """\
`cnnkit train CONFIG --init-from RUN` starts a new run with the weights of RUN's model.keras: the best epoch's, averaged
where the run averaged them. A layer takes the weights of the layer of its name (its `name`, or its place: `3.Conv2D`,
`2.Residual/layers.0.Conv2D`) if type and shapes are the same, and begins as without a run otherwise. Where classes were
added, removed, replaced or put in another order, the layers that answer are new. What was taken, left and new is told,
in full in log.txt, and recorded in environment.json with the SHA-256 of the file; that nothing fits is an error. A
kernel that is taken replaces one that `PatchWhitening` measures.

Weights are taken, nothing else. The optimizer starts anew. The normalization in front of the network is that of CONFIG:
`standardize` measures the new run's images, so that each data set reaches the network with mean 0 and variance 1;
numbers to be learned are standardised by those of the new run, too. To keep the constants of RUN, write them as
`data.normalization: {mean, variance}`; its environment.json has them. `--seeds` starts each of its runs with the same
weights. A resumed run needs nothing of RUN.
"""


VECTORS = """\
Labels and numbers come from a table, `data: {table: FILE, target: COLUMN or [COLUMNS]}`.

With several labels per image, the network ends in `Dense: {units: classes, activation: sigmoid}`, or without an
activation in log-odds, and the loss is binary cross-entropy. The headline is the mean over the labels of their average
precision; in metrics.csv, log-odds are rounded to 0.002 before it is taken, in evaluation.json they are not. Thresholds
that are chosen on validation images stand in environment.json, from where `eval`, `predict` and `serve` take them.

With numbers, the network ends in `Dense: targets`, without an activation. Its layers learn the numbers less their
means, in standard deviations of the training images; a last layer of model.keras, Keras' `Rescaling`, gives them back
in their own units. The loss is that of standardised numbers, by default the mean squared error; `mae`, `rmse` and
other metrics are in the numbers' own units, over all columns.
"""


MASKS = """\
Where each pixel has a class, the mask moves with its image, by the same draws, and is never interpolated, whatever
`interpolation` says of the image. Where an image is filled with `fill_value`, its mask is filled with the class id that
`data.ignore` names; without one, that is refused, while `reflect`, `nearest` and `wrap` repeat image and mask.
"""


ADVICE = """\
`cnnkit inspect CONFIG --lint` says what a teacher would of a network: habits that cost accuracy, parameters or time,
each with its place and the fix. It is advice; a network may have its reasons. Of the layers of a shortcut that the
config does not write, it says nothing. With `--json`, the field `lint` is a list, empty for a sound network, of
mappings:
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="exit 1 if docs/reference.md is not up to date")
    arguments = parser.parse_args()
    text = reference()
    if arguments.check:
        if TARGET.read_text(encoding="utf-8") == text:
            return 0
        sys.stderr.write("docs/reference.md is not up to date; run scripts/make_reference.py\n")
        return 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


def reference() -> str:
    """The whole page."""
    parts = [INTRODUCTION, "## The sections\n"]
    sections: list[tuple[str, type[StrictModel]]] = [
        ("The file", RunConfig),
        ("`data`", DataConfig),
        ("`data.splits`", Splits),
        ("`data.boxes`, as a mapping", BoxColumns),
        ("`data.damage`", Damage),
        ("`data.normalization`, as a mapping", ChannelStatistics),
        ("`model`", ModelConfig),
        ("`model.blocks`, each", BlockConfig),
        ("`training`", TrainingConfig),
        ("`training.early_stopping`", EarlyStopping),
        ("`training.stages`, each", Stage),
    ]
    for title, model in sections:
        parts.append(f"### {title}\n\n{_summary(model)}\n\n{_table(model, set())}")
    parts.append(_resuming())
    parts.append(f"### Weights of another run\n\n{INITIAL_WEIGHTS}")
    parts.append(_tables("Tasks", TASKS, NamedObject).replace("\n", f"\n\n{VECTORS}", 1))
    parts.append(_tables("Layers", LAYERS, Layer))
    parts.append(_tables("Augmentation", AUGMENTATIONS, NamedObject).replace("\n", f"\n\n{MASKS}", 1))
    parts.append(COST.read_text(encoding="utf-8").replace("# ", "### ", 1))
    for title, table in (
        ("Optimizers", OPTIMIZERS),
        ("Learning-rate schedules", SCHEDULES),
        ("Losses", LOSSES),
        ("Metrics", METRICS),
        ("Initializers", INITIALIZERS),
        ("Regularizers", REGULARIZERS),
        ("Constraints", CONSTRAINTS),
    ):
        parts.append(_tables(title, table, NamedObject))
    parts.append(_advice())
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _tables(title: str, table: Table, base: type[StrictModel]) -> str:
    """All named objects of a table; arguments that all of them share come first, once."""
    classes = [cls for name in table.names() if (cls := table.get(name)) is not None]
    common = set.intersection(*(set(cls.model_fields) for cls in classes)) if len(classes) > 1 else set()
    defaults = {name: {repr(field.default) for field in _optional(name, classes)} for name in common}
    common = {name for name in common if len(defaults[name]) == 1}
    parts = [f"## {title}"]
    if common:
        shared = {name: info for name, info in classes[0].model_fields.items() if name in common}
        parts.append(f"Every {table.kind} takes:\n\n{_rows(shared)}")
    for cls in classes:
        aliases = [alias for alias, name in table.aliases.items() if name == cls.__name__]
        also = f" Also written {', '.join(f'`{alias}`' for alias in aliases)}." if aliases else ""
        leading = f" `{cls.__name__}: {cls.leading}`." if cls.leading else ""
        masks = f"\n\n{cls.of_masks} {cls.of_boxes}" if issubclass(cls, Augmentation) else ""
        text = f"### {cls.__name__}\n\n{_summary(cls)}{leading}{also}{masks}\n\n{_table(cls, common)}"
        parts.append(text.rstrip() + (f"\n\n```yaml\n{cls.example}```" if cls.example else ""))
    reasons: dict[str, list[str]] = {}
    for name, reason in table.all_unavailable().items():
        reasons.setdefault(reason, []).append(f"`{name}`")
    for other, name in table.named_otherwise().items():
        reasons.setdefault(f"write `{name}`", []).append(f"`{other}`")
    if reasons:
        rows = "\n".join(f"- {', '.join(names)}: {reason}." for reason, names in reasons.items())
        parts.append(f"Not available:\n\n{rows}")
    return "\n\n".join(parts)


def _optional(name: str, classes: Sequence[type[StrictModel]]) -> list[FieldInfo]:
    """A field of several classes, where it may be left out."""
    fields = [cls.model_fields[name] for cls in classes]
    return [field for field in fields if not field.is_required()]


def _resuming() -> str:
    return "\n".join(["### Resumed runs\n", RESUMING, *(f"- `{name}`" for name in MAY_CHANGE)])


def _advice() -> str:
    """What `inspect --lint` warns of."""
    meanings = re.findall(r"^ {8}(\w+): (.*)$", Advice.__doc__ or "", re.MULTILINE)
    rows = [f"| `{name}` | {'list (string)' if name == 'places' else 'string'} | {text} |" for name, text in meanings]
    parts = ["## Advice", ADVICE, "\n".join(["| field | type | meaning |", "|---|---|---|", *rows])]
    for rule in RULES:
        lines = [f"- Warns of: {rule.finds}", f"- Why: {rule.why}", f"- Fix: {rule.fix}"]
        lines += [f"- Source: {rule.source}."] if rule.source else []
        parts.append(f"### `{rule.name}`\n\n" + "\n".join(lines))
    return "\n\n".join(part.strip("\n") for part in parts)


def _summary(cls: type[StrictModel]) -> str:
    return (cls.__doc__ or "").strip().replace("\n    ", "\n")


def _table(cls: type[StrictModel], without: set[str]) -> str:
    fields = {name: info for name, info in cls.model_fields.items() if name not in without or info.is_required()}
    return _rows(fields) if fields else ""


def _rows(fields: dict[str, FieldInfo]) -> str:
    lines = ["| argument | type | default | meaning |", "|---|---|---|---|"]
    for name, info in sorted(fields.items(), key=lambda item: not item[1].is_required()):
        default = "required" if info.is_required() else f"`{_yaml(to_plain(_single(info.default)))}`"
        lines.append(f"| `{name}` | {_type(info)} | {default} | {info.description or ''} |")
    return "\n".join(lines)


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        name, arguments = next(iter(value.items())) if len(value) == 1 else ("", None)
        return name if arguments is not None and name[:1].isupper() else "{}" if not value else "..."
    if isinstance(value, list):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    return str(value)


def _single(value: Any) -> Any:
    """A value as it is usually written: that of one axis without its brackets."""
    while isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    return value


def _type(info: FieldInfo) -> str:
    schema = schema_of(info.annotation, info.metadata)
    optional = " or null" if "None" in str(info.annotation) and not info.is_required() and info.default is None else ""
    if schema.kind == "choice" and schema.table is not None:
        return f"{schema.table.kind}{optional}"
    stated = next((marker.json_schema for marker in info.metadata if isinstance(marker, WithJsonSchema)), None)
    if schema.kind == "list" and stated is not None:
        return _json_type(stated)
    if schema.kind == "list" and schema.item is not None and schema.item.table is not None:
        return f"list of {schema.item.table.kind}s"
    if schema.kind == "list" and schema.item is not None and schema.item.item is not None and schema.item.item.table:
        return f"list of lists of {schema.item.item.table.kind}s"
    if schema.kind == "list" and schema.item is not None and schema.item.kind == "model":
        return "list of mappings"
    if schema.kind == "model" and not any(isinstance(marker, WithJsonSchema) for marker in info.metadata):
        return f"mapping{optional}"
    annotation: Any = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
    return _json_type(TypeAdapter(annotation).json_schema())


def _json_type(schema: dict[str, Any], seen: Sequence[dict[str, Any]] = ()) -> str:
    """A JSON Schema as a few words.

    Args:
        seen: What stands before it, as an alternative.
    """
    if "anyOf" in schema:
        parts = schema["anyOf"]
        return " or ".join(dict.fromkeys(_json_type(part, seen=parts[:place]) for place, part in enumerate(parts)))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        values = [f"`{value}`" for value in schema["enum"]]
        return ", ".join(values) if len(values) <= 8 else f"one of {len(values)} names"
    kind = schema.get("type", "value")
    if isinstance(kind, list):
        return " or ".join(_json_type({**schema, "type": one}) for one in kind)
    if "recursive" in schema:
        return str(schema["recursive"])
    if kind == "array" and "recursive" in schema.get("items", {}):
        return f"list of {schema['items']['recursive']}s"
    if kind == "array":
        items = _json_type(schema["items"]) if isinstance(schema.get("items"), dict) else "values"
        if schema.get("items") in seen:
            items = "such"
        count = schema.get("minItems") if schema.get("minItems") == schema.get("maxItems") else None
        return f"list of {count} ({items})" if count else f"list ({items})"
    words = {"integer": "whole number", "number": "number", "boolean": "true/false", "string": "string", "null": "null",
             "object": "mapping"}  # fmt: skip
    return words.get(kind, kind) + _range(schema)


def _range(schema: dict[str, Any]) -> str:
    bounds = {
        sign: schema.get(key)
        for sign, key in (("≥", "minimum"), (">", "exclusiveMinimum"), ("≤", "maximum"), ("<", "exclusiveMaximum"))
    }
    # What holds for every number, the introduction says.
    found = {
        sign: f"{bound:,}" if bound == int(bound) else f"{bound:g}"
        for sign, bound in bounds.items()
        if bound is not None and abs(bound) != LARGEST_NUMBER
    }
    if list(found) == ["≥", "≤"]:
        return f" from {found['≥']} to {found['≤']}"
    return f" {', '.join(f'{sign} {bound}' for sign, bound in found.items())}" if found else ""


if __name__ == "__main__":
    sys.exit(main())
