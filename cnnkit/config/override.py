"""`extends` and `--set`: changes to a config's tree, typed by its schema."""

from __future__ import annotations

import os
import re

from cnnkit.config.base import describe, keyword_arguments, split_named, suggestion
from cnnkit.config.document import Node, parse, read_file
from cnnkit.config.schema import Schema, class_schema
from cnnkit.errors import ConfigError, Place, Problem
from pydantic_core import PydanticCustomError

_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def read_tree(file: str, schema: Schema, seen: tuple[str, ...] = ()) -> Node:
    """A config file's tree with everything that it `extends` merged in.

    Raises:
        ConfigError: for an unreadable file, and for files that extend each other in a circle.
    """
    root = parse(read_file(file), file)
    if not isinstance(root.value, dict):
        message = f"expected sections such as `data:` and `model:`, got {describe(root.plain())}"
        raise ConfigError([Problem(root.place, "", message)])
    _resolve_folder(root, os.path.dirname(os.path.abspath(file)))
    extends = root.value.pop("extends", None)
    if extends is None:
        return root
    if not isinstance(extends.value, str) or not extends.value:
        message = f"expected the path of another config, got {describe(extends.plain())}"
        raise ConfigError([Problem(extends.place, "extends", message)])
    base_file = os.path.normpath(os.path.join(os.path.dirname(file), os.path.expanduser(extends.value)))
    chain = (*seen, os.path.realpath(file))
    if os.path.realpath(base_file) in chain:
        names = " -> ".join(os.path.basename(name) for name in (*chain, base_file))
        raise ConfigError([Problem(extends.place, "extends", f"the files extend each other in a circle: {names}")])
    if not os.path.isfile(base_file):
        raise ConfigError([Problem(extends.place, "extends", f"there is no file `{base_file}`")])
    return merge(read_tree(base_file, schema, chain), root, schema)


def merge(base: Node, child: Node, schema: Schema | None) -> Node:
    """`child` over `base`: mappings merge; everything else, and a named object of another name, replaces."""
    if not isinstance(base.value, dict) or not isinstance(child.value, dict):
        return child
    if schema is not None and schema.kind == "choice" and list(base.value) != list(child.value):
        return child
    value = dict(base.value)
    for key, node in child.value.items():
        value[key] = merge(value[key], node, _inner(schema, key)) if key in value else node
    return Node(value, child.place, child.key_place)


def _inner(schema: Schema | None, key: str) -> Schema | None:
    if schema is None:
        return None
    if schema.kind == "choice" and schema.table is not None:
        cls = schema.table.get(key)
        return class_schema(cls) if cls is not None else None
    return schema.field(key)


def _resolve_folder(root: Node, directory: str) -> None:
    """Makes `data.folder` absolute: a relative path belongs to the file (or the shell) that wrote it."""
    data = root.value.get("data")
    if data is not None and isinstance(data.value, dict):
        folder = data.value.get("folder")
        if folder is not None and isinstance(folder.value, str) and folder.value:
            folder.value = os.path.normpath(os.path.join(directory, os.path.expanduser(folder.value)))


def apply_override(root: Node, text: str, schema: Schema) -> None:
    """Carries out one `--set path=value` on the tree.

    Raises:
        ConfigError: naming the override, for a path that the schema does not have or a value that is no YAML.
    """
    place = Place("", override=text)

    def fail(message: str, path: str = "") -> ConfigError:
        return ConfigError([Problem(place, path, message)])

    path, equals, value = text.partition("=")
    path = path.strip()
    if not equals or not path:
        raise fail("expected `path=value`, such as `training.epochs=5`")
    parts: list[str | int] = []
    position = 0
    for match in _PART.finditer(path):
        if path[position : match.start()] not in ("", "."):
            break
        parts.append(int(match[2]) if match[2] is not None else int(match[1]) if match[1].isdigit() else match[1])
        position = match.end()
    if position != len(path) or not parts:
        raise fail(f"`{path}` is no path; expected names and numbers, such as `model.layers[6].Dropout.rate`")
    _Setter(place, path).set(root, schema, parts, value)
    _resolve_folder(root, os.getcwd())


class _Setter:
    """Walks the tree and the schema side by side, bringing named objects to their normal form on the way."""

    def __init__(self, place: Place, path: str) -> None:
        self.place = place
        self.path = path

    def fail(self, message: str) -> ConfigError:
        return ConfigError([Problem(self.place, self.path, message)])

    def set(self, node: Node, schema: Schema, parts: list[str | int], value: str) -> None:
        part, rest = parts[0], parts[1:]
        if schema.kind == "list" or (schema.kind == "value" and isinstance(node.value, list)):
            self.set_item(node, schema, part, rest, value)
            return
        if schema.kind == "choice":
            self.set_named(node, schema, part, rest, value)
            return
        if schema.kind != "model" and not isinstance(node.value, dict):
            raise self.fail(f"`{part}` does not exist: the value there is {describe(node.plain())}")
        if not isinstance(node.value, dict):
            node.value = {}
        key = str(part)
        inner = schema.field(key) if schema.model is not None else Schema("value")
        if inner is None:
            assert schema.model is not None
            raise self.fail(f"unknown key `{key}`{suggestion(key, schema.model.model_fields)}")
        self.assign(node.value, key, inner, rest, value)

    def assign(self, mapping: dict[str, Node], key: str, schema: Schema, rest: list[str | int], value: str) -> None:
        if not rest:
            mapping[key] = self.parsed(value, schema)
            return
        if key not in mapping or mapping[key].value is None:
            mapping[key] = Node({} if schema.kind != "list" else [], self.place, self.place)
        self.set(mapping[key], schema, rest, value)

    def set_item(self, node: Node, schema: Schema, part: str | int, rest: list[str | int], value: str) -> None:
        items = node.value if isinstance(node.value, list) else []
        if not isinstance(part, int):
            raise self.fail(f"expected a number after the list, such as `[0]`, got `{part}`")
        if part >= len(items):
            raise self.fail(f"there is no entry {part}; the list has {len(items)}, counted from 0")
        inner = schema.item or Schema("value")
        if not rest:
            items[part] = self.parsed(value, inner)
            return
        if inner.kind == "choice" and isinstance(rest[0], str):
            name = _name_of(items[part])
            if name is not None and name != rest[0]:
                raise self.fail(f"entry {part} is `{name}`, not `{rest[0]}`")
        self.set(items[part], inner, rest, value)

    def set_named(self, node: Node, schema: Schema, part: str | int, rest: list[str | int], value: str) -> None:
        assert schema.table is not None
        name = str(part)
        try:
            split_named(name, schema.table)
        except PydanticCustomError as error:
            current = _name_of(node)
            hint = f"; the {schema.table.kind} here is `{current}`" if current else ""
            raise self.fail(error.message() + hint) from None
        cls = schema.table.get(name)
        assert cls is not None
        if not rest:
            node.value = {name: self.parsed(value, Schema("value"))}
            return
        arguments = Node({}, self.place, self.place)
        if _name_of(node) == name and isinstance(node.value, dict):
            written = node.value[name]
            if isinstance(written.value, dict):
                arguments = written
            elif written.value is not None:
                try:
                    keyword_arguments(cls, name, written.plain())
                except PydanticCustomError as error:
                    raise self.fail(error.message()) from None
                leading = Node(written.value, written.place, written.key_place)
                arguments = Node({str(cls.leading): leading}, written.place, written.key_place)
        node.value = {name: arguments}
        self.set(arguments, class_schema(cls), rest, value)

    def parsed(self, value: str, schema: Schema) -> Node:
        """A string field takes the text as it is (`null` clears it); every other is one YAML value."""
        if schema.kind == "string":
            return Node(None if value == "null" else value, self.place, self.place)
        if not value.strip():
            raise self.fail("expected a value after `=`")
        node = parse(value, "", self.place.override)
        for inner in _nodes(node):
            inner.place = self.place
            inner.key_place = self.place
        return node


def _nodes(node: Node) -> list[Node]:
    children = node.value.values() if isinstance(node.value, dict) else node.value
    inner = children if isinstance(node.value, dict | list) else ()
    return [node, *(found for child in inner for found in _nodes(child))]


def _name_of(node: Node) -> str | None:
    """The name of the named object that a node writes, if it writes one."""
    if isinstance(node.value, str):
        return node.value
    if isinstance(node.value, dict) and len(node.value) == 1:
        return str(next(iter(node.value)))
    return None
