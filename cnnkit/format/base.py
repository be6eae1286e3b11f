"""The strict, frozen base model, and the named objects of the YAML format.

A *named object* is anything that the YAML file calls by its Keras name: a layer, an optimizer, an
initializer. It is written as a bare name, a name with a mapping of keyword arguments, or a name with
its one leading argument, and is dispatched by a visible table, so that only the classes that a config
uses are ever built.
"""

import importlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
)
from pydantic_core import PydanticCustomError, core_schema

from cnnkit.format.similar import fold, nearest, suggestion


class StrictModel(BaseModel):
    """A mapping of the config: unknown keys are errors, values are never converted, fields never change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        defer_build=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )

    #: Fields of which only one may have a value: of two files, or a file and `--set`, the last decides.
    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = ()
    #: Fields whose place another takes where it is written later; not the other way round.
    displaced: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    @classmethod
    def with_defaults(cls) -> Self:
        """The object that nothing is written for, such as a field's default.

        Unlike `cls()` it needs no validator, whose making takes longer than reading a small config.
        """
        return cls.model_construct()

    def to_plain(self) -> dict[str, Any]:
        """The mapping that YAML would hold, every field written out, named objects as the user set them."""
        return {name: to_plain(getattr(self, name)) for name in type(self).model_fields}


class NamedObject(StrictModel):
    """Something that Keras knows by name, with Keras' arguments and defaults.

    Class attributes:
        leading: The argument that a scalar or a list stands for (`Dropout: 0.5`); None where there is none.
        needs_one_of: Arguments of which at least one has to be written.
        example: A list with the object and what belongs around it, in YAML, for the reference.
    """

    leading: ClassVar[str | None] = None
    example: ClassVar[str] = ""
    needs_one_of: ClassVar[tuple[str, ...]] = ()

    def arguments(self) -> dict[str, Any]:
        """The arguments that the user wrote, as plain YAML values."""
        names = [name for name in type(self).model_fields if name in self.model_fields_set]
        names.sort(key=lambda name: name != self.leading)
        return {name: to_plain(getattr(self, name)) for name in names}

    def to_plain(self) -> Any:
        """The object as YAML writes it: a bare name, or a one-name mapping."""
        arguments = self.arguments()
        name = type(self).__name__
        return {name: arguments} if arguments else name


def to_plain(value: Any) -> Any:
    """Config models, tuples and mappings as the plain values that YAML holds."""
    if isinstance(value, StrictModel):
        return value.to_plain()
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def shorten(text: object, length: int = 60) -> str:
    """A text as messages show it: control characters escaped, its end left out where it is long."""
    text = str(text)
    if not text.isprintable():
        text = "".join(one if one.isprintable() else repr(one)[1:-1] for one in text[: length + 1])
    return text if len(text) <= length else text[: length - 3] + "..."


def some_of(texts: Sequence[str], most: int = 4) -> str:
    """The first of many texts, for a line that names what there is."""
    return ", ".join([*texts[:most], *(["..."] if len(texts) > most else [])])


def describe(value: Any) -> str:
    """A received value as an error message shows it: short, in YAML's terms, with its type."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"{str(value).lower()} (a boolean)"
    if isinstance(value, str):
        return f'"{shorten(value)}" (a string)'
    if isinstance(value, int):
        return f"{value} (a whole number)"
    if isinstance(value, float):
        if math.isnan(value):
            return ".nan (not a number)"
        return f"{value!r} (a number)" if math.isfinite(value) else f"{'-' if value < 0 else ''}.inf (infinity)"
    if isinstance(value, Mapping):
        if not value:
            return "an empty mapping"
        keys = ", ".join(shorten(key, 30) for key in list(value)[:4])
        return f"a mapping ({keys}{', ...' if len(value) > 4 else ''})"
    if isinstance(value, list | tuple):
        text = "[" + ", ".join(map(_in_list, value[:6])) + (", ..." if len(value) > 6 else "") + "]"
        return f"{shorten(text)} (a list of {len(value)})"
    return f"{value!r}"


def _in_list(value: Any) -> str:
    """A value inside a list that a message shows, in YAML's terms."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(str(key) for key in value) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_in_list, value[:6])) + "]"
    return str(value)


def invalid(message: str, **context: Any) -> PydanticCustomError:
    """An error whose message is shown to the user as it is.

    Args:
        context: `argument` names the key (or the place in a list) to blame, where the error is one of the whole;
            `block` the block of the config whose definition a reader wants to see.
    """
    # pydantic formats `{name}` in templates; the text goes through the context to stay literal.
    return PydanticCustomError("cnnkit", "{text}", {"text": message, **context})


class _Inner(list[Any]):
    """pydantic makes a text of every value of an error's context, of all of a config's again at each depth."""

    def __str__(self) -> str:
        return f"{len(self)} errors"

    __repr__ = __str__


def nested(name: str, cls: type[BaseModel], errors: Iterable[Any]) -> PydanticCustomError:
    """The errors of an inner object as one of the outer; `explain.mistakes` unfolds them.

    Args:
        name: The key under which the inner object stands.
        cls: Its class.
        errors: As `ValidationError.errors` lists them.
    """
    return PydanticCustomError("nested", "a mistake in {name}", {"name": name, "class": cls, "errors": _Inner(errors)})


@dataclass(frozen=True, eq=False)  # compared by identity, so that `X | None` can hash a Choice of it
class Table:
    """Which YAML names exist, and the module of `package` that defines each name's class.

    Args:
        kind: What the names name, for messages: "layer", "optimizer".
        package: The package of the modules.
        modules: For each module, the class names (which are the YAML names) that it defines.
        aliases: Further spellings that Keras accepts, each with the name it stands for.
        unavailable: Names that a user of Keras may try, each with what to write instead.
        other_names: The module of `package` that holds more of them, as `UNAVAILABLE`, and as `OTHER_NAMES` further
            names of what is there, to be named but not taken; loaded when an unknown name is met.
        listed: Whether the config holds a list of these.
    """

    kind: str
    package: str
    modules: Mapping[str, tuple[str, ...]]
    aliases: Mapping[str, str] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    other_names: str | None = None
    listed: bool = False

    def names(self) -> list[str]:
        return [name for names in self.modules.values() for name in names]

    def canonical(self, name: str) -> str:
        """The YAML name that a name or alias stands for."""
        return self.aliases.get(name, name)

    def all_unavailable(self) -> Mapping[str, str]:
        """All names that are not available, each with what to write instead."""
        return self.unavailable | self._from_elsewhere("UNAVAILABLE")

    def named_otherwise(self) -> Mapping[str, str]:
        """Names that others give to what is there, each with the YAML name."""
        return self._from_elsewhere("OTHER_NAMES")

    def _from_elsewhere(self, mapping: str) -> dict[str, str]:
        if self.other_names is None:
            return {}
        return dict(getattr(importlib.import_module(f"{self.package}.{self.other_names}"), mapping))

    def get(self, name: str) -> type[NamedObject] | None:
        """The class of a YAML name or alias, its module loaded now; None for an unknown name."""
        name = self.canonical(name)
        for module, names in self.modules.items():
            if name in names:
                named_class = getattr(importlib.import_module(f"{self.package}.{module}"), name)
                assert issubclass(named_class, NamedObject)
                return named_class
        return None


def split_named(value: Any, table: Table, further: Iterable[str] = ()) -> tuple[str, Any]:
    """A named object's name and its raw value (None for a bare name).

    Args:
        further: Names that the config itself defines, beside those of the table.

    Raises:
        PydanticCustomError: for anything but a name or a mapping with one name, or an unknown name.
    """
    raw: Any = None
    if isinstance(value, Mapping):
        if len(value) != 1:
            keys = ", ".join(f"`{key}`" for key in value)
            hint = ""
            if value and next(iter(value)) in table.names():
                hint = (
                    f"; if they are arguments of `{next(iter(value))}`, indent them deeper than its name"
                    if next(iter(value.values())) is None
                    else f"; a list needs one `- ` per {table.kind}"
                    if table.listed
                    else "; keep one of them"
                )
            received = f"a mapping of {len(value)}: {shorten(keys)}" if value else "an empty mapping"
            raise invalid(f"expected one {table.kind} name with its arguments, got {received}{hint}")
        name, raw = next(iter(value.items()))
    else:
        name = value
    if not isinstance(name, str):
        raise invalid(f"expected the name of {with_article(table.kind)}, got {describe(name)}")
    further = list(further)
    if name not in further and table.get(name) is None:
        head, colon, tail = name.partition(":")
        if colon and (head in further or table.get(head) is not None):
            raise invalid(f"`{name}` is one word; a space is missing after the colon: `{head}: {tail}`")
        raise _unknown_name(name, table, further)
    return name, raw


def _unknown_name(name: str, table: Table, further: Sequence[str]) -> PydanticCustomError:
    """The error for a name that neither the table nor the config defines."""
    available = [*table.names(), *further]
    unavailable, otherwise = table.all_unavailable(), table.named_otherwise()
    close = name if name in unavailable else nearest(name, [*unavailable, *otherwise, *available])
    if close is not None and close in unavailable:
        meant = "" if fold(close) == fold(name) else f" (is `{close}` meant?)"
        return invalid(f"there is no {table.kind} `{shorten(name)}`{meant}: {unavailable[close]}")
    hint = suggestion(name, available)
    if close is not None and close in otherwise:
        close = otherwise[close]
        hint = f"; write `{close}`"
    text = f"unknown {table.kind} `{shorten(name)}`{hint}"
    return PydanticCustomError("unknown_name", "{text}", {"text": text, "received": name, "nearest": close})


def keyword_arguments(cls: type[NamedObject], name: str, raw: Any) -> dict[str, Any]:
    """A named object's raw value as keyword arguments: a mapping as it is, the rest as the leading one."""
    if raw is None:
        return {}
    if isinstance(raw, Mapping):
        return dict(raw)
    if cls.leading is None:
        known = ", ".join(f"`{argument}`" for argument in cls.model_fields)
        raise invalid(f"`{name}` takes its arguments by name ({known}), got {describe(raw)}")
    return {cls.leading: raw}


@dataclass(frozen=True)
class Choice:
    """Marks a field as holding a named object of a table: `Annotated[Optimizer, Choice(OPTIMIZERS)]`.

    A mistake inside the object is reported once, with its own path: the errors of the object's class
    travel in the context of one error of type `nested`, which `config/load.py` unfolds.
    """

    table: Table

    def validate(self, value: Any) -> NamedObject:
        if isinstance(value, NamedObject) and type(value).__name__ in self.table.names():
            return value
        name, raw = split_named(value, self.table)
        cls = self.table.get(name)
        assert cls is not None
        try:
            return cls.model_validate(keyword_arguments(cls, name, raw))
        except ValidationError as error:
            raise nested(name, cls, error.errors(include_url=False)) from None
        except PydanticCustomError as error:
            ctx = error.context or {}
            problem = {"type": error.type, "loc": (), "msg": error.message(), "input": raw, "ctx": ctx}
            raise nested(name, cls, [problem]) from None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.validate)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        bare, alternatives = [], []
        for name in self.table.names():
            cls = self.table.get(name)
            assert cls is not None
            arguments = [handler(cls.__pydantic_core_schema__)]
            required = {field for field, info in cls.model_fields.items() if info.is_required()}
            if cls.needs_one_of:
                arguments[0]["anyOf"] = [{"required": [argument]} for argument in cls.needs_one_of]
            if not required and not cls.needs_one_of:
                bare.append(name)
                arguments.append({"type": "null"})
            if cls.leading is not None and required <= {cls.leading}:
                # A mapping is one of arguments, and nothing is no leading argument.
                leading = {"allOf": [arguments[0]["properties"][cls.leading], {"not": {"type": ["object", "null"]}}]}
                arguments.append(leading)
            aliases = [alias for alias, canonical in self.table.aliases.items() if canonical == name]
            for written in (name, *(aliases if cls.model_fields else ())):
                alternatives.append(
                    {
                        "type": "object",
                        "properties": {written: {"anyOf": arguments}},
                        "required": [written],
                        "additionalProperties": False,
                    }
                )
        names = [*bare, *(alias for alias, name in self.table.aliases.items() if name in bare)]
        return {"title": self.table.kind, "anyOf": [*([{"enum": names}] if names else []), *alternatives]}
