"""`cnnkit diff`: what is aligned, what changed, and what it costs."""

from __future__ import annotations

import itertools
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from brightness import add_brightness
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnkit.cli import cli
from cnnkit.comparing.difference import Pair, align, compare, differences, open_side
from cnnkit.config import shipped
from cnnkit.errors import UsageError
from cnnkit.format.document import dump
from cnnkit.layers.receptive_field import View
from cnnkit.network.summary import LayerRow
from cnnkit.runs.directory import Run

HEAD: list[Any] = ["GlobalAveragePooling2D", {"Dense": {"units": "classes", "activation": "softmax"}}]


def write(tmp_path: Path, name: str, layers: list[Any], **training: Any) -> str:
    data = {"name": "made_up", "shape": [16, 16, 3], "classes": 10}
    file = tmp_path / f"{name}.yaml"
    file.write_text(dump({"data": data, "model": {"layers": layers}, "training": training}))
    return str(file)


def conv(filters: int, **arguments: Any) -> dict[str, Any]:
    return {"Conv2D": {"filters": filters, "kernel_size": 3, "padding": "same", **arguments}}


def pairs(tmp_path: Path, first: list[Any], second: list[Any]) -> list[Pair]:
    sides = [open_side(write(tmp_path, name, layers)) for name, layers in (("a", first), ("b", second))]
    return align(sides[0].summary.rows, sides[1].summary.rows)


def signs(found: list[Pair]) -> list[str]:
    return [f"{pair.sign}{(pair.first or pair.second).type}" for pair in found]  # type: ignore[union-attr]


def test_an_inserted_and_a_removed_layer(tmp_path: Path) -> None:
    first = [conv(8), "ReLU", {"MaxPooling2D": 2}, conv(16), *HEAD]
    second = [conv(8), "BatchNormalization", "ReLU", conv(16), *HEAD]
    assert signs(pairs(tmp_path, first, second)) == [
        "=Conv2D", "+BatchNormalization", "=ReLU", "-MaxPooling2D", "=Conv2D", "=GlobalAveragePooling2D", "=Dense",
    ]  # fmt: skip


def test_a_changed_argument_is_a_change_and_not_another_layer(tmp_path: Path) -> None:
    found = pairs(tmp_path, [conv(8), conv(16), *HEAD], [conv(8), conv(32, activation="relu"), *HEAD])
    assert signs(found)[:2] == ["=Conv2D", "~Conv2D"]
    assert found[1].changes() == {"filters": (16, 32), "activation": (None, "relu")}


def test_changes_inside_composites_are_found_inside(tmp_path: Path) -> None:
    first, second = ([{"Residual": [conv(3), layer]}, *HEAD] for layer in ("ReLU", "BatchNormalization"))
    (residual, *_) = pairs(tmp_path, first, second)
    assert residual.sign == "~"
    assert residual.changes() == {}
    assert signs(list(residual.inside)) == ["=Conv2D", "-ReLU", "+BatchNormalization", "="]


def test_a_blocks_parameter_may_be_called_layers(tmp_path: Path) -> None:
    block = {"parameters": {"layers": 1}, "layers": [{"Repeat": {"times": "$layers", "layers": [conv(3)]}}]}
    sides = []
    for name, call in (("a", "b"), ("b", {"b": {"layers": 2}})):
        data = {"name": "made_up", "shape": [16, 16, 3], "classes": 10}
        file = tmp_path / f"{name}.yaml"
        file.write_text(dump({"data": data, "model": {"blocks": {"b": block}, "layers": [call, *HEAD]}}))
        sides.append(open_side(str(file)))
    (pair, *_) = align(*(side.summary.rows for side in sides))
    assert pair.changes() == {"layers": (1, 2)}


def test_what_is_the_same_written_otherwise_is_no_change(tmp_path: Path) -> None:
    """Defaults, of an object inside an argument too, and expressions for the same number."""
    short: list[Any] = [conv(6), {"b": {"filters": 12}}, {"Residual": [conv(12)]}, *HEAD]
    defaults = {"strides": 1, "use_bias": True, "kernel_initializer": {"GlorotUniform": {"input_axes": None}}}
    residual = {"Residual": {"layers": [conv(12, groups=1)], "shortcut": "auto", "activation": "linear"}}
    long: list[Any] = [conv(6, **defaults), {"b": "2 * $channels"}, residual, *HEAD]
    block = {"parameters": {"filters": "required"}, "layers": [conv("$filters")]}  # type: ignore[arg-type]
    sides = []
    for name, layers in (("short", short), ("long", long)):
        file = Path(write(tmp_path, name, layers))
        plain = yaml.safe_load(file.read_text())
        plain["model"]["blocks"] = {"b": block}
        file.write_text(dump(plain))
        sides.append(open_side(str(file)))
    found = align(*(side.summary.rows for side in sides))
    assert {pair.sign for pair in found} == {"="}
    assert all(pair.changes() == {} for pair in found)


@pytest.mark.parametrize("command", [["diff"], ["inspect"], ["eject", "-o", "-"], ["data", "info"]])
def test_a_run_is_known_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    """As `eval` and `predict` know it; and what is neither run nor config is said to be neither."""
    monkeypatch.chdir(tmp_path)
    run = Run(Path("runs/net-1"))
    run.path.mkdir(parents=True)
    run.config.write_text(dump({"data": {"name": "digits"}, "model": {"layers": ["Flatten", HEAD[1]]}}))
    run.write_json(run.evaluation, {"accuracy": 0.8})
    both = command[:1] == ["diff"]
    done = CliRunner().invoke(cli, [*command, "net-1", *(["runs/net-1"] if both else [])])
    assert done.exit_code == 0, done.exception
    if both:
        assert "80.00%  80.00%" in done.output
    for name in ("net-2", "runs"):
        error = CliRunner().invoke(cli, [*command, name, *(["net-1"] if both else [])]).exception
        assert isinstance(error, UsageError)
        if command[0] != "data":
            assert "net-1" in str(error.hint)
            assert f"`{name}`" in error.message
            assert ":1:1" not in str(error)


def test_more_repetitions_come_after_those_that_were_there(tmp_path: Path) -> None:
    first, second = ([{"Repeat": {"times": times, "layers": [conv(3), "ReLU"]}}, *HEAD] for times in (2, 4))
    (repeat, *_) = pairs(tmp_path, first, second)
    assert [pair.sign for pair in repeat.inside] == ["="] * 4 + ["+"] * 4


def row(kind: str, width: int) -> LayerRow:
    return LayerRow(0, "", kind, kind, {"units": width}, (width,), 0, 0, 0, 0, View.of((width,)), ())


ROWS = st.lists(st.builds(row, st.sampled_from(["A", "B"]), st.integers(1, 2)), max_size=5)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(ROWS, ROWS)
def test_alignment_keeps_order_and_as_many_equal_layers_as_can_be(
    first: list[LayerRow], second: list[LayerRow]
) -> None:
    found = align(first, second)
    assert [pair.first for pair in found if pair.first] == first
    assert [pair.second for pair in found if pair.second] == second
    for pair in found:
        if pair.first and pair.second:
            assert pair.first.type == pair.second.type
            assert (pair.sign == "=") == (pair.first.arguments == pair.second.arguments)
    # Against all alignments: no other changes less, where a change costs 0.75 and leaving out a layer 1.
    assert cost(found) == min(map(cost, all_alignments(first, second)))


def cost(found: list[Pair]) -> float:
    return sum({"=": 0.0, "~": 0.75, "-": 1.0, "+": 1.0}[pair.sign] for pair in found)


def all_alignments(first: list[LayerRow], second: list[LayerRow]) -> list[list[Pair]]:
    found = []
    for count in range(min(len(first), len(second)) + 1):
        for ones in itertools.combinations(range(len(first)), count):
            for others in itertools.combinations(range(len(second)), count):
                matched = list(zip(ones, others, strict=True))
                if any(first[a].type != second[b].type for a, b in matched):
                    continue
                same = [first[a].arguments == second[b].arguments for a, b in matched]
                left = len(first) + len(second) - 2 * count
                signs = ["=" if one else "~" for one in same] + ["-"] * left
                found.append([Pair(sign, None, None) for sign in signs])  # type: ignore[arg-type]
    return found


def test_differences_are_named_key_by_key() -> None:
    first = {"a": {"b": 1, "c": 2}, "d": 3, "e": {"f": 1}}
    assert differences(first, {"a": {"b": 1, "c": 5}, "e": 4, "g": 6}) == {
        "a.c": (2, 5), "d": (3, None), "e": ({"f": 1}, 4), "g": (None, 6),
    }  # fmt: skip


def test_totals_are_those_of_both_and_sections_that_differ_are_named(tmp_path: Path) -> None:
    first = open_side(write(tmp_path, "a", [conv(8), *HEAD], epochs=3))
    second = open_side(write(tmp_path, "b", [conv(8), conv(8), *HEAD], epochs=5, label_smoothing=0.1))
    found = compare(first, second)
    # A 3x3 convolution of 8 channels into 8, on 16x16 pixels.
    assert found["totals"]["parameters"][1] - found["totals"]["parameters"][0] == 9 * 8 * 8 + 8
    assert found["totals"]["macs"][1] - found["totals"]["macs"][0] == 16 * 16 * 9 * 8 * 8
    assert found["totals"]["activation_bytes"][1] - found["totals"]["activation_bytes"][0] == 16 * 16 * 8 * 4
    assert found["sections"] == {"training.epochs": [3, 5], "training.label_smoothing": [0.0, 0.1]}
    assert found["accuracy"] == [None, None]


def test_runs_are_compared_with_their_accuracy(tmp_path: Path) -> None:
    for name, accuracy in (("one", 0.8), ("two", 0.85)):
        (tmp_path / name).mkdir()
        Path(write(tmp_path, "config", [conv(8), *HEAD])).rename(tmp_path / name / "config.yaml")
        (tmp_path / name / "evaluation.json").write_text(json.dumps({"accuracy": accuracy}))
    arguments = ["diff", str(tmp_path / "one"), str(tmp_path / "two")]
    text = CliRunner().invoke(cli, arguments).output
    assert re.search(r"test accuracy +80.00% +85.00% +\+5.00 points", text)
    assert json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).output)["accuracy"] == [0.8, 0.85]


def test_runs_of_two_tasks_are_compared_with_the_headlines_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_brightness(monkeypatch)
    for name, evaluation in (("one", {"accuracy": 0.8}), ("two", {"mean_error": 2.5})):
        (tmp_path / name).mkdir()
        Path(write(tmp_path, "config", [conv(8), *HEAD])).rename(tmp_path / name / "config.yaml")
        (tmp_path / name / "evaluation.json").write_text(json.dumps(evaluation))
    config = tmp_path / "two" / "config.yaml"
    config.write_text(f"task: brightness\n{config.read_text()}")
    arguments = ["diff", str(tmp_path / "one"), str(tmp_path / "two")]
    text = CliRunner().invoke(cli, arguments, catch_exceptions=False).output
    assert re.search(r"test accuracy +80.00% +-\n", text)
    assert re.search(r"test mean error +- +2.5000\n", text)
    assert "task: classification -> brightness" in text
    data = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).output)
    assert (data["accuracy"], data["mean_error"]) == ([0.8, None], [None, 2.5])


def test_the_text_says_what_changed(tmp_path: Path) -> None:
    first, second = (str(shipped.find(name)) for name in ("cifar10_convnetjs", "cifar10_convnetjs_small"))
    text = CliRunner().invoke(cli, ["diff", first, second]).output
    assert "= 0 conv" in text
    assert "data.batch_size: 4 -> 32" in text
    assert "parameters                22,466     22,466" in text


def test_a_broken_config_is_reported_with_its_place(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("data: {name: mnist}\nmodel: {layers: [Flaten]}\n")
    done = CliRunner().invoke(cli, ["diff", str(broken), str(shipped.find("mnist"))])
    assert done.exit_code != 0
    assert "did you mean `Flatten`" in str(done.exception)


def test_very_long_lists_are_compared_place_by_place() -> None:
    """What begins alike is kept; of the rest, thousands by thousands of pairs would take minutes to weigh."""
    first = [row("A", 1), *(row("A" if place % 2 else "B", place) for place in range(2000))]
    second = [row("A", 1), *(row("A" if place % 3 else "B", place) for place in range(1, 1800))]
    start = time.process_time()
    found = align(first, second)
    assert time.process_time() - start < 1
    assert found[0].sign == "="
    assert [pair.first for pair in found if pair.first] == first
    assert [pair.second for pair in found if pair.second] == second
