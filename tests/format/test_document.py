"""YAML text to values with places: scalars by YAML 1.2's core schema, and what dump writes reads back the same."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cnnkit.errors import ConfigError, Problem
from cnnkit.format.document import MAXIMUM_NODES, Node, dump, parse
from cnnkit.format.files import read_file


def value_of(text: str) -> Any:
    return parse(text, "f.yaml").plain()


def problem_of(text: str) -> Problem:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.yaml")
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


# --- Scalars: the tables of the YAML 1.2.2 specification, section 10.3.2 ------------------------------

SCALARS: dict[str, Any] = {
    # null
    "null": None,
    "Null": None,
    "NULL": None,
    "~": None,
    "nULL": "nULL",
    "none": "none",
    "None": "None",
    "nil": "nil",
    # bool
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
    "tRUE": "tRUE",
    "yes": "yes",
    "Yes": "Yes",
    "no": "no",
    "NO": "NO",
    "on": "on",
    "off": "off",
    "Off": "Off",
    "y": "y",
    "n": "n",
    # int
    "0": 0,
    "-0": 0,
    "3": 3,
    "+12": 12,
    "-19": -19,
    "017": 17,
    "0o17": 15,
    "0o7": 7,
    "0x3A": 58,
    "0x1F": 31,
    "00": 0,
    "9223372036854775807": 2**63 - 1,
    "-9223372036854775807": -(2**63) + 1,
    "1_000": "1_000",
    "0b11": "0b11",
    "0o18": "0o18",
    "0xG": "0xG",
    "-0x3": "-0x3",
    "1:30": "1:30",
    "1,000": "1,000",
    "1 000": "1 000",
    "+": "+",
    "-x": "-x",
    "0X1F": "0X1F",
    # float
    "0.": 0.0,
    "-0.0": -0.0,
    ".5": 0.5,
    "+12e03": 12000.0,
    "-2E+05": -200000.0,
    "1e-3": 0.001,
    "1e3": 1000.0,
    "12.5": 12.5,
    "-.5": -0.5,
    "1.e2": 100.0,
    "5.0e-4": 0.0005,
    ".inf": math.inf,
    "-.Inf": -math.inf,
    "+.INF": math.inf,
    ".Inf": math.inf,
    "1.2.3": "1.2.3",
    "1e": "1e",
    "e3": "e3",
    ".": ".",
    "1e3.5": "1e3.5",
    "inf": "inf",
    "nan": "nan",
    ".nAn": ".nAn",
    "190:20:30.15": "190:20:30.15",
    "1_0.5": "1_0.5",
    # string: YAML 1.1's dates and the rest
    "2001-12-14": "2001-12-14",
    "2001-12-14t21:59:43.10-05:00": "2001-12-14t21:59:43.10-05:00",
    "=": "=",
    "'3'": "3",
    '"true"': "true",
    "''": "",
    "a b": "a b",
    "!!str 3": "3",
    '!!int "3"': 3,
    '!!float "3"': 3.0,
}


@pytest.mark.parametrize("text", SCALARS)
def test_scalar(text: str) -> None:
    expected = SCALARS[text]
    in_a_mapping, in_a_list = value_of(f"key: {text}\n"), value_of(f"- {text}\n")
    assert in_a_mapping == {"key": expected}
    assert in_a_list == [expected]
    assert type(in_a_list[0]) is type(expected)
    if isinstance(expected, float):
        assert math.copysign(1, in_a_list[0]) == math.copysign(1, expected)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_not_a_number(text: str) -> None:
    assert math.isnan(value_of(f"- {text}")[0])


def test_nothing_is_null() -> None:
    assert value_of("a:\nb: {c: , d: }") == {"a": None, "b": {"c": None, "d": None}}


@pytest.mark.parametrize("text", ["9223372036854775808", "-9223372036854775808", "1" + "0" * 5000, "0x" + "f" * 17])
def test_whole_numbers_beyond_64_bits_are_errors(text: str) -> None:
    assert "too large" in problem_of(f"a: {text}").message


@pytest.mark.parametrize(
    ("text", "expected"), [("0x7fffffffffffffff", 2**63 - 1), ("0o777777777777777777777", 2**63 - 1)]
)
def test_64_bits_in_other_bases(text: str, expected: int) -> None:
    assert value_of(f"- {text}") == [expected]


@pytest.mark.parametrize("text", ["!!int 1_000", "!!int 3.5", "!!float 1_0", "!!bool yes", "!!null nothing"])
def test_tags_do_not_bring_other_spellings_back(text: str) -> None:
    problem = problem_of(f"a: {text}")
    assert "is not of the type that its tag" in problem.message
    assert (problem.place.line, problem.place.column) == (1, 4)


# --- dump and parse -----------------------------------------------------------------------------------

SCALAR_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.text(st.sampled_from("0123456789+-.eExo_:, #'\"!&*{}[]|>%@`~?\\\n\t \x85\u2028\ufeff<="), max_size=12),
    st.sampled_from(list(SCALARS)),
)
PLAIN = st.recursive(
    SCALAR_VALUES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=10) | st.sampled_from(list(SCALARS)), inner, max_size=4),
    ),
    max_leaves=20,
)


@settings(max_examples=400, deadline=None)
@given(PLAIN)
@example({"-\u00a0": ["\u3000", "a: \u200b"]})
@example({"(": 0, "a": ["(", "1)"], "b": "(1, 2)", "c": [{}]})
def test_what_dump_writes_is_read_back_the_same(value: Any) -> None:
    again = value_of(dump(value))
    assert again == value
    assert repr(again) == repr(value)  # 1 is not 1.0, and not true


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("ab c", min_size=1, max_size=200), max_size=30), st.text("abc ", max_size=300))
def test_long_lines_are_folded_and_read_back(texts: list[str], key: str) -> None:
    assert value_of(dump({key: texts, "b": [texts]})) == {key: texts, "b": [texts]}


def test_innermost_values_stand_on_one_line() -> None:
    text = dump({"layers": [{"Conv2D": {"filters": 3, "kernel_size": [3, 3]}}, "ReLU"]})
    assert text == "layers:\n- Conv2D:\n    filters: 3\n    kernel_size: [3, 3]\n- ReLU\n"


# --- Places -------------------------------------------------------------------------------------------


def nodes(node: Node) -> list[Node]:
    children = node.value.values() if isinstance(node.value, dict) else node.value
    inner = children if isinstance(node.value, dict | list) else ()
    return [node, *(found for child in inner for found in nodes(child))]


NAMES = st.text("abcdefg", min_size=1, max_size=5)


@st.composite
def laid_out(draw: st.DrawFn) -> tuple[str, dict[str, tuple[int, int, int, int]]]:
    """A text in block or flow style, and where each of its keys and values was put: lines and columns from 1."""
    keys = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    lines: list[str] = []
    places: dict[str, tuple[int, int, int, int]] = {}
    flow = draw(st.booleans())
    for position, key in enumerate(keys):
        lines += [draw(st.sampled_from(["", "# é comment"])) for _ in range(draw(st.integers(0, 2)))]
        indent = " " * draw(st.integers(1, 4)) if flow else ""
        gap = " " * draw(st.integers(1, 5))
        value = draw(st.sampled_from(["3", "'é'", "text", "[1, 2]", "{x: 1}", "~"]))
        line = len(lines) + (2 if flow else 1)
        places[key] = (line, len(indent) + 1, line, len(indent) + len(key) + 1 + len(gap) + 1)
        lines.append(f"{indent}{key}:{gap}{value}{',' if flow and position < len(keys) - 1 else ''}")
    text = "\n".join(["{", *lines, "}"] if flow else lines)
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    return text.replace("\n", newline), places


@settings(max_examples=200, deadline=None)
@given(laid_out())
def test_every_key_and_value_knows_where_it_stands(case: tuple[str, dict[str, tuple[int, int, int, int]]]) -> None:
    text, places = case
    root = parse(text, "f.yaml")
    assert set(root.value) == set(places)
    for key, node in root.value.items():
        assert node.key_place is not None
        found = (node.key_place.line, node.key_place.column, node.place.line, node.place.column)
        assert found == places[key]
        assert node.place.file == "f.yaml"


def test_columns_count_characters_after_a_byte_order_mark(tmp_path: Any) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes("é: 1\nä: x".encode("utf-8-sig"))
    root = parse(read_file(str(file)), str(file))
    assert [(node.place.line, node.place.column) for node in nodes(root)[1:]] == [(1, 4), (2, 4)]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_invalid_bytes_are_counted_in_characters(mark: bytes, tmp_path: Any) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(mark + "a: 1\nénergie: é".encode() + b"\xff")
    with pytest.raises(ConfigError) as caught:
        read_file(str(file))
    place = caught.value.problems[0].place
    assert (place.line, place.column) == (2, 11)


# --- Merges, anchors, limits --------------------------------------------------------------------------


def test_anchors_and_aliases() -> None:
    assert value_of("a: &x {b: [1, 2]}\nc: *x\nd: [*x, *x]") == {
        "a": {"b": [1, 2]},
        "c": {"b": [1, 2]},
        "d": [{"b": [1, 2]}, {"b": [1, 2]}],
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x: {<<: {a: 1, b: 2}, b: 3}", {"b": 3, "a": 1}),
        ("x: {b: 3, <<: {a: 1, b: 2}}", {"b": 3, "a": 1}),
        ("x: {<<: [{a: 1}, {a: 2, b: 2}]}", {"a": 1, "b": 2}),
        ("x: {<<: {<<: {a: 1}, b: 2}}", {"b": 2, "a": 1}),
        ("x: {'<<': {a: 1}}", {"<<": {"a": 1}}),
    ],
    ids=["own key later", "own key first", "earlier of a list wins", "nested", "quoted is a name"],
)
def test_merge(text: str, expected: dict[str, Any]) -> None:
    """By YAML's merge key type: https://yaml.org/type/merge.html"""
    assert value_of(text)["x"] == expected


def test_merged_values_keep_their_place() -> None:
    root = parse("a: &x\n  b: 1\nc:\n  <<: *x\n", "f.yaml")
    place = root.value["c"].value["b"].place
    assert (place.line, place.column) == (2, 6)


def test_an_alias_stands_where_it_was_written_and_what_it_holds_where_that_was() -> None:
    root = parse("a: &x\n  b: 1\nc: &y 2\nd: [*x, *y]\n", "f.yaml")
    mapping, number = root.value["d"].value
    places = [mapping.place, mapping.value["b"].place, mapping.value["b"].key_place, number.place]
    assert [(place.line, place.column) for place in places] == [(4, 5), (2, 6), (2, 3), (4, 9)]
    assert (mapping.is_alias, mapping.value["b"].is_alias, number.is_alias) == (True, False, True)
    key = parse("&z a: 1\nb: *z\nc: [*z]", "f.yaml")
    assert [key.value["b"].key_alias, key.value["c"].value[0].key_alias, number.key_alias] == ["*z", "*z", None]


def test_changing_one_use_of_an_alias_leaves_the_others() -> None:
    root = parse("a: &x {b: 1}\nc: *x\nd: {<<: *x}\n", "f.yaml")
    root.value["c"].value["b"].value = 2
    assert root.plain() == {"a": {"b": 1}, "c": {"b": 2}, "d": {"b": 1}}


def test_several_problems_are_reported_together() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("a: 1\na: 2\nb: !x 3\n4: 5\n", "f.yaml")
    assert [(problem.place.line, problem.place.column) for problem in caught.value.problems] == [(2, 1), (3, 4), (4, 1)]


@pytest.mark.parametrize("extra", [0, 1])
def test_the_number_of_values_is_capped(extra: int) -> None:
    """One list and its entries."""
    text = f"[{', '.join(['1'] * (MAXIMUM_NODES - 1 + extra))}]"
    if extra:
        assert "more than 10,000 values" in problem_of(text).message
    else:
        assert len(value_of(text)) == MAXIMUM_NODES - 1


@pytest.mark.parametrize("style", ["aliases", "merges", "merge list"])
def test_a_bomb_is_stopped_before_it_grows(style: str) -> None:
    """A billion values, by aliases in lists and by merges: without the cap, the test would not end."""
    lines = ["k0: &k0 {a: 1, b: 2, c: 3}"]
    for level in range(1, 30):
        inner = f"*k{level - 1}"
        form = {
            "aliases": f"[{inner}, {inner}]",
            "merges": f"{{<<: {inner}, d{level}: {inner}}}",
            "merge list": f"{{<<: [{inner}, {inner}], d: {inner}}}",
        }[style]
        lines.append(f"k{level}: &k{level} {form}")
    assert "aliases nested" in problem_of("\n".join(lines)).message


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=40),
        st.text(st.sampled_from(":{}[]-?,&*!|>'\"%@`#\n\t ab1.~<"), max_size=40),
        st.lists(
            st.sampled_from(["a: ", "- ", "&x ", "*x", "<<: ", "{", "}", "[", "]", "\n", "  ", "!!int ", "1", "? "]),
            max_size=25,
        ).map("".join),
    )
)
def test_any_text_is_a_tree_or_problems_with_places(text: str) -> None:
    try:
        root = parse(text, "f.yaml")
    except ConfigError as error:
        count = len(re.split("\r\n|[\n\r\x85\u2028\u2029]", text))
        for problem in error.problems:
            assert problem.message
            assert 1 <= problem.place.line <= count + 1
            assert problem.place.column >= 1
    else:
        root.plain()
