"""Python text: values and calls as a person writes them, lines that are not too long, and copies of our own code."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cnnkit.format.script import Argument, Call, Raw
from cnnkit.terminal.printable import printable

#: Columns of a line.
WIDTH = 100

#: The statements that bring the names that a script may use.
IMPORTS = {
    "collections": "import collections",
    "contextmanager": "from contextlib import contextmanager",
    "dataclass": "from dataclasses import dataclass",
    "csv": "import csv",
    "hashlib": "import hashlib",
    "json": "import json",
    "math": "import math",
    "os": "import os",
    "re": "import re",
    "Callable": "from collections.abc import Callable",
    "Iterator": "from collections.abc import Iterator",
    "Sequence": "from collections.abc import Sequence",
    "ElementTree": "from xml.etree import ElementTree",
    "Path": "from pathlib import Path",
    "SimpleNamespace": "from types import SimpleNamespace",
    "Any": "from typing import Any",
    "keras": "import keras",
    "np": "import numpy as np",
    "tf": "import tensorflow as tf",
    "tfds": "import tensorflow_datasets as tfds",
    "load_digits": "from sklearn.datasets import load_digits",
    "layers": "from keras import layers",
    "ops": "from keras import ops",
    "NDArray": "from numpy.typing import NDArray",
    "Image": "from PIL import Image",
    "ImageOps": "from PIL import ImageOps",
    "unicodedata": "import unicodedata",
}
_THIRD_PARTY = ("keras", "numpy", "tensorflow", "sklearn", "PIL")


def literal(value: Any) -> str:
    """A value as Python writes it."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Call):
        return call_text(value)
    if isinstance(value, str):
        # JSON's strings are Python's, too; but for halves of surrogate pairs, which stand for bytes of file names.
        return printable(json.dumps(value, ensure_ascii=False))
    if isinstance(value, float) and not math.isfinite(value):
        return f"np.{value!r}" if value != -math.inf else "-np.inf"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(literal, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items()) + "}"
    return repr(value)


def number(value: float) -> str:
    """A number without the .0 of a whole one."""
    return str(int(value)) if value == int(value) else repr(value)


def keras_name(kind: str) -> str:
    """How Keras calls an object of a class by itself: a layer without a name, an initializer as a text."""
    words = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind)
    return re.sub("([a-z])([A-Z])", r"\1_\2", words).lower()


def call_text(call: Call, tensor: str | None = None) -> str:
    """A call in one line.

    Args:
        tensor: What a function of tensors is called with.
    """
    short = _by_name(call)
    if short is not None:
        return short
    first = [tensor] if tensor is not None and call.of_tensor else []
    return f"{call.function}({', '.join([*first, *argument_texts(call)])})"


def argument_texts(call: Call) -> list[str]:
    """The arguments as they are written, without those that mean their default."""
    texts: list[str] = []
    for argument in call.arguments:
        if argument.value == argument.default and argument.default is not ...:
            continue
        value = literal(argument.value)
        texts.append(value if argument.name == call.leading and not texts else f"{argument.name}={value}")
    return texts


def _by_name(call: Call) -> str | None:
    """An object of Keras without arguments as its name, such as "he_normal"."""
    kinds = ("keras.initializers.", "keras.regularizers.", "keras.constraints.")
    if call.arguments or not call.function.startswith(kinds):
        return None
    return literal(keras_name(call.function.rpartition(".")[2]))


def commented(statement: str, comment: str) -> list[str]:
    """A statement with a comment behind it, or above it where the line would be too long."""
    line = f"{statement}  # {comment}"
    return [line] if len(line) <= WIDTH else [f"# {comment}", statement]


def wrapped(text: str, indent: int = 0) -> list[str]:
    """A statement as lines: where it is too long, broken inside its outermost brackets, one item to a line."""
    pad = " " * indent
    if len(pad + text) <= WIDTH:
        return [pad + text]
    start, end = _outermost(text)
    items = list(_items(text[start + 1 : end])) if start >= 0 else []
    if not items:
        return [pad + text]
    inside = ", ".join(items)
    if len(pad) + 4 + len(inside) <= WIDTH and "=" in text[:start] + text[start:]:
        body = [f"{pad}    {inside}"]
    else:
        body = [line for item in items for line in wrapped(item + ",", indent + 4)]
    return [pad + text[: start + 1], *body, *wrapped(text[end:], indent)]


def _outermost(text: str) -> tuple[int, int]:
    """The places of the widest pair of brackets at the outermost level."""
    depth, start, best = 0, -1, (-1, -1)
    for place, letter in _code(text):
        if letter in "([{":
            if depth == 0:
                start = place
            depth += 1
        elif letter in ")]}":
            depth -= 1
            if depth == 0 and place - start > best[1] - best[0]:
                best = start, place
    return best


def _items(text: str) -> Iterator[str]:
    """The parts of a text between the commas of its outermost level."""
    depth, start = 0, 0
    for place, letter in _code(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            yield text[start:place].strip()
            start = place + 1
    if text[start:].strip():
        yield text[start:].strip()


def _code(text: str) -> Iterator[tuple[int, str]]:
    """The letters of a text outside its strings, with their places."""
    quoted = escaped = False
    for place, letter in enumerate(text):
        if quoted:
            quoted = escaped or letter != '"'
            escaped = letter == "\\" and not escaped
        elif letter == '"':
            quoted = True
        else:
            yield place, letter


#: Statements that give names their values.
_CONSTANTS = (ast.Assign, ast.AnnAssign)

# --- Our own code -------------------------------------------------------------------------------------


def copied(module: str, names: Iterable[str], without: Collection[str] = ()) -> str:
    """Classes and functions of a module of cnnkit, and what of the same module they use, as it stands there.

    Args:
        without: Methods to leave out.
    """
    text, nodes = _definitions(module)
    wanted: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in wanted:
            wanted.add(name)
            left += [used for used in used_names(nodes[name]) if used in nodes]
    lines = text.splitlines()
    copy, before = "", None
    # One statement may give several names their values.
    for node in dict.fromkeys(node for name, node in nodes.items() if name in wanted):
        gaps = {
            place
            for method in ast.walk(node)
            if isinstance(method, ast.FunctionDef) and method.name in without
            # The empty line after it, too.
            for place in range(_first_line(method), (method.end_lineno or 0) + 2)
        }
        for statement in ast.walk(node):
            if isinstance(statement, ast.Import | ast.ImportFrom) and ast.unparse(statement) in IMPORTS.values():
                # Scripts import at their top.
                end = statement.end_lineno or 0
                gaps |= {*range(statement.lineno, end + 1), *([] if lines[end].strip() else [end + 1])}
        first = _first_line(node)
        kept = [lines[place - 1] for place in range(first, (node.end_lineno or 0) + 1) if place not in gaps]
        while isinstance(node, _CONSTANTS) and lines[first - 2].startswith("#: "):
            first -= 1
            kept.insert(0, lines[first - 1].replace("#: ", "# ", 1))
        together = isinstance(before, _CONSTANTS) and isinstance(node, _CONSTANTS)
        copy += ("" if before is None else "\n" if together else "\n\n\n") + "\n".join(kept).rstrip()
        before = node
    return copy


def _first_line(node: Any) -> int:
    return int(min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))]))


def defined_names(modules: Iterable[str]) -> set[str]:
    """The names of the classes, functions and constants of modules of cnnkit."""
    return {name for module in modules for name in _definitions(module)[1]}


@cache
def _definitions(module: str) -> tuple[str, dict[str, ast.stmt]]:
    """A module's text, and its classes, functions and constants, without importing it."""
    package, _, name = module.rpartition(".")
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    text = (Path(spec.origin).parent / f"{name}.py").read_text("utf-8")
    nodes: dict[str, ast.stmt] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            nodes[node.name] = node
        elif isinstance(node, _CONSTANTS):
            nodes |= dict.fromkeys(_assigned(node), node)
    return text, nodes


def _assigned(node: ast.Assign | ast.AnnAssign) -> list[str]:
    """The names that a statement gives values."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]


def used_names(node: ast.AST) -> set[str]:
    return {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}


def import_lines(body: str) -> tuple[list[str], list[str]]:
    """The imports that a script's text needs, of the standard library and of packages, each sorted."""
    tree = ast.parse(body)
    used = used_names(tree)
    statements = sorted(IMPORTS[name] for name in used if name in IMPORTS and not hasattr(builtins, name))
    groups: tuple[list[str], list[str]] = ([], [])
    for statement in _merged(statements):
        groups[statement.split()[1].startswith(_THIRD_PARTY)].append(statement)
    # Plain imports before those of single names, as is usual.
    standard, others = (sorted(group, key=lambda line: (line.startswith("from"), line.lower())) for group in groups)
    return standard, others


def _merged(statements: list[str]) -> list[str]:
    """`from a import b` and `from a import c` as one."""
    merged: dict[str, list[str]] = {}
    for statement in statements:
        head, _, name = statement.partition(" import ") if statement.startswith("from") else (statement, "", "")
        merged.setdefault(head, []).append(name)
    return [f"{head} import {', '.join(names)}" if names != [""] else head for head, names in merged.items()]


def named(function: str, leading: str | None = None, /, **arguments: Any) -> Call:
    """A call from values."""
    return Call(function, tuple(Argument(name, value) for name, value in arguments.items()), leading)
