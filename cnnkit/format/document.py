"""YAML text to a tree in which every value knows where it was written.

Scalars follow YAML 1.2's core schema. PyYAML's own resolver follows YAML 1.1, in which `1e-3` is a string,
`017` is 15, `1:30` is 90 and `off` is false.
"""

from __future__ import annotations

import copy
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from cnnkit.errors import ConfigError, Place, Problem
from cnnkit.format.base import describe, shorten

#: What may stand in a tuple of Python's.
_IN_A_TUPLE = re.compile(r"[-+]?[0-9][0-9.e]*|\$\w+|None|True|False")

#: More nodes than this, aliases expanded, is no config but an alias bomb: Inception-ResNet-v2 can be written in 434.
MAXIMUM_NODES = 10_000
#: Deeper than this, aliases expanded, is no config; Python's own recursion limit lies beyond it.
MAXIMUM_DEPTH = 60
#: TensorFlow's whole numbers have 64 bits.
LARGEST_INTEGER = 2**63 - 1

_TAG = "tag:yaml.org,2002:"
INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass
class Node:
    """A value of the document: a scalar, a list of nodes, or a mapping from names to nodes.

    Attributes:
        place: Where the value starts; of an alias, where that stands. What lies inside is where it was written.
        key_place: Where its key starts, if it is a value in a mapping.
        is_alias: Whether an alias stands for it.
        key_alias: The alias, such as `*conv`, where its anchor stands before a key, so that it is that key alone.
    """

    value: Any
    place: Place
    key_place: Place | None = None
    is_alias: bool = False
    key_alias: str | None = None

    def plain(self) -> Any:
        """The value without positions."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def copy(self) -> Node:
        """The same tree in nodes of its own."""
        value = self.value
        if isinstance(value, dict):
            value = {key: node.copy() for key, node in value.items()}
        elif isinstance(value, list):
            value = [node.copy() for node in value]
        return Node(value, self.place, self.key_place, self.is_alias, self.key_alias)


class _Resolver(yaml.resolver.BaseResolver):
    """YAML 1.2's core schema."""


for _name, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", rf"^(?:{INTEGER.pattern})$", list("-+0123456789")),
    ("float", rf"^(?:{FLOAT.pattern})$", list("-+.0123456789")),
    ("merge", r"^(?:<<)$", ["<"]),
):
    _Resolver.add_implicit_resolver(_TAG + _name, re.compile(_pattern), _first)


class _Loader(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser, yaml.composer.Composer, _Resolver):
    def __init__(self, text: str) -> None:
        yaml.reader.Reader.__init__(self, text)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)
        yaml.composer.Composer.__init__(self)
        _Resolver.__init__(self)
        self.depth = self.count = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        # Every bracket costs PyYAML a look at all that are open. What is a little too deep is refused with its place.
        if self.depth > 2 * MAXIMUM_DEPTH:
            raise RecursionError
        self.count += 1
        if self.count > MAXIMUM_NODES:
            # Reading the rest would take seconds.
            problem = f"the document has more than {MAXIMUM_NODES:,} values, which no config needs"
            raise yaml.composer.ComposerError(None, None, problem, self.peek_event().start_mark)
        alias = self.peek_event() if self.check_event(yaml.events.AliasEvent) else None
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node if alias is None else _aliased(node, alias)


def _aliased(node: Any, alias: Any) -> Any:
    """PyYAML's node of an anchor as one of its own, which begins where the alias stands; both share what they hold."""
    other = copy.copy(node)
    other.start_mark, other.end_mark = alias.start_mark, alias.end_mark
    other.alias, other.anchored = alias.anchor, getattr(node, "anchored", node)
    return other


def parse(text: str, file: str, override: str | None = None) -> Node:
    """The tree of one YAML document.

    Args:
        file: Its name, for positions.
        override: The `--set` argument that the text comes from, if it does.

    Raises:
        ConfigError: for YAML that does not parse, duplicate keys, unknown tags and alias bombs.
    """
    converter = _Converter(file, override)
    _check_characters(text, file, override)
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            raise ConfigError([Problem(Place(file, 1, 1, override), "", "the file is empty; expected a config")])
        converter.has_tuples([root])
        node = converter.convert(root)
    except yaml.MarkedYAMLError as error:
        raise ConfigError([converter.syntax_problem(error)]) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(file, before.count("\n") + 1, error.position - before.rfind("\n"), override)
        message = f"a config is text, but this is the control character U+{_code(error.character):04X}"
        raise ConfigError([Problem(place, "", message)]) from None
    except RecursionError:
        raise ConfigError([Problem(Place(file, 1, 1, override), "", "the document is nested too deeply")]) from None
    if converter.problems:
        raise ConfigError(converter.problems)
    return node


#: Characters that look like a space and are none to YAML.
_SPACES = "[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000\ufeff]"

#: Characters that look like a new line, or like a space where one is needed, and are none. PyYAML ends lines at some
#: where editors do not, so that a comment would go on as YAML, and all later places be wrong.
_LOOKALIKES = re.compile("[\u0085\u2028\u2029]|(?m:^ *|(?<=[:-])|(?<=[:-] ))" + _SPACES)


def _check_characters(text: str, file: str, override: str | None) -> None:
    """Refuses what looks like a space or a new line but is not."""
    problems = []
    for match in _LOOKALIKES.finditer(text) if not text.isascii() else ():
        position = match.end() - 1
        place = Place(file, text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position), override)
        character = text[position]
        name = unicodedata.name(character, "next line").lower()
        instead = "a new line" if character in "\u0085\u2028\u2029" else "a space"
        problems.append(
            Problem(place, "", f"the character U+{ord(character):04X} ({name}) stands here; write {instead}")
        )
    if problems:
        raise ConfigError(problems)


def _code(character: Any) -> int:
    """A character's code; PyYAML gives either of them."""
    return character if isinstance(character, int) else ord(character)


#: What to do about a message of PyYAML's that contains the key.
_SYNTAX_HINTS = {
    "mapping values are not allowed": "check the indentation, and quote a value that holds `: `",
    "expected <block end>": "check the indentation",
    "could not find expected ':'": "is a colon missing?",
    "cannot start any token": "quote a value that starts with it",
    "another document": "keep one",
}


@dataclass
class _Converter:
    """Turns PyYAML's nodes into ours, collecting what is wrong with them."""

    file: str
    override: str | None
    problems: list[Problem] = field(default_factory=list)
    count: int = 0
    open_nodes: dict[int, Any] = field(default_factory=dict)
    keys: set[int] = field(default_factory=set)

    def place(self, mark: Any) -> Place:
        return Place(self.file, mark.line + 1, mark.column + 1, self.override)

    def problem(self, mark: Any, message: str) -> None:
        self.problems.append(Problem(self.place(mark), "", message))

    def syntax_problem(self, error: yaml.MarkedYAMLError) -> Problem:
        mark = error.problem_mark or error.context_mark
        problem, context = error.problem or error.context or "", error.context
        if problem.startswith("but ") and context:
            problem, context = f"{context}, {problem}", None
        if "'\\t'" in problem and mark is not None:
            before = mark.buffer[: mark.pointer].rpartition("\n")[2] if mark.buffer is not None else ""
            where = "YAML does not allow tabs for indentation; use spaces" if not before.strip() else "write a space"
            return Problem(self.place(mark), "", f"YAML syntax: a tab stands here; {where}")
        message = f"YAML syntax: {problem}"
        if context and context != problem and error.context_mark is not None:
            message += f" ({context} at line {error.context_mark.line + 1})"
        message += next((f"; {hint}" for part, hint in _SYNTAX_HINTS.items() if part in problem), "")
        return Problem(self.place(mark) if mark else Place(self.file, 1, 1, self.override), "", message)

    def convert(self, node: Any) -> Node:
        self.count += 1
        if self.count > MAXIMUM_NODES:
            # The value in the outermost mapping or list that grows so large, rather than some leaf of it.
            outermost = [*self.open_nodes.values(), node][:2][-1]
            message = f"this expands the document to more than {MAXIMUM_NODES:,} values; are aliases nested?"
            raise ConfigError([Problem(self.place(outermost.start_mark), "", message)])
        # An alias shares what its anchor's node holds.
        holds = id(node.value)
        if holds in self.open_nodes:
            start = self.open_nodes[holds].start_mark
            raise ConfigError([Problem(self.place(start), "", "an alias stands for a value that holds it")])
        if len(self.open_nodes) >= MAXIMUM_DEPTH:
            message = f"the document is nested more than {MAXIMUM_DEPTH} levels deep"
            raise ConfigError([Problem(self.place(node.start_mark), "", message)])
        self.open_nodes[holds] = node
        if isinstance(node, yaml.ScalarNode):
            value = self.scalar(node)
        elif isinstance(node, yaml.SequenceNode):
            self.check_tag(node, "seq")
            value = [] if self.has_tuples(node.value) else [self.convert(item) for item in node.value]
        else:
            self.check_tag(node, "map")
            parts = [part for key, value in node.value for part in (key, value) if part.value != ""]
            value = {} if self.has_tuples(parts) else self.mapping(node)
        del self.open_nodes[holds]
        alias = getattr(node, "alias", None)
        key_alias = f"*{alias}" if alias is not None and id(node.anchored) in self.keys else None
        return Node(value, self.place(node.start_mark), is_alias=alias is not None, key_alias=key_alias)

    def check_tag(self, node: Any, expected: str) -> None:
        if node.tag != _TAG + expected:
            self.problem(node.start_mark, f"the tag `{node.tag}` is not supported; remove it")

    def has_tuples(self, nodes: Sequence[Any]) -> bool:
        """Reports Python's tuples among neighbours, which YAML cuts at the commas inside brackets and braces."""
        has_any, rest = False, list(nodes)
        while rest:
            first, text = rest.pop(0), ""
            if not _is_plain(first) or not first.value.startswith("("):
                continue
            text = first.value
            while rest and text.count("(") > text.count(")") and _is_plain(rest[0]):
                text += f", {rest.pop(0).value}"
            items = re.split(r"[\s,()]+", text.strip("(), "))
            if "," in text and text.count("(") == text.count(")") and all(map(_IN_A_TUPLE.fullmatch, items)):
                written = text.replace("(", "[").replace(")", "]").replace("None", "null")
                self.problem(first.start_mark, f"`{shorten(text)}` is a tuple in Python; in YAML, write `{written}`")
                has_any = True
        return has_any

    def scalar(self, node: Any) -> Any:
        text, tag = node.value, node.tag.removeprefix(_TAG)
        try:
            if tag == "null" and text in ("", "~", "null", "Null", "NULL"):
                return None
            if tag == "bool":
                return {"true": True, "false": False}[text.lower()]
            if tag == "int" and INTEGER.fullmatch(text):
                return _integer(text)
            if tag == "float" and FLOAT.fullmatch(text):
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            if tag in ("null", "int", "float"):
                raise ValueError(text)
        except OverflowError:
            self.problem(node.start_mark, f"the number {shorten(text)} is too large; whole numbers reach 2^63 - 1")
            return 0
        except (KeyError, ValueError):
            self.problem(node.start_mark, f"`{shorten(text)}` is not of the type that its tag `{node.tag}` says")
            return text
        if tag not in ("str", "merge"):
            self.problem(node.start_mark, f"the tag `{node.tag}` is not supported; remove it")
        return text

    def mapping(self, node: Any) -> dict[str, Node]:
        result: dict[str, Node] = {}
        merged: list[Node] = []
        previous: str | None = None
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                merged.extend(self.merge_sources(value_node))
                continue
            key = self.convert(key_node).plain()
            self.keys.add(id(key_node))
            if not isinstance(key, str):
                self.bad_key(node, key_node, key, value_node, previous, result)
                continue
            value = self.convert(value_node)
            value.key_place = self.place(key_node.start_mark)
            if key in result:
                first = result[key].key_place
                assert first is not None
                message = f"`{shorten(key)}` stands here twice; the first is at line {first.line}"
                self.problem(key_node.start_mark, message)
                continue
            result[key] = value
            previous = key
        for source in merged:
            for key, value in source.value.items():
                result.setdefault(key, value)
        return result

    def merge_sources(self, node: Any) -> list[Node]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        converted = [self.convert(source) for source in sources]
        for source in converted:
            if not isinstance(source.value, dict):
                self.problem(node.start_mark, f"`<<` merges mappings, got {describe(source.plain())}")
        return [source for source in converted if isinstance(source.value, dict)]

    def bad_key(
        self, node: Any, key_node: Any, key: Any, value_node: Any, previous: str | None, result: dict[str, Node]
    ) -> None:
        hint = ""
        value_missing = isinstance(value_node, yaml.ScalarNode) and value_node.value == ""
        if node.flow_style and value_missing and previous is not None:
            hint = f"; write a list: `{previous}: [{result[previous].plain()}, {key_node.value}]`"
        elif isinstance(key_node, yaml.ScalarNode):
            hint = f'; if it is a name, quote it: "{key_node.value}"'
        self.problem(key_node.start_mark, f"expected a name as the key, got {describe(key)}{hint}")


def _is_plain(node: Any) -> bool:
    """Whether a node is a text without quotes."""
    return isinstance(node, yaml.ScalarNode) and node.style is None


def _integer(text: str) -> int:
    base = 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10
    digits = text.lstrip("+-") if base == 10 else text[2:]
    if len(digits.lstrip("0")) > 21:  # more digits than 64 bits have in any of the bases
        raise OverflowError(text)
    number = int(text if base == 10 else digits, base)
    if abs(number) > LARGEST_INTEGER:
        raise OverflowError(text)
    return number


class _Dumper(yaml.SafeDumper):
    """Writes YAML that the resolver above reads back as it was."""

    yaml_implicit_resolvers = _Resolver.yaml_implicit_resolvers

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_string(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    # PyYAML reads some line breaks back as others unless they are escaped.
    style = '"' if any(not character.isprintable() for character in value) else None
    if style is None and value.startswith("(") and ("," in value or value.count("(") > value.count(")")):
        # With what stands behind it, it could be taken for a tuple.
        style = "'"
    return dumper.represent_scalar(_TAG + "str", value, style=style)


_Dumper.add_representer(str, _represent_string)


def flow(value: Any) -> str:
    """Plain values as YAML on one line."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=True, width=10**9, allow_unicode=True)
    return _with_escapes(text).removesuffix("...\n").rstrip("\n")


def dump(value: Any) -> str:
    """Plain values as YAML text; innermost lists and mappings on one line."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=100, allow_unicode=True)
    return _with_escapes(text)


def _with_escapes(text: str) -> str:
    """YAML in which odd spaces, which stand in double quotes alone, are escaped: as they are, they are refused."""
    return re.sub(_SPACES, lambda space: f"\\u{ord(space[0]):04x}", text)
