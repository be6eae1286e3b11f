"""`extends` and `--set`: changes to a config's tree, typed by its schema."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic_core import PydanticCustomError

from cnnkit.errors import ConfigError, Place, Problem
from cnnkit.format.base import NamedObject, Table, describe, keyword_arguments, shorten, split_named
from cnnkit.format.document import Node, parse
from cnnkit.format.files import is_stream, neighbours, read_file, shown_name
from cnnkit.format.schema import Schema, class_schema
from cnnkit.format.similar import suggestion

_PATH = re.compile(r"[^.\[\]]+(?:\.[^.\[\]]+|\[-?[0-9]{1,9}\])*")
_PART = re.compile(r"[^.\[\]]+")
_INDEX = re.compile(r"-?[0-9]{1,9}")


def read_tree(file: str, schema: Schema, text: str | None = None, seen: tuple[str, ...] = ()) -> Node:
    """A config file's tree with everything that it `extends` merged in.

    A relative path in a file belongs to the file's folder; what comes through a pipe belongs to the current one.

    Args:
        text: What the file holds, where it is read already.

    Raises:
        ConfigError: for an unreadable file, and for files that extend each other in a circle.
    """
    root = parse(read_file(file) if text is None else text, shown_name(file))
    if not isinstance(root.value, dict):
        message = f"expected sections such as `data:` and `model:`, got {describe(root.plain())}"
        raise ConfigError([Problem(root.place, "", message)])
    folder = "" if is_stream(file) else os.path.dirname(file)
    _resolve_paths(root, os.path.abspath(folder))
    extends = root.value.pop("extends", None)
    if extends is None:
        if not seen:
            _resolve_picture(root)
        return root
    chain = (*seen, os.path.realpath(file))
    tree: Node | None = None
    for name in _extended(extends):
        base_file = _base_file(name, folder, chain)
        base = read_tree(base_file, schema, _base_text(name, base_file, schema), chain)
        tree = base if tree is None else merge(tree, base, schema)
    assert tree is not None
    merged = merge(tree, root, schema)
    if not seen:
        _resolve_picture(merged)
    return merged


def _extended(extends: Node) -> list[Node]:
    """The names of the files that a file extends, in order."""
    several = isinstance(extends.value, list) and extends.value
    names = extends.value if several else [extends]
    for name in names:
        if not isinstance(name.value, str) or not name.value:
            message = f"expected the path of another config, or a list of such, got {describe(name.plain())}"
            raise ConfigError([Problem(name.place, "extends", message)])
    return list(names)


def _base_text(extends: Node, file: str, schema: Schema) -> str:
    """What an extended file holds, if it may be a config.

    Whoever wrote `extends` may be a stranger, and the file one that is nobody's business (`/etc/passwd`): what is found
    wrong with a config is quoted, so nothing but a config is looked at.
    """
    text = read_file(file)
    assert schema.model is not None
    names = "|".join([*schema.model.model_fields, "extends"])
    if not re.search(rf"""^[ {{,]*["']?({names})["']?[ \t]*:""", text, re.MULTILINE):
        message = f"`{shorten(file, 200)}` is no config: it has no section such as `data:` or `model:`"
        raise ConfigError([Problem(extends.place, "extends", message)])
    return text


def _base_file(extends: Node, folder: str, chain: tuple[str, ...]) -> str:
    """The file that `extends` names.

    Args:
        folder: What a relative name belongs to.
        chain: The files that lead to it.
    """

    def fail(message: str) -> ConfigError:
        return ConfigError([Problem(extends.place, "extends", message)])

    if "://" in extends.value:
        raise fail(f"expected a file, got the address `{shorten(extends.value, 200)}`; download it first")
    file = os.path.normpath(os.path.join(folder, os.path.expanduser(extends.value)))
    name = shorten(file, 200)
    if os.path.isdir(file):
        raise fail(f"`{name}` is a folder; expected a file")
    if not os.path.isfile(file):
        raise fail(f"there is no file `{name}`{neighbours(file)}")
    if os.path.realpath(file) in chain:
        names = " -> ".join(os.path.basename(one) for one in (*chain, file))
        raise fail(f"the files extend each other in a circle: {names}")
    return file


def merge(base: Node, child: Node, schema: Schema | None) -> Node:
    """`child` over `base`: mappings merge; everything else, and a named object of another name, replaces."""
    if not isinstance(base.value, dict) or not isinstance(child.value, dict):
        return child
    if schema is not None and schema.kind == "choice" and schema.table is not None:
        return _merge_named(base, child, schema.table)
    free = schema is None or schema.kind == "value"
    if free and len(base.value) == len(child.value) == 1 and base.value.keys() != child.value.keys():
        # Two named objects, as far as can be told.
        return child
    value = dict(base.value)
    for key, node in child.value.items():
        for other in _alternatives(schema, key) if node.value is not None else ():
            if other not in child.value:
                value.pop(other, None)
        inner = schema.field(key) if schema is not None else None
        value[key] = merge(value[key], node, inner) if key in value else node
    return Node(value, child.place, child.key_place)


def _alternatives(schema: Schema | None, key: str) -> list[str]:
    """The fields that cannot stand beside one: what is written later takes their place."""
    if schema is None or schema.model is None:
        return []
    groups = schema.model.alternatives
    beside = [name for group in groups if key in group for name in group if name != key]
    return [*beside, *schema.model.displaced.get(key, ())]


def _merge_named(base: Node, child: Node, table: Table) -> Node:
    name, base_name = _name_of(child), _name_of(base)
    cls = table.get(name) if name is not None else None
    if name is None or base_name is None or cls is None or table.canonical(name) != table.canonical(base_name):
        return child
    arguments, base_arguments = _as_arguments(child.value[name], cls), _as_arguments(base.value[base_name], cls)
    return Node({name: merge(base_arguments, arguments, class_schema(cls))}, child.place, child.key_place)


def _as_arguments(node: Node, cls: type[NamedObject]) -> Node:
    """A named object's arguments as a mapping, where the file has its leading argument alone."""
    if isinstance(node.value, dict) or node.value is None or cls.leading is None:
        return node
    return Node({cls.leading: Node(node.value, node.place, node.key_place)}, node.place, node.key_place)


#: The layers that have a path among their arguments: which it is, and the words that are none.
_PATH_ARGUMENTS = {"Backbone": ("weights", ("imagenet",))}

#: The fields of `data` that are paths.
_PATHS = ("folder", "table", "reference")

#: The arguments of tasks that are paths.
_TASK_PATHS = ("classifier",)

#: Pictures that come with scikit-learn: no files of the user's.
BUNDLED = ("china", "flower")


def _resolve_picture(root: Node, directory: str | None = None) -> None:
    """Makes the path of one picture absolute; only a whole config tells it from the column of a table.

    Args:
        directory: What it belongs to; by default the folder of the file that has it.
    """
    data = root.value.get("data")
    written = data.value if data is not None and isinstance(data.value, dict) else {}
    image = written.get("image")
    if image is None or not isinstance(image.value, str) or image.value in ("", *BUNDLED):
        return
    if any(written[name].value is not None for name in ("name", "folder", "table") if name in written):
        return
    folder = os.path.dirname(os.path.abspath(image.place.file)) if directory is None else directory
    image.value = _absolute(image.value, folder)


def _resolve_paths(root: Node, directory: str) -> None:
    """Makes paths absolute: relative ones belong to the file (or shell) that wrote them."""
    data = root.value.get("data")
    if data is not None and isinstance(data.value, dict):
        damage = data.value.get("damage")
        inside = damage.value if damage is not None and isinstance(damage.value, dict) else {}
        for path in (*map(data.value.get, _PATHS), inside.get("mask")):
            if path is not None and isinstance(path.value, str) and path.value:
                path.value = _absolute(path.value, directory)
    task = root.value.get("task")
    for arguments in task.value.values() if task is not None and isinstance(task.value, dict) else ():
        for path in map(arguments.value.get, _TASK_PATHS) if isinstance(arguments.value, dict) else ():
            if path is not None and isinstance(path.value, str) and path.value:
                path.value = _absolute(path.value, directory)
    model = root.value.get("model")
    for path in _paths_in(model) if model is not None else ():
        path.value = _absolute(path.value, directory)


def _absolute(path: str, directory: str) -> str:
    return os.path.normpath(os.path.join(directory, os.path.expanduser(path)))


def _paths_in(node: Node) -> Iterator[Node]:
    """The values in a part of the tree that are paths of weights; the names of a block's parameters are none."""
    if isinstance(node.value, list):
        for item in node.value:
            yield from _paths_in(item)
    elif isinstance(node.value, dict):
        for name, inner in node.value.items():
            argument, words = _PATH_ARGUMENTS.get(name, ("", ()))
            path = inner.value.get(argument) if isinstance(inner.value, dict) else None
            if path is not None and isinstance(path.value, str) and path.value not in ("", *words):
                if not path.value.startswith("$"):
                    yield path
            else:
                yield from _paths_in(inner)


def apply_override(root: Node, text: str, schema: Schema) -> None:
    """Carries out one `--set path=value` on the tree; one that fails leaves the tree as it was.

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
    if not _PATH.fullmatch(path):
        raise fail(f"`{shorten(path)}` is no path; expected names and numbers, such as `model.layers[6].Dropout.rate`")
    # Of digits, a part is a number in a list and a name elsewhere: a class may be called `007`.
    parts = _PART.findall(path)
    changed = root.copy()
    _Setter(place, path, _blocks(changed)).set(changed, schema, parts, value)
    _resolve_paths(changed, os.getcwd())
    _resolve_picture(changed, os.getcwd())
    root.value = changed.value


def _blocks(root: Node) -> dict[str, Any]:
    model = root.value.get("model")
    plain = model.plain() if model is not None else None
    blocks = plain.get("blocks") if isinstance(plain, dict) else None
    return blocks if isinstance(blocks, dict) else {}


class _Setter:
    """Walks the tree and the schema side by side, bringing named objects to their normal form on the way."""

    def __init__(self, place: Place, path: str, blocks: Mapping[str, Any]) -> None:
        self.place = place
        self.path = path
        #: The blocks that the config defines, by name, as plain values.
        self.blocks = blocks
        #: Whether `null` is a value of the last field on the path.
        self.clearable = False

    def fail(self, message: str) -> ConfigError:
        return ConfigError([Problem(self.place, self.path, message)])

    def set(self, node: Node, schema: Schema, parts: list[str], value: str) -> None:
        key, rest = parts[0], parts[1:]
        if schema.kind == "list" or (schema.kind == "value" and isinstance(node.value, list)):
            self.set_item(node, schema, key, rest, value)
            return
        if schema.kind == "choice":
            self.set_named(node, schema, key, rest, value)
            return
        if schema.kind not in ("model", "mapping") and not isinstance(node.value, dict):
            raise self.fail(f"`{key}` does not exist: the value there is {describe(node.plain())}")
        if not isinstance(node.value, dict):
            node.value = {}
        inner = schema.field(key) if schema.kind in ("model", "mapping") else Schema("value")
        if inner is None:
            assert schema.model is not None
            noun = "argument" if issubclass(schema.model, NamedObject) else "key"
            raise self.fail(f"unknown {noun} `{shorten(key)}`{suggestion(key, schema.model.model_fields)}")
        info = schema.model.model_fields[key] if schema.model is not None else None
        self.clearable = info is not None and type(None) in (type(info.default), *get_args(info.annotation))
        self.assign(node.value, key, inner, rest, value)
        for other in _alternatives(schema, key) if node.value[key].value is not None else ():
            node.value.pop(other, None)

    def assign(self, mapping: dict[str, Node], key: str, schema: Schema, rest: list[str], value: str) -> None:
        if not rest:
            mapping[key] = self.parsed(value, schema)
            return
        if key not in mapping or mapping[key].value is None:
            mapping[key] = Node({} if schema.kind != "list" else [], self.place, self.place)
        self.set(mapping[key], schema, rest, value)

    def set_item(self, node: Node, schema: Schema, part: str, rest: list[str], value: str) -> None:
        items = node.value if isinstance(node.value, list) else []
        if not _INDEX.fullmatch(part):
            raise self.fail(f"expected a number after the list, such as `[0]`, got `{part}`")
        index = int(part)
        if not -len(items) <= index < len(items):
            raise self.fail(
                f"there is no entry {index}; the list has {len(items)}, counted from 0, or from -1 at its end"
            )
        index %= len(items)
        inner = schema.item or Schema("value")
        if not rest:
            # That the list may be null says nothing of its entries.
            self.clearable = False
            items[index] = self.parsed(value, inner)
            return
        name = _name_of(items[index])
        table = inner.table
        if table is not None and name is not None and table.canonical(name) != table.canonical(rest[0]):
            cls = table.get(name)
            hint = f"; write `{name}.{rest[0]}`" if cls is not None and rest[0] in cls.model_fields else ""
            raise self.fail(f"entry {index} is `{name}`, not `{rest[0]}`{hint}")
        self.set(items[index], inner, rest, value)

    def set_named(self, node: Node, schema: Schema, name: str, rest: list[str], value: str) -> None:
        assert schema.table is not None
        current = _name_of(node)
        if schema.table.kind == "layer" and name in self.blocks:
            self.set_call(node, name, rest, value)
            return
        try:
            split_named(name, schema.table, self.blocks if schema.table.kind == "layer" else ())
        except PydanticCustomError as error:
            known = schema.table.get(current) if current else None
            if known is not None and name in known.model_fields:
                message = f"expected the name of the {schema.table.kind} first; write `{current}.{name}`"
                raise self.fail(message) from None
            hint = f" (the {schema.table.kind} here is `{current}`)" if current else ""
            raise self.fail(error.message() + hint) from None
        cls = schema.table.get(name)
        assert cls is not None
        if not rest:
            node.value = {name: self.parsed(value, Schema("value"))}
            return
        arguments = Node({}, self.place, self.place)
        if current is not None and schema.table.canonical(current) == schema.table.canonical(name):
            written = node.value[current] if isinstance(node.value, dict) else arguments
            if isinstance(written.value, dict):
                arguments = written
            elif written.value is not None:
                try:
                    keyword_arguments(cls, name, written.plain())
                except PydanticCustomError as error:
                    raise self.fail(error.message()) from None
                arguments = _as_arguments(written, cls)
        node.value = {name: arguments}
        self.set(arguments, class_schema(cls), rest, value)

    def set_call(self, node: Node, name: str, rest: list[str], value: str) -> None:
        """A parameter of a block where a layer stands."""
        arguments = Node({}, self.place, self.place)
        if _name_of(node) == name and isinstance(node.value, dict) and node.value[name].value is not None:
            arguments = node.value[name]
        if not rest:
            node.value = {name: self.parsed(value, Schema("value"))}
            return
        if not isinstance(arguments.value, dict):
            # A scalar stands for the first parameter.
            block = self.blocks[name]
            parameters = block.get("parameters") if isinstance(block, dict) else None
            if not isinstance(parameters, dict) or not parameters:
                raise self.fail(f"the block `{name}` has no parameters")
            arguments = Node({next(iter(parameters)): arguments}, self.place, self.place)
        node.value = {name: arguments}
        self.set(arguments, Schema("value"), rest, value)

    def parsed(self, value: str, schema: Schema) -> Node:
        """A string field takes the text as it is (`null` clears it); every other is one YAML value."""
        if not value.strip():
            raise self.fail(f"expected a value after `=`{'; `null` clears it' if self.clearable else ''}")
        if schema.kind == "string":
            return Node(None if value == "null" else value, self.place, self.place)
        node = parse(value, "", self.place.override)
        for inner in _nodes(node):
            inner.place = self.place
            inner.key_place = self.place
        return node


def _nodes(node: Node) -> list[Node]:
    children = node.value.values() if isinstance(node.value, dict) else node.value
    inner = children if isinstance(node.value, dict | list) else ()
    return [node, *(descendant for child in inner for descendant in _nodes(child))]


def _name_of(node: Node) -> str | None:
    """The name of the named object that a node writes, if it writes one."""
    if isinstance(node.value, str):
        return node.value
    if isinstance(node.value, dict) and len(node.value) == 1:
        return str(next(iter(node.value)))
    return None
