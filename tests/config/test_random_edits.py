"""Whatever is done to a config, it is valid or reported with places; no other exception ever comes out."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from broken import edited
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cnnkit.config import shipped
from cnnkit.config.load import load_config
from cnnkit.errors import ConfigError, Problem
from cnnkit.format.document import dump, parse

RICH = edited(
    ("cifar10", "cifar10\n  normalization: {mean: [1, 2, 3], variance: [1, 2, 3]}\n  image_size: [32, 32]"),
    ("same}", "same, strides: [1, 1], kernel_regularizer: {L2: 0.1}, kernel_initializer: he_normal}"),
    ("Flatten", "Cropping2D: [[1, 1], [0, 1]]\n    - Reshape: [-1, 8]\n    - Flatten"),
    ("epochs: 3", "epochs: 3\n  warmup_epochs: 1\n  class_weights: {cat: 1, dog: 2.5}\n  loss: {Huber: {delta: 2}}"),
    ("[AUC]", "[AUC, {Precision: {top_k: 2}}, {F1Score: {name: f1}}]"),
)
TEXTS = [RICH, *(shipped.find(name).read_text("utf-8") for name in shipped.names())]

#: Values that code written for other ones stumbles over.
VALUES = st.one_of(
    st.sampled_from(
        [None, True, False, 0, 1, -1, 3, 2**31, 2**63 - 1, 0.5, 1.0, -0.0, 1e308, float("inf"), float("nan")]
    ),
    st.sampled_from(["", " ", "classes", "same", "3", "auto", "../..", "/", "~", "a\0b", "null", "\n", "é", "x" * 300]),
    st.sampled_from(["Conv2D", "Dense", "SGD", "CosineDecay", "ReduceLROnPlateau", "AUC", "L2", "zeros", "RandomCrop"]),
    st.sampled_from(
        [[], {}, [[]], [None], [1, 2], [1, 2, 3], [[1, 2], [3, 4]], {"a": 1}, {"Conv2D": None}, {"SGD": []}]
    ),
    st.sampled_from([{"Dense": {"units": 3}}, {"Dropout": 0.5, "ReLU": None}, {"": None}, [{"Dense": "classes"}]]),
).map(copy.deepcopy)  # the edits go on inside of them


@pytest.fixture(autouse=True, scope="module")
def in_a_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before, data = os.getcwd(), os.environ.get("TFDS_DATA_DIR")
    folder = tmp_path_factory.mktemp("configs")
    os.chdir(folder)
    os.environ["TFDS_DATA_DIR"] = str(folder / "none")
    yield
    os.chdir(before)
    if data is None:
        del os.environ["TFDS_DATA_DIR"]
    else:
        os.environ["TFDS_DATA_DIR"] = data


def check(text: str, overrides: tuple[str, ...] = ()) -> None:
    Path("c.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    problems: tuple[Problem, ...] | None = None
    try:
        loaded = load_config("c.yaml", overrides)
    except ConfigError as error:
        problems = error.problems
    if problems is None:
        plain = loaded.config.to_plain()
        # By their texts, which tell 1 from 1.0 and True, and in which NaN (the default of a parameter, say) is NaN.
        assert repr(parse(dump(plain), "c.yaml").plain()) == repr(plain)
        return
    assert problems
    lines = text.count("\n") + text.count("\r") + 2
    for problem in problems:
        assert problem.message
        assert "Place(" not in problem.message
        assert "Node(" not in problem.message
        assert problem.place.override in (None, *overrides)
        assert 1 <= problem.place.line <= lines
        assert problem.place.column >= 1


@st.composite
def edited_text(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, 12))
        insert = draw(
            st.text(max_size=4)
            | st.sampled_from(["\t", "\n", "  ", ": ", "- ", "{", "}", "[", "]", "&a ", "*a", "<<: "])
        )
        text = text[:position] + insert + text[position + length :]
    return text


@settings(max_examples=150, deadline=None)
@given(edited_text())
def test_edits_of_the_text(text: str) -> None:
    check(text)


@st.composite
def edited_lines(draw: st.DrawFn) -> str:
    lines = draw(st.sampled_from(TEXTS)).split("\n")
    for _ in range(draw(st.integers(1, 3))):
        here, there = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        kind = draw(st.sampled_from(["drop", "repeat", "swap", "indent", "outdent"]))
        if kind == "drop" and len(lines) > 1:
            del lines[here]
        elif kind == "repeat":
            lines.insert(there, lines[here])
        elif kind == "swap":
            lines[here], lines[there] = lines[there], lines[here]
        elif kind == "indent":
            lines[here] = "  " + lines[here]
        else:
            lines[here] = lines[here].removeprefix("  ")
    return "\n".join(lines)


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(edited_lines())
def test_edits_of_the_lines(text: str) -> None:
    check(text)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside a plain value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in items for found in places(item, (*path, key)))]


@st.composite
def edited_values(draw: st.DrawFn) -> str:
    value = parse(draw(st.sampled_from(TEXTS)), "f.yaml").plain()
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(value)[1:] or [()]))
        if not path:
            break
        inner = value
        for part in path[:-1]:
            inner = inner[part]
        kind = draw(st.sampled_from(["replace", "drop", "rename"]))
        if kind == "replace" or isinstance(inner, list):
            inner[path[-1]] = draw(VALUES)
        elif kind == "rename":
            inner[draw(st.sampled_from(["name", "seed", "units", "Dense", "", "extends", "kernel_sise"]))] = inner.pop(
                path[-1]
            )
        else:
            del inner[path[-1]]
    return dump(value)


@pytest.mark.long
@settings(max_examples=250, deadline=None)
@given(edited_values())
@example(edited(("one: required", "one: .nan"), text=shipped.find("imagenet_googlenet").read_text("utf-8")))
def test_edits_of_the_values(text: str) -> None:
    check(text)


@st.composite
def overrides(draw: st.DrawFn) -> tuple[str, tuple[str, ...]]:
    text = draw(st.sampled_from(TEXTS))
    known = places(parse(text, "f.yaml").plain())[1:]
    found = []
    for _ in range(draw(st.integers(1, 3))):
        path = list(draw(st.sampled_from(known)))
        if draw(st.booleans()):
            path.append(
                draw(st.sampled_from(["rate", "name", "SGD", "learning_rate", "0", 0, 7, "x", "folder", "²", "٣"]))
            )
        name = "".join(f"[{part}]" if isinstance(part, int) and draw(st.booleans()) else f".{part}" for part in path)
        value = draw(VALUES.map(lambda value: dump(value).strip()) | st.text(max_size=6))
        found.append(f"{name.removeprefix('.')}={value}")
    return text, tuple(found)


@pytest.mark.long
@settings(max_examples=200, deadline=None)
@given(overrides())
def test_overrides(case: tuple[str, tuple[str, ...]]) -> None:
    check(*case)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes(content: bytes) -> None:
    Path("c.yaml").write_bytes(content)
    with pytest.raises(ConfigError):
        load_config("c.yaml")
