"""What somebody may have meant by a key or a value that a config does not have: Keras 2, PyTorch, other places.

Loaded when a config has a mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cnnkit.format.base import NamedObject, StrictModel, Table, with_article
from cnnkit.format.document import INTEGER, flow
from cnnkit.format.expressions import SIZES
from cnnkit.format.fields import DATA_NAMES
from cnnkit.format.schema import Schema
from cnnkit.format.similar import fold, nearest, suggestion

#: Keys of Keras 2, PyTorch and others, each with those that a section or named object may have instead.
RENAMED: Mapping[str, tuple[str, ...]] = {
    "lr": ("learning_rate",), "rate": ("learning_rate",), "initial_learning_rate": ("learning_rate",),
    "alpha": ("negative_slope",), "leak": ("negative_slope",), "slope": ("negative_slope",), "theta": ("threshold",),
    "p": ("rate",), "prob": ("rate",), "dropout": ("rate",), "drop_rate": ("rate",), "keep_prob": ("rate",),
    "eps": ("epsilon",), "fuzz": ("epsilon",), "beta1": ("beta_1",), "beta2": ("beta_2",),
    "kernel": ("kernel_size", "pool_size"), "ksize": ("kernel_size", "pool_size"), "k": ("kernel_size", "pool_size"),
    "filter_size": ("kernel_size",), "window": ("kernel_size", "pool_size"), "pool": ("pool_size",),
    "kernel_size": ("pool_size", "size"), "size": ("kernel_size", "pool_size", "target_size"),
    "stride": ("strides",), "subsample": ("strides",), "dilation": ("dilation_rate",), "dilations": ("dilation_rate",),
    "pad": ("padding",), "border_mode": ("padding",), "dim_ordering": ("data_format",),
    "bias": ("use_bias",), "act": ("activation",), "nonlinearity": ("activation",), "activation_fn": ("activation",),
    "out_channels": ("filters",), "channels": ("filters", "units"), "nb_filter": ("filters",),
    "num_filters": ("filters",), "n_filters": ("filters",), "features": ("filters", "units"),
    "units": ("filters", "num_units"), "filters": ("units", "num_units"), "out_features": ("units",),
    "output_dim": ("units",), "num_units": ("units",), "n_units": ("units",), "neurons": ("units",),
    "classes": ("units",), "num_groups": ("groups",), "n_groups": ("groups",), "scale_factor": ("size",),
    "factor": ("size",), "shape": ("target_shape",), "dim": ("axis", "dims"), "axes": ("axis",),
    "init": ("kernel_initializer",), "kernel_init": ("kernel_initializer",), "initializer": ("kernel_initializer",),
    "weight_init": ("kernel_initializer",), "regularizer": ("kernel_regularizer",),
    "weight_regularizer": ("kernel_regularizer",), "W_regularizer": ("kernel_regularizer",),
    "n": ("times",), "count": ("times",), "repeats": ("times",), "num": ("times",), "depth": ("times",),
    "number": ("times",), "block": ("layers",), "blocks": ("layers",), "body": ("layers",), "main": ("layers",),
    "module": ("layers",), "modules": ("layers",), "branches": ("paths",), "mode": ("merge",),
    "op": ("merge",), "skip": ("shortcut",), "downsample": ("shortcut",), "projection": ("shortcut",),
    "batch": ("batch_size",), "num_epochs": ("epochs",), "n_epochs": ("epochs",),
    "nb_epoch": ("epochs",), "max_epochs": ("epochs",), "criterion": ("loss",),
    "loss_function": ("loss",), "loss_fn": ("loss",), "scheduler": ("schedule",), "lr_schedule": ("schedule",),
    "lr_scheduler": ("schedule",), "learning_rate_schedule": ("schedule",), "optim": ("optimizer",),
    "augment": ("augmentation",), "augmentations": ("augmentation",), "transforms": ("augmentation",),
    "transform": ("augmentation",), "network": ("model",), "net": ("model",), "dataset": ("data",),
    "validation_split": ("validation",), "val_split": ("validation",), "val": ("validation",),
    "path": ("folder",), "dir": ("folder",), "directory": ("folder",), "root": ("folder",), "data_dir": ("folder",),
    "csv": ("table",), "label": ("target",), "labels": ("target",), "column": ("target",), "groups": ("group",),
    "bbox": ("boxes",), "bboxes": ("boxes",), "box": ("boxes",), "box_columns": ("boxes",),
    "input_size": ("image_size",), "img_size": ("image_size",), "target_size": ("image_size",),
    "resolution": ("image_size",), "num_classes": ("classes",), "n_classes": ("classes",), "nc": ("classes",),
    "random_seed": ("seed",), "random_state": ("seed",), "smoothing": ("label_smoothing",),
    "precision": ("dtype_policy",), "mixed_precision": ("dtype_policy",), "jit_compile": ("jit",), "xla": ("jit",),
    "class_weight": ("class_weights",), "warmup": ("warmup_epochs",), "workers": ("threads",),
    "num_workers": ("threads",),
}  # fmt: skip

_ARRIVES = "leave it out; a layer takes what arrives at it"
_ALWAYS_SO = "leave it out; cnnkit has no other way"
_LEARNED = "leave it out; a network starts from its initializers, except for the layer `Backbone`, which has `weights`"
_ZEROS = "leave it out; cnnkit pads only with zeros"

#: Keys that have no counterpart.
DROPPED: Mapping[str, str] = {
    "in_channels": _ARRIVES, "in_features": _ARRIVES, "num_features": _ARRIVES, "num_channels": _ARRIVES,
    "input_shape": _ARRIVES, "input_dim": _ARRIVES, "batch_input_shape": _ARRIVES, "normalized_shape": _ARRIVES,
    "num_parameters": _ARRIVES, "inplace": _ALWAYS_SO, "track_running_stats": _ALWAYS_SO, "implementation": _ALWAYS_SO,
    "device": "leave it out; TensorFlow finds the devices, and `cnnkit doctor` shows them",
    "gpu": "leave it out; TensorFlow finds the devices, and `cnnkit doctor` shows them",
    "padding_mode": _ZEROS, "weights": _LEARNED, "pretrained": _LEARNED,
    "decay": "Keras 3 has none; write a `training.schedule`, such as "
    "`InverseTimeDecay: {decay_steps: 1000, decay_rate: 0.1}`",
    "betas": "write `beta_1` and `beta_2`", "affine": "write `center` and `scale`",
    "l2": "write `kernel_regularizer: {L2: ...}`", "l1": "write `kernel_regularizer: {L1: ...}`",
    "callbacks": "leave it out; `early_stopping`, `schedule` and `tensorboard` are keys of `training`",
    "shuffle": "leave it out; every epoch has an order of its own",
    "verbose": "leave it out; what a run says is in its log.txt",
}  # fmt: skip

#: Keys that show that a neighbouring argument is PyTorch's.
_OF_PYTORCH = ("num_features", "eps", "affine", "track_running_stats")


def of_key(key: str, owner: type[StrictModel], received: Any, document: type[StrictModel]) -> str:
    """What may be meant by a key that a section or a named object does not have; the end of a sentence.

    Args:
        received: The key's value.
        document: The model of all that the section is a part of.
    """
    fields = owner.model_fields
    torch = "; PyTorch's `momentum: 0.1` is 0.9 in Keras" if key in _OF_PYTORCH and "momentum" in fields else ""
    if key in DROPPED:
        return f"; {DROPPED[key]}{torch}"
    other = renamed(key, owner)
    if other is not None:
        return f"; write `{other}`{', the share that is dropped' if key == 'keep_prob' else ''}{torch}"
    place = elsewhere(key, owner, received, document)
    return f"; {place}" if place is not None else suggestion(key, fields)


def meant_key(key: str, owner: type[StrictModel], document: type[StrictModel]) -> str | None:
    """The field of a section or a named object that a key it does not have stands for; None if that is unknown."""
    if key in DROPPED:
        return None
    head = key.partition(":")[0]
    if head in owner.model_fields:
        return head
    other = renamed(key, owner)
    if other is not None:
        return other
    return nearest(key, owner.model_fields) if elsewhere(key, owner, None, document) is None else None


def renamed(key: str, owner: type[StrictModel]) -> str | None:
    """The field that others call so; None if there is none."""
    fields = (name for name in RENAMED.get(key, ()) if name in owner.model_fields)
    return next(fields, None)


def elsewhere(key: str, owner: type[StrictModel], received: Any, document: type[StrictModel]) -> str | None:
    """Where a key belongs that is written at a wrong place; None if it is no misplaced one."""
    if issubclass(owner, NamedObject):
        belongs = key == "weight_decay" and owner.__module__.startswith("cnnkit.layers")
        return "write it as an argument of the optimizer, or `kernel_regularizer: {L2: ...}` here" if belongs else None
    if fold(key) in map(fold, owner.model_fields):
        return None
    return next(_places(key, received, document), None)


def _places(key: str, received: Any, document: type[StrictModel]) -> Iterator[str]:
    """Where a key may stand, from the schema of the config.

    A section's key comes first, then an argument of what a section has by default, then the name of an object.
    """
    names = (key, *RENAMED.get(key, ()))
    value = "..." if isinstance(received, dict | list | None) else flow(received)
    fields = list(_fields(Schema("model", model=document), ()))
    for name in names:
        for path, _, _ in fields:
            if path[-1] == name:
                section = ".".join(path[:-1])
                yield f"write {f'`{name}` in `{section}`' if section else f'`{name}:` at the left margin'}"
    for name in names:
        for path, schema, default in fields:
            cls = type(default)
            if schema.kind == "choice" and isinstance(default, NamedObject) and name in cls.model_fields:
                yield f"write `{'.'.join(path)}: {{{cls.__name__}: {{{name}: {value}}}}}`"
    for path, schema, _ in fields:
        table = schema.item.table if schema.kind == "list" and schema.item is not None else schema.table
        table_name = _in_table(key, table) if table is not None else None
        if table_name is not None and table is not None:
            yield f"`{table_name}` is {with_article(table.kind)}; write it in `{'.'.join(path)}`"


def _in_table(key: str, table: Table) -> str | None:
    names = {fold(name): name for name in table.names()}
    return names.get(fold(key))


def _fields(schema: Schema, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Schema, Any]]:
    """All keys of the sections, at any depth: each one's path, schema and default."""
    assert schema.model is not None
    for name, info in schema.model.model_fields.items():
        inner = schema.field(name)
        assert inner is not None
        yield (*path, name), inner, info.default
        if inner.kind == "model":
            yield from _fields(inner, (*path, name))


def of_value(message: str, received: Any, parameters: Mapping[str, Any]) -> str:
    """What may be meant by a value that is refused; the end of the message, or nothing.

    Args:
        parameters: Those of the block that the value stands in.
    """
    if isinstance(received, float) and abs(received) < 2**53 and received.is_integer() and "whole number" in message:
        return f"; write {int(received)}"
    if not isinstance(received, str):
        return ""
    if INTEGER.fullmatch(received.strip()) and "number" in message and "quotes" not in message:
        return "; remove the quotes"
    if received == "None":
        return "; YAML's None is `null`"
    known = {*parameters, *SIZES} - {*DATA_NAMES}
    words = set(re.findall(r"(?<![$\w])[A-Za-z_]\w*", received))
    plain = re.fullmatch(r"[\w\s()+\-*/.$]+", received) is not None
    if plain and words and words <= known.union(DATA_NAMES) and words & known:
        written = re.sub(r"(?<![$\w])([A-Za-z_]\w*)", lambda w: w[0] if w[0] in DATA_NAMES else f"${w[0]}", received)
        return f"; a parameter is written with a `$`: `{written}`"
    return ""
