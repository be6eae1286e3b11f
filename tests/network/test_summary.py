"""The layer table of `inspect`, against published sizes and counts worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from broken import edited

from cnnkit.cli import main
from cnnkit.config.load import load_config
from cnnkit.errors import ConfigError
from cnnkit.network.footprint import format_bytes
from cnnkit.network.summary import Summary, summarize

CONFIGS = Path(__file__).parents[2] / "configs"


def summary_of(text: str, folder: Path) -> Summary:
    file = folder / "net.yaml"
    file.write_text(text)
    return summarize(load_config(str(file)))


def run_inspect(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[str, str]:
    """Standard output and error of `cnnkit inspect`, which has to succeed."""
    monkeypatch.setattr("sys.argv", ["cnnkit", "inspect", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    captured = capsys.readouterr()
    return captured.out, captured.err


class TestAlexNet:
    """Krizhevsky et al. 2012, on the 227x227 images that its arithmetic needs."""

    def test_sizes_of_the_paper(self) -> None:
        rows = summarize(load_config(str(CONFIGS / "imagenet_alexnet.yaml"))).rows
        sizes = [row.output_shape for row in rows if row.type in ("Conv2D", "MaxPooling2D", "Dense")]
        assert sizes == [
            (55, 55, 96),
            (27, 27, 96),
            (27, 27, 256),
            (13, 13, 256),
            (13, 13, 384),
            (13, 13, 384),
            (13, 13, 256),
            (6, 6, 256),
            (4096,),
            (4096,),
            (1000,),
        ]

    def test_parameters_without_groups(self) -> None:
        summary = summarize(load_config(str(CONFIGS / "imagenet_alexnet.yaml")))
        assert summary.parameters == summary.trainable_parameters == 62_378_344

    def test_parameters_and_macs_with_the_two_towers_of_the_paper(self) -> None:
        groups = [f"model.layers.{index}.Conv2D.groups=2" for index in (3, 7, 8)]
        summary = summarize(load_config(str(CONFIGS / "imagenet_alexnet.yaml"), groups))
        assert summary.parameters == 60_965_224
        # Each output costs one product per weight that it sees; 724 million is the figure that is often quoted.
        assert round(summary.macs / 1e6) == 724
        assert summary.macs == (
            55**2 * 96 * 11**2 * 3
            + 27**2 * 256 * 5**2 * 48
            + 13**2 * 384 * 3**2 * 256
            + 13**2 * 384 * 3**2 * 192
            + 13**2 * 256 * 3**2 * 192
            + 9216 * 4096
            + 4096 * 4096
            + 4096 * 1000
        )


def test_mnist_network_by_formula() -> None:
    """K(F^2 C + 1) parameters, W' = (W - F + 2P) / S + 1."""
    summary = summarize(load_config(str(CONFIGS / "mnist.yaml")))
    filters, window, channels = 30, 5, 1
    side = (28 - window) // 1 + 1
    flat = (side // 2) ** 2 * filters
    expected = [filters * (window**2 * channels + 1), 0, 0, 100 * (flat + 1), 10 * (100 + 1)]
    assert [row.parameters for row in summary.rows] == expected
    assert summary.parameters == sum(expected) == 433_890
    assert [row.output_shape for row in summary.rows] == [(24, 24, 30), (12, 12, 30), (4320,), (100,), (10,)]
    assert summary.macs == 24 * 24 * filters * window**2 + flat * 100 + 100 * 10
    assert summary.activation_bytes == 4 * (24 * 24 * 30 + 12 * 12 * 30 + 4320 + 100 + 10)


def test_receptive_field_of_stacked_3x3_convolutions(tmp_path: Path) -> None:
    """Simonyan and Zisserman 2014: two 3x3 see 5x5, three see 7x7."""
    layers = "".join("  - Conv2D: {filters: 4, kernel_size: 3}\n" for _ in range(3))
    text = f"data: {{name: cifar10}}\nmodel:\n  layers:\n{layers}  - Flatten\n  - Dense: classes\n"
    summary = summary_of(text + "training: {epochs: 1}\n", tmp_path)
    assert [row.receptive_field for row in summary.rows[:3]] == [(3, 3), (5, 5), (7, 7)]


class TestWarnings:
    CONFIG = """
data: {name: mnist}
model:
  layers:
  - Conv2D: {filters: 4, kernel_size: 5, strides: 2}
  - MaxPooling2D: 2
  - Flatten
  - Dense: classes
training: {epochs: 1}
"""

    def test_rows_that_a_stride_drops_are_named_with_the_arithmetic(self, tmp_path: Path) -> None:
        # (28 - 5) / 2 = 11 remainder 1: the last of 28 rows is seen by no window.
        summary = summary_of(self.CONFIG, tmp_path)
        assert summary.rows[0].output_shape == (12, 12, 4)
        (warning,) = summary.warnings
        assert warning.startswith("model.layers[0].Conv2D: ")
        for part in ("(28 - 5", "23/2", "remainder 1", "drops the last 1 row"):
            assert part in warning

    def test_they_stand_under_the_table_and_in_json(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "net.yaml"
        file.write_text(self.CONFIG)
        table, _ = run_inspect([str(file)], monkeypatch, capsys)
        assert "warning: model.layers[0].Conv2D" in table.splitlines()[-1]
        report = json.loads(run_inspect([str(file), "--json"], monkeypatch, capsys)[0])
        assert len(report["warnings"]) == len(report["layers"][0]["warnings"]) == 1

    def test_an_even_stride_warns_of_nothing(self, tmp_path: Path) -> None:
        assert summary_of(edited(("kernel_size: 5", "kernel_size: 6"), text=self.CONFIG), tmp_path).warnings == []


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_json_is_pure_and_adds_up(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output, errors = run_inspect([str(file), "--json"], monkeypatch, capsys)
    assert errors == ""
    report: dict[str, Any] = json.loads(output, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    layers = report["layers"]
    for key in ("parameters", "macs", "activation_bytes"):
        assert report[key] == sum(layer[key] for layer in layers)
        assert isinstance(report[key], int)
    assert report["receptive_field"] == layers[-1]["receptive_field"]
    for layer in layers:
        check_totals(layer)
    # What the task expects: a vector of classes, one at each pixel, the channels of a picture, ...
    loaded = load_config(str(file), to_train=False)
    made = loaded.info.sample.made_shape
    expected = made or loaded.config.task.output_shape(loaded.info.shape, loaded.info.classes)
    assert layers[-1]["output_shape"] == list(expected)


def check_totals(layer: dict[str, Any]) -> None:
    """What a layer made of layers has is what they have, and the output of its merge."""
    own = 4 * math.prod(layer["output_shape"])
    inside = layer.get("layers", [])
    if not inside:
        # The rest are paths that pass the input on.
        assert layer["activation_bytes"] == (own if layer["type"] else 0)
        return
    for key in ("parameters", "trainable_parameters", "macs"):
        assert layer[key] == sum(one[key] for one in inside)
    assert layer["activation_bytes"] - sum(one["activation_bytes"] for one in inside) in (0, own)
    for one in inside:
        check_totals(one)


def test_the_table_aligns_and_shows_the_totals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output, _ = run_inspect([str(CONFIGS / "imagenet_alexnet.yaml"), "--depth", "1"], monkeypatch, capsys)
    lines = output.splitlines()
    assert "62,378,344" in output
    rules = [index for index, line in enumerate(lines) if set(line) == {"-"}]
    body = lines[rules[0] + 2 : rules[1]]
    assert len(body) == 16
    assert {len(line) for line in body} == {len(lines[rules[0]])}
    assert "55x55x96" in body[0]


def test_set_changes_what_is_inspected(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(CONFIGS / "mnist.yaml"), "--json", "--set", "model.layers.0.Conv2D.filters=6"]
    assert json.loads(run_inspect(arguments, monkeypatch, capsys)[0])["layers"][0]["parameters"] == 6 * (25 + 1)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 * 1024**2, "5.0 MiB"),
        (3 * 1024**4, "3072.0 GiB"),
    ],
)
def test_bytes_read_as_people_write_them(count: int, text: str) -> None:
    assert format_bytes(count) == text


class TestNotToBeTrained:
    """What a training needs and a look does not: images, and one value per class at the end."""

    DATA = "data: {folder: nowhere, shape: [32, 32, 3], classes: 4}\n"

    @pytest.mark.parametrize(
        ("text", "output", "notes"),
        [
            (
                "data: {name: cifar10}\nmodel: {layers: [Conv2D: {filters: 3, kernel_size: 3}]}\n",
                [30, 30, 3],
                ["30x30x3"],
            ),
            ("data: {name: cifar10}\nmodel: {layers: [GlobalAveragePooling2D]}\n", [3], ["outputs 3, but"]),
            (f"{DATA}model: {{layers: [Flatten, Dense: classes]}}\n", [4], ["nowhere` does not exist"]),
            (f"{DATA}model: {{layers: [Softmax]}}\n", [32, 32, 3], ["nowhere` does not exist", "outputs 32x32x3"]),
        ],
    )
    def test_such_a_network_is_inspected_with_a_note_and_not_trained(
        self,
        text: str,
        output: list[int],
        notes: list[str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        file = tmp_path / "net.yaml"
        file.write_text(text)
        report = json.loads(run_inspect([str(file), "--json", "--lint"], monkeypatch, capsys)[0])
        assert report["layers"][-1]["output_shape"] == output
        assert len(report["notes"]) == len(notes)
        for note, words in zip(report["notes"], notes, strict=True):
            assert words in note
        assert "\nnote: it cannot be trained as it is: " in run_inspect([str(file)], monkeypatch, capsys)[0]
        with pytest.raises(ConfigError) as caught:
            load_config(str(file))
        assert {problem.message for problem in caught.value.problems} == {
            note.removeprefix("it cannot be trained as it is: ") for note in report["notes"]
        }

    def test_a_wrong_number_of_units_is_a_mistake_for_both(self, tmp_path: Path) -> None:
        file = tmp_path / "net.yaml"
        file.write_text("data: {name: cifar10}\nmodel: {layers: [Flatten, Dense: 11]}\n")
        with pytest.raises(ConfigError, match="outputs 11, but the data have 10 classes"):
            load_config(str(file), to_train=False)


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_a_narrow_terminal_gets_a_narrow_table(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Long names give way, then columns, which are named below; the totals stay."""
    file = str(CONFIGS / "cifar10_resnet18.yaml")
    wide = run_inspect([file], monkeypatch, capsys)[0].splitlines()
    monkeypatch.setenv("COLUMNS", str(width))
    lines = run_inspect([file], monkeypatch, capsys)[0].splitlines()
    table, rule = lines[: lines.index(lines[1], 2)], lines[1]
    assert max(map(len, table)) == len(rule) <= width
    assert len(table) == len(wide[: wide.index(wide[1], 2)])
    assert table[4].split()[0].endswith("Conv2D")
    left_out = [line for line in lines if line.startswith(f"left out for {width} columns: ")]
    header = table[0]
    for column in ("activations", "receptive field", "MACs"):
        assert (column in header) != any(column in line for line in left_out)
    for column in ("layer", "output", "parameters"):
        assert column in header
    assert "parameters       11,183,562 (9,600 not trainable)" in lines
