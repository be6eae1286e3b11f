"""What may stand at a path of the config: used to type `--set`, to merge `extends` and to name mistakes."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

from cnnkit.format.base import Choice, NamedObject, StrictModel, Table

Kind = Literal["model", "choice", "list", "mapping", "string", "value"]


@dataclass(frozen=True)
class Schema:
    """The type of one value: a section, a named object, a list or a mapping of something, a string, or anything."""

    kind: Kind
    model: type[StrictModel] | None = None
    table: Table | None = None
    item: Schema | None = None

    def field(self, name: str) -> Schema | None:
        """The schema of a section's field, or of a mapping's value; None if it has no such field."""
        if self.kind == "mapping":
            return self.item
        return None if self.model is None else _of_field(self.model, name)


@lru_cache(maxsize=1024)
def _of_field(model: type[StrictModel], name: str) -> Schema | None:
    info = model.model_fields.get(name)
    return None if info is None else schema_of(info.annotation, info.metadata)


VALUE = Schema("value")


def schema_of(annotation: Any, metadata: Sequence[Any] = ()) -> Schema:
    """The schema of a field's annotation."""
    for marker in metadata:
        if isinstance(marker, Choice):
            return Schema("choice", table=marker.table)
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        inner, *inner_metadata = typing.get_args(annotation)
        return schema_of(inner, inner_metadata)
    if origin in (typing.Union, types.UnionType):
        alternatives = [schema_of(part) for part in typing.get_args(annotation) if part is not type(None)]
        for kind in ("choice", "model", "list", "mapping"):
            for schema in alternatives:
                if schema.kind == kind:
                    return schema
        return alternatives[0] if len(alternatives) == 1 else VALUE
    if origin is list:
        return Schema("list", item=schema_of(typing.get_args(annotation)[0]))
    if origin is dict:
        return Schema("mapping", item=schema_of(typing.get_args(annotation)[1]))
    if isinstance(annotation, type) and issubclass(annotation, StrictModel):
        return Schema("model", model=annotation)
    return Schema("string") if annotation is str else VALUE


def class_schema(cls: type[NamedObject]) -> Schema:
    """The schema of a named object's arguments."""
    return Schema("model", model=cls)


#: Strings that `expressions.py` may evaluate.
_EXPRESSION = {"type": "string", "pattern": r"\$|\bclasses\b|[0-9)]\s*[-+*/]"}
#: Lists with such a string in them, or in lists in them.
_WITH_EXPRESSION = {
    "type": "array",
    "contains": {"anyOf": [_EXPRESSION, {"type": "array", "contains": _EXPRESSION}]},
}
#: The one expression that may stand for text, and for a named object.
_NAME = {"type": "string", "pattern": r"^\$[A-Za-z_][A-Za-z0-9_]*$"}


def _or_expression(argument: dict[str, Any]) -> dict[str, Any]:
    """The schema of a layer's argument that may hold expressions."""
    parts = argument.get("anyOf", [argument])
    if all(_takes_a_name(part) for part in parts):
        return {"anyOf": [argument, _NAME]}
    return {"anyOf": [argument, _EXPRESSION, _WITH_EXPRESSION]}


def _takes_a_name(part: dict[str, Any]) -> bool:
    """Whether no arithmetic may stand in the place of a value: text, named objects, and lists of layers."""
    while part.get("type") == "array":
        part = part["items"]
    return "$ref" in part or "enum" in part or part.get("type") in ("string", "null")


def _or_name(argument: dict[str, Any]) -> dict[str, Any]:
    """The schema of an argument of what is an argument of a layer, such as the value of a constant initializer."""
    return {"anyOf": [argument, _NAME]}


def _allow(allowing: Callable[[dict[str, Any]], dict[str, Any]], named: dict[str, Any]) -> None:
    """Lets more stand in the arguments of a named object, in its long form and in its short one."""
    arguments = named["anyOf"][0]["properties"]
    for key, argument in arguments.items():
        arguments[key] = allowing(argument)
    for short in named["anyOf"][1:]:
        if "allOf" in short:
            short["allOf"][0] = allowing(short["allOf"][0])


def _refers_to(schema: Any, kind: str) -> bool:
    """Whether a schema, or a part of it, refers to the definition of a kind of named object."""
    if isinstance(schema, dict):
        return schema.get("$ref") == f"#/$defs/{kind}" or any(_refers_to(part, kind) for part in schema.values())
    return isinstance(schema, list) and any(_refers_to(part, kind) for part in schema)


def json_schema(model: type[StrictModel]) -> dict[str, Any]:
    """The JSON Schema of a section; what many fields share, such as the initializers, is written once."""
    shared: dict[str, Any] = {}

    def hoisted(value: Any) -> Any:
        if isinstance(value, list):
            return [hoisted(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "recursive" in value:
            return {"$ref": f"#/$defs/{value['recursive']}"}
        copy = {key: hoisted(item) for key, item in value.items()}
        if "anyOf" in copy and isinstance(copy.get("title"), str) and copy["title"].islower():
            kind = copy["title"]
            shared[kind] = {"anyOf": copy["anyOf"]}
            rest = {key: item for key, item in copy.items() if key not in ("title", "anyOf")}
            return {"$ref": f"#/$defs/{kind}", **rest}
        return copy

    schema = hoisted(model.model_json_schema())
    definitions = schema.setdefault("$defs", {})
    definitions.update(shared)
    for kind, allowing in (("layer", _or_expression), *((kind, _or_name) for kind in shared)):
        if kind == "layer" or _refers_to(definitions.get("layer"), kind):
            for alternative in definitions.get(kind, {}).get("anyOf", ()):
                for named in alternative.get("properties", {}).values():
                    _allow(allowing, named)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
