"""Turns pydantic's errors into problems: where in the file, what was received, what was expected."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cnnkit.errors import Place, Problem
from cnnkit.format.base import NamedObject, StrictModel, describe, shorten
from cnnkit.format.document import FLOAT, INTEGER, Node, flow
from cnnkit.format.fields import LARGEST_NUMBER
from cnnkit.format.schema import Schema, class_schema
from cnnkit.format.similar import nearest

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Mistake:
    """One error of pydantic's.

    Attributes:
        path: From the document to what is wrong.
        owner: The model that owns the last part of it.
        document: The model of all that was validated.
    """

    path: Path
    kind: str
    message: str
    received: Any
    context: dict[str, Any]
    owner: type[StrictModel] | None
    document: type[StrictModel]


def mistakes(
    errors: list[Any], model: type[StrictModel], prefix: Path = (), document: type[StrictModel] | None = None
) -> Iterator[Mistake]:
    """All errors, those inside named objects unfolded.

    Args:
        model: What was validated.
        prefix: The path to it, where it is a part of `document`.
    """
    document = document or model
    for error in errors:
        path = prefix + tuple(error["loc"])
        context = error.get("ctx", {})
        if error["type"] == "nested":
            yield from mistakes(context["errors"], context["class"], (*path, context["name"]), document)
        else:
            owner = _owner(model, tuple(error["loc"]))
            if "argument" in context:
                argument = context["argument"]
                path = (*path, *argument) if isinstance(argument, tuple) else (*path, argument)
            yield Mistake(path, error["type"], error["msg"], error.get("input"), context, owner, document)


def _owner(model: type[StrictModel], location: Path) -> type[StrictModel] | None:
    schema: Schema | None = Schema("model", model=model)
    for part in location[:-1]:
        if schema is None:
            return None
        schema = schema.item if isinstance(part, int) else schema.field(part)
    return schema.model if schema is not None else None


def format_path(path: Path) -> str:
    """A path as messages write it: model.layers[3].Conv2D.kernel_size."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{shorten(part)}" if text else shorten(part)
    return text


def locate(root: Node, path: Path, of_key: bool = False, of_use: bool = False) -> Place:
    """Where the deepest written part of a path stands.

    Args:
        of_key: Point at the key of the last part rather than at its value.
        of_use: Point at an alias rather than at what it stands for, which is right in another place.
    """
    node, complete, alias = _follow(root, path)
    if of_use and alias is not None and node.place.override is None:
        return alias.place
    block = isinstance(node.value, dict | list) or node.value is None
    if node.key_place is not None and ((of_key and complete) or block):
        return node.key_place
    return node.place


def _follow(root: Node, path: Path) -> tuple[Node, bool, Node | None]:
    """The deepest written part of a path, whether that is all of it, and the first alias that it lies in."""
    node, alias = root, None
    for part in path:
        in_list = isinstance(node.value, list) and isinstance(part, int) and part < len(node.value)
        if isinstance(node.value, list) and isinstance(part, str):
            # The list stands for a leading argument, which is not written.
            continue
        if not in_list and not (isinstance(node.value, dict) and part in node.value):
            return node, False, alias
        if alias is None and node.is_alias:
            alias = node
        node = node.value[part]
    return node, True, alias


def explain(mistake: Mistake, root: Node) -> Problem:
    """The problem that a user reads."""
    from cnnkit.format.hints import of_value

    message = message_of(mistake)
    message += of_value(message, mistake.received, _parameters(mistake.path, root))
    if "block" in mistake.context:
        message += f" (the block is defined at {locate(root, ('model', 'blocks', mistake.context['block']), True)})"
    path = mistake.path
    message += _of_key_alias(_follow(root, path)[0])
    refused_seed = "argument" in mistake.context and mistake.path[-1] == "seed"
    of_key = mistake.kind == "extra_forbidden" or refused_seed
    return Problem(locate(root, path, of_key), format_path(path), message, keys=path)


def _of_key_alias(node: Node) -> str:
    """Says why an alias is not all that was meant by it, where its anchor stands before a key."""
    if node.key_alias is None:
        return ""
    name, key = node.key_alias.removeprefix("*"), node.plain()
    return f" (`{node.key_alias}` is `{key}` alone; for what follows that key too, write `&{name} {{{key}: ...}}`)"


def _parameters(path: Path, root: Node) -> Mapping[str, Any]:
    """The parameters of the block whose layers a path leads into; none elsewhere."""
    if path[:2] != ("model", "blocks") or len(path) < 3:
        return {}
    node: Any = root
    for part in (*path[:3], "parameters"):
        node = node.value.get(part) if node is not None and isinstance(node.value, dict) else None
    return node.value if node is not None and isinstance(node.value, dict) else {}


def message_of(mistake: Mistake) -> str:
    """What was received, what was expected, and what to do."""
    received = describe(mistake.received)
    kind, context = mistake.kind, mistake.context
    if kind == "extra_forbidden":
        return _unknown_key(mistake)
    if kind == "missing" and len(mistake.path) == 1:
        return f"the required section `{mistake.path[0]}:` is missing{_required_hint(mistake)}"
    if kind == "missing":
        return f"the required {_noun(mistake)} `{mistake.path[-1]}` is missing{_required_hint(mistake)}"
    if kind in ("int_type", "int_from_float"):
        return f"expected a whole number, got {received}{_number_hint(mistake.received, INTEGER)}"
    if kind == "finite_number":
        return f"expected a finite number, got {received}"
    if kind == "float_type":
        return f"expected a number, got {received}{_number_hint(mistake.received, FLOAT)}"
    if kind == "bool_type":
        return f"expected true or false, got {received}{_boolean_hint(mistake.received)}"
    if kind == "string_type":
        return f"expected a string, got {received}{'; quote it' if isinstance(mistake.received, int | float) else ''}"
    if kind == "list_type":
        return f"expected a list, got {received}; {_list_hint(mistake)}"
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        known = _fields_hint(mistake)
        return f"expected a mapping{known}, got {received}"
    if kind == "literal_error":
        return f"expected {context.get('expected')}, got {received}{_literal_hint(mistake)}"
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return f"expected a number {_bound(kind, context)}, got {received}"
    if kind == "too_short":
        least = context.get("min_length")
        return f"expected at least {least} entr{'y' if least == 1 else 'ies'}, got {received}"
    if kind == "string_pattern_mismatch":
        of_layer = "." in context.get("pattern", "")
        signs = "`_`, `.` and `-` that begins with none of `_` and `-`" if of_layer else "and `_`"
        return f"expected a name of letters (A to Z, small or large), digits, {signs}, got {received}"
    if kind == "string_too_long":
        return f"expected at most {context.get('max_length')} characters, got {received}"
    return mistake.message


def _noun(mistake: Mistake) -> str:
    return "argument" if _is_argument(mistake) else "key"


def _is_argument(mistake: Mistake) -> bool:
    return mistake.owner is not None and issubclass(mistake.owner, NamedObject)


def _unknown_key(mistake: Mistake) -> str:
    key = str(mistake.path[-1])
    fields = mistake.owner.model_fields if mistake.owner is not None else {}
    head, colon, tail = key.partition(":")
    if colon and head in fields:
        return f"`{key}` is one word; a space is missing after the colon: `{head}: {tail}`"
    if key == "seed" and _is_argument(mistake):
        return "unknown argument `seed`; all seeds come from the run's own `seed`"
    from cnnkit.format.hints import of_key

    hint = of_key(key, mistake.owner, mistake.received, mistake.document) if mistake.owner is not None else ""
    return f"unknown {_noun(mistake)} `{shorten(key)}`{hint}"


def _list_hint(mistake: Mistake) -> str:
    if mistake.received is None and "paths" in mistake.path[-2:]:
        return "a path that passes its input on is an empty list, `[]`"
    if mistake.received is None:
        return "an empty one is `[]`"
    if isinstance(mistake.received, str | int | float):
        return f"write `[{flow(mistake.received)}]`, or a `- ` before each entry"
    return "each entry starts with `- `"


def _required_hint(mistake: Mistake) -> str:
    """Names a neighbouring key that may be meant, so that a misspelt required argument reads as one mistake."""
    if isinstance(mistake.received, dict) and mistake.owner is not None:
        unknown = [key for key in mistake.received if key not in mistake.owner.model_fields]
        close = nearest(mistake.path[-1], unknown)
        if close is not None:
            return f" (is `{close}` meant?)"
    return ""


def _number_hint(value: Any, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str):
        return ""
    if pattern.fullmatch(value):
        return "; a quoted number is a string, remove the quotes"
    plain = value.replace("_", "").replace(",", "")
    if pattern.fullmatch(plain):
        return f"; write {plain}"
    return ""


def _boolean_hint(value: Any) -> str:
    if isinstance(value, str) and value.lower() in ("yes", "on", "y", "true"):
        return "; write true"
    if isinstance(value, str) and value.lower() in ("no", "off", "n", "false"):
        return "; write false"
    return ""


def _fields_hint(mistake: Mistake) -> str:
    schema = class_schema(mistake.owner).field(str(mistake.path[-1])) if mistake.owner else None  # type: ignore[arg-type]
    if schema is not None and schema.model is not None:
        names = list(schema.model.model_fields)
        return f" with keys such as {', '.join(f'`{name}`' for name in names[:3])}"
    return ""


def _literal_hint(mistake: Mistake) -> str:
    if isinstance(mistake.received, bool):
        return ""
    names = re.findall(r"'([^']*)'", str(mistake.context.get("expected", "")))
    close = nearest(mistake.received, names)
    return f"; did you mean `{close}`?" if close is not None else ""


def _bound(kind: str, context: dict[str, Any]) -> str:
    words = {
        "greater_than": ("above", "gt"),
        "greater_than_equal": ("of at least", "ge"),
        "less_than": ("below", "lt"),
        "less_than_equal": ("of at most", "le"),
    }
    word, key = words[kind]
    bound = context[key]
    return f"{word} {bound:g}" if abs(bound) >= LARGEST_NUMBER or bound != int(bound) else f"{word} {int(bound):,}"
