"""The drawing of a network says what `inspect` says, and every text of it can be read."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from cnnkit import plots
from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.format.shapes import format_shape
from cnnkit.network.summary import Summary, summarize, summarize_others
from cnnkit.plots.drawing import Polygon, flattened
from cnnkit.plots.network_boxes import Boxes, Scale, shapes_of
from cnnkit.plots.network_nodes import Fork, Group, Volume
from cnnkit.plots.network_tree import ALL_BLOCKS, INNERMOST_MERGES, NOTHING, tree

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))

_HEAD = "data: {name: cifar10, batch_size: 8}\n"

#: Nested branches, a repetition that grows, odd merges, plates without a volume, a layer that is not trained.
UNET = (
    _HEAD
    + """
model:
  blocks:
    double:
      parameters: {filters: required}
      layers:
        - Conv2D: {filters: $filters, kernel_size: 3, padding: same, activation: relu}
        - Conv2D: {filters: $filters, kernel_size: 3, padding: same, activation: relu}
  layers:
    - double: 16
    - Branches:
        - []
        - - MaxPooling2D: 2
          - double: 32
          - Branches:
              - []
              - [{MaxPooling2D: 2}, {double: 64}, {Conv2DTranspose: {filters: 32, kernel_size: 2, strides: 2}}]
          - double: 32
          - Conv2DTranspose: {filters: 16, kernel_size: 2, strides: 2}
    - double: 16
    - GlobalAveragePooling2D
    - Dense: {units: classes, activation: softmax}
"""
)
ODD = (
    _HEAD
    + """
model:
  blocks:
    norm: {layers: [BatchNormalization, ReLU]}
    a_block_with_a_very_long_name_that_goes_on_and_on_and_on:
      layers: [{Conv2D: {filters: 8, kernel_size: [3, 1], padding: same, trainable: false}}, norm]
  layers:
    - Dropout: 0.1
    - ZeroPadding2D: 1
    - a_block_with_a_very_long_name_that_goes_on_and_on_and_on
    - norm
    - Repeat: {times: 0, layers: [ReLU]}
    - Repeat:
        times: 4
        layers: [{Branches: [[], [BatchNormalization, ReLU, {Conv2D: {filters: 4, kernel_size: 1}}]]}]
    - Repeat: {times: 2, layers: [{Residual: [{Conv2D: {filters: 24, kernel_size: 3, padding: same}}]}]}
    - Branches: {merge: average, paths: [[{Conv2D: {filters: 24, kernel_size: 1}}], []]}
    - Branches: {merge: maximum, paths: [[{Conv2D: {filters: 24, kernel_size: 1}}], [], []]}
    - ReLU
    - Reshape: {target_shape: [-1, 16]}
    - Flatten
    - Dense: {units: classes, activation: softmax}
"""
)


def written(text: str, tmp_path: Path, name: str = "network.yaml") -> LoadedConfig:
    path = tmp_path / name
    path.write_text(text)
    return load_config(str(path))


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.texts]


def assert_readable(figure: Any) -> None:
    """No text lies on another one, and none leaves the figure."""
    from matplotlib.text import Text

    renderer = figure.canvas.get_renderer()
    places = [(text.get_text(), text.get_window_extent(renderer)) for text in figure.findobj(Text) if text.get_text()]
    assert len(places) > 10
    width, height = figure.canvas.get_width_height()
    for text, box in places:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text  # noqa: PT018
    for (one, a), (other, b) in itertools.combinations(places, 2):
        apart = a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
        assert apart, f"`{one}` and `{other}` overlap"


def assert_says_what_the_summary_says(figure: Any, loaded: LoadedConfig) -> None:
    found = texts(figure)
    assert found[0] == loaded.name
    assert f"{loaded.info.classes:,} {loaded.info.target.plural}" in " ".join(found[:4])
    numbers = {number for text in found for number in re.findall(r"[\d,]*\d", text)}
    labels = set(found) | {word for text in found for word in text.split()}
    for summary in (summarize(loaded), *summarize_others(loaded).values()):
        # Of several networks, each has its totals below its name.
        start = found.index(summary.network) if summary.network else 0
        totals = " ".join(found[start : start + 3])
        for part in (
            f"{summary.parameters:,} parameters",
            f"{summary.macs:,} multiply-accumulates",
            f"input {format_shape(summary.input_shape)}",
        ):
            assert part in totals
        assert_says_what_layers_have(summary, numbers, labels)


def assert_says_what_layers_have(summary: Summary, numbers: set[str], labels: set[str]) -> None:
    for row in summary.rows:
        assert format_shape(row.output_shape) in labels, row.label
        if row.parameters:
            # Equal repetitions say what each of them has, and a block that goes down or up is drawn as its layers.
            each = row.parameters // row.arguments["times"] if row.type == "Repeat" else row.parameters
            inside = [f"{inner.parameters:,}" for inner in row.rows if inner.parameters]
            told = numbers & {f"{row.parameters:,}", f"{each:,}"} or (inside and numbers.issuperset(inside))
            assert told, row.label


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(path, id=path.stem, marks=pytest.mark.long if path.stem.startswith("imagenet") else ())
        for path in CONFIGS
    ],
)
def test_every_shipped_config_is_readable_and_true(file: Path) -> None:
    loaded = load_config(str(file), to_train=False)
    figure = plots.architecture_figure(loaded)
    assert_readable(figure)
    assert_says_what_the_summary_says(figure, loaded)
    # Fonts of 7 points are still 5 points high on a slide of 960 x 540.
    width, height = figure.get_size_inches() * 72
    assert width < 1350
    assert height < 760


@pytest.mark.parametrize("text", [UNET, ODD], ids=["unet", "odd"])
def test_nested_and_odd_networks_are_readable_and_true(text: str, tmp_path: Path) -> None:
    loaded = written(text, tmp_path)
    figure = plots.architecture_figure(loaded)
    assert_readable(figure)
    assert_says_what_the_summary_says(figure, loaded)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("lenet5_mnist", "61,706 parameters"),  # LeCun et al. 1998, with all maps connected
        ("imagenet_alexnet", "62,378,344 parameters"),  # the two towers as one
        ("imagenet_vgg16", "138,357,544 parameters"),  # keras.applications
        ("imagenet_densenet121", "8,062,504 parameters (83,648 not trainable)"),
        ("imagenet_resnet50", "25,636,712 parameters (53,120 not trainable)"),
        ("imagenet_googlenet", "6,998,552 parameters"),
        # 269,722 trainable ones, and the moving averages of 19 normalizations.
        ("cifar10_resnet20", "271,098 parameters (1,376 not trainable)"),
    ],
)
def test_totals_are_the_published_ones(name: str, published: str) -> None:
    figure = plots.architecture_figure(load_config(f"{CONFIGS[0].parent}/{name}.yaml"))
    assert texts(figure)[1].split("  ·  ")[0] == published


def test_each_layer_of_a_small_network_with_its_sizes_and_counts() -> None:
    figure = plots.architecture_figure(load_config(f"{CONFIGS[0].parent}/digits.yaml"))
    found = texts(figure)[2:]
    expected = ["8x8x1", "input"]
    expected += ["8x8x32", "Conv2D 3x3", "288 parameters", "BatchNormalization (128)", "ReLU"]
    expected += ["8x8x64", "Conv2D 3x3", "18,432 parameters", "BatchNormalization (256)", "ReLU"]
    expected += ["4x4x64", "MaxPooling2D 2x2,", "stride 2", "1024", "Flatten", "Dropout 0.3"]
    expected += ["10", "Dense, softmax", "10,250 parameters"]
    assert found[: len(expected)] == expected


class TestTree:
    def of(self, loaded: LoadedConfig, detail: int = NOTHING) -> Any:
        return tree(loaded.config.model.trace(loaded.info.shape, loaded.info.target.values), loaded.info.shape, detail)

    def test_nested_branches_are_forks_in_forks(self, tmp_path: Path) -> None:
        layers = (
            "[{Branches: [[], [{Conv2D: {filters: 8, kernel_size: 1}}, {Branches: [[], [{Conv2D: {filters: 4, "
            "kernel_size: 1}}]]}]]}, Flatten, {Dense: 10}]"
        )
        outer = self.of(written(f"{_HEAD}model: {{layers: {layers}}}\n", tmp_path)).nodes[1]
        assert isinstance(outer, Group)
        (fork,) = outer.nodes
        assert isinstance(fork, Fork)
        assert (fork.merge, fork.paths[0], fork.tail.size) == ("concatenate", (), "32x32x15")
        inner = fork.paths[1][1]
        assert isinstance(inner, Group)
        assert isinstance(inner.nodes[0], Fork)
        assert inner.notes == ("36 parameters",)

    def test_the_shortcut_is_above_the_main_path(self, tmp_path: Path) -> None:
        layers = "[{Residual: [{Conv2D: {filters: 8, kernel_size: 3, strides: 2, padding: same}}]}, Flatten, Dense: 10]"
        loaded = written(f"{_HEAD}model: {{layers: {layers.replace('Dense: 10', '{Dense: 10}')}}}\n", tmp_path)
        fork = self.of(loaded).nodes[1].nodes[0]
        assert [path[0].title for path in fork.paths] == [("Conv2D 1x1", "stride 2"), ("Conv2D 3x3", "stride 2")]

    def test_equal_repetitions_are_one_drawing(self, tmp_path: Path) -> None:
        nodes = self.of(written(ODD, tmp_path)).nodes
        grown, equal = nodes[3:5]
        assert (grown.times, grown.outputs) == (4, ("34x34x12", "34x34x24"))
        assert grown.notes == ("464 parameters in all",)
        assert (equal.times, equal.notes) == (2, ("5,208 parameters each",))

    def test_plates_go_to_the_volume_before(self, tmp_path: Path) -> None:
        nodes = self.of(written(ODD, tmp_path)).nodes
        assert [plate.text for plate in nodes[0].plates] == ["Dropout 0.1"]
        texts_of_plates = ["BatchNormalization (32)", "ReLU"] * 2
        assert [plate.text for plate in nodes[2].plates] == texts_of_plates
        name = "a_block_with_a_very_long_name_that_goes_on_and_on_and_on"
        assert nodes[2].notes == ("80 parameters", "not trained", f"{name}: 112 parameters")

    def test_blocks_drawn_apart_are_told_apart_by_their_structure(self) -> None:
        found = self.of(load_config(f"{CONFIGS[0].parent}/imagenet_resnet50.yaml"), INNERMOST_MERGES)
        panels = {
            panel.title: [format_shape(use.output_shape) for use in panel.uses] for panel in found.panels.values()
        }
        sizes = ["56x56x256", "28x28x512", "14x14x1024", "7x7x2048"]
        assert panels == {"bottleneck A": sizes, "bottleneck B": sizes}
        stages = [node for node in found.nodes if isinstance(node, Group)]
        assert [stage.nodes[1].times for stage in stages] == [2, 3, 5, 2]

    def test_blocks_in_blocks_drawn_apart(self) -> None:
        found = self.of(load_config(f"{CONFIGS[0].parent}/imagenet_resnet50.yaml"), ALL_BLOCKS)
        assert [panel.title for panel in found.panels.values()] == ["stage", "bottleneck A", "bottleneck B"]
        assert [node.title for node in found.nodes if isinstance(node, Group)] == []


class TestPanels:
    def test_a_table_holds_what_differs_between_the_uses_of_a_block(self) -> None:
        found = texts(plots.architecture_figure(load_config(f"{CONFIGS[0].parent}/imagenet_googlenet.yaml")))
        start = found.index("output")
        columns = [found[start + 10 * number : start + 10 * (number + 1)] for number in range(8)]
        # Table 1 of Szegedy et al. 2014: the row of inception (4e).
        assert [column[0] for column in columns[1:7]] == ["one", "reduce3", "three", "reduce5", "five", "pool"]
        assert [column[7] for column in columns[:7]] == ["14x14x832", "256", "160", "320", "32", "128", "128"]

    def test_no_table_where_the_flow_says_it_all(self) -> None:
        figure = plots.architecture_figure(load_config(f"{CONFIGS[0].parent}/cifar10_densenet.yaml"))
        assert "transition" in texts(figure)
        assert "output" not in texts(figure)

    def test_uses_of_one_structure_with_values_of_different_types(self, tmp_path: Path) -> None:
        block = (
            "{parameters: {shortcut: [], filters: 8}, layers: [{Residual: {shortcut: $shortcut, layers: "
            "[{Conv2D: {filters: $filters, kernel_size: 3, padding: same}}, BatchNormalization, "
            "{Conv2D: {filters: $filters, kernel_size: 3, padding: same}}]}}]}"
        )
        calls = ", ".join(["{basic: {shortcut: identity}}, basic"] * 8)
        text = f"{_HEAD}model: {{blocks: {{basic: {block}}}, layers: [{{Conv2D: {{filters: 8, kernel_size: 3}}}}, "
        figure = plots.architecture_figure(written(f"{text}{calls}, Flatten, {{Dense: 10}}]}}\n", tmp_path))
        assert_readable(figure)
        assert [one for one in texts(figure) if one.startswith("first use")] == [
            "first use: 30x30x8 → 30x30x8, 1,200 parameters"
        ]


class TestScale:
    def test_sides_are_to_scale_where_they_can_be_seen(self) -> None:
        scale = Scale.of([((32, 32, 3), False), ((16, 8, 32), False), ((10,), False)])
        assert scale.points(16) == scale.points(32) / 2
        assert "to scale with the height and width" in scale.text()

    def test_else_as_square_roots(self) -> None:
        scale = Scale.of([((224, 224, 3), False), ((7, 7, 2048), False)])
        assert scale.points(56) == pytest.approx(scale.points(224) / 2)
        assert "square root of the height and width" in scale.text()

    def test_a_volume_is_drawn_at_the_scale(self) -> None:
        shapes = [((32, 32, 3), False), ((64, 16, 8), True)]
        scale = Scale.of(shapes)
        for channels_first, shape in ((False, (16, 8, 64)), (True, (64, 16, 8))):
            node = Volume(shape, channels_first, "convolution", ("Conv2D 3x3",))
            front = [one for one in flattened(Boxes(scale, {}).box(node).shapes) if isinstance(one, Polygon)][2]
            xs, ys = zip(*front.points, strict=True)
            assert max(ys) - min(ys) == pytest.approx(scale.points(16))
            assert max(xs) - min(xs) == pytest.approx(scale.thickness(64))

    def test_thickness_grows_with_the_channels(self) -> None:
        found = tree([], (32, 32, 3), NOTHING)
        scale = Scale.of([*shapes_of(found.nodes), ((7, 7, 2048), False)])
        thick = [scale.thickness(channels) for channels in (16, 64, 512, 2048)]
        assert thick == sorted(set(thick))


class TestFiles:
    @pytest.mark.parametrize("kind", ["png", "svg"])
    def test_the_same_config_makes_the_same_bytes(self, kind: str, tmp_path: Path) -> None:
        loaded = load_config(f"{CONFIGS[0].parent}/cifar10_resnet20.yaml")
        for name in ("one", "two"):
            plots.architecture(loaded, tmp_path / f"{name}.{kind}")
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
        assert len(list(tmp_path.iterdir())) == 2

    def test_svg_is_xml_with_its_texts_as_text(self, tmp_path: Path) -> None:
        plots.architecture(load_config(f"{CONFIGS[0].parent}/lenet5_mnist.yaml"), tmp_path / "net.svg")
        root = ElementTree.parse(tmp_path / "net.svg").getroot()
        found = ["".join(one.itertext()).strip() for one in root.iter("{http://www.w3.org/2000/svg}text")]
        assert "48,120 parameters" in found
        assert "date" not in (tmp_path / "net.svg").read_text()

    def test_png_has_two_pixels_for_each_point_and_more(self, tmp_path: Path) -> None:
        from PIL import Image

        loaded = load_config(f"{CONFIGS[0].parent}/lenet5_mnist.yaml")
        width, height = plots.architecture_figure(loaded).get_size_inches() * 72
        plots.architecture(loaded, tmp_path / "net.png")
        with Image.open(tmp_path / "net.png") as image:
            assert image.width >= 2 * width
            assert image.height >= 2 * height

    def test_names_that_look_like_formulas_or_lack_glyphs(self, tmp_path: Path) -> None:
        loaded = written(UNET, tmp_path, "$x^$ {猫" + "n" * 100 + ".yaml")
        plots.architecture(loaded, tmp_path / "net.svg")
        assert texts(plots.architecture_figure(loaded))[0].startswith("$x^$ {猫nnn")


def test_drawing_needs_neither_tensorflow_nor_pyplot(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from cnnkit import plots\n"
        "from cnnkit.config.load import load_config\n"
        "plots.architecture(load_config(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
        "assert not {'tensorflow', 'keras', 'matplotlib.pyplot'} & set(sys.modules)\n"
    )
    file = f"{CONFIGS[0].parent}/digits.yaml"
    subprocess.run([sys.executable, "-c", code, file, str(tmp_path / "net.svg")], check=True)


def test_layers_of_every_number_of_axes_have_the_colour_of_their_kind() -> None:
    """Of one, two and three axes alike; a layer that wraps another has the other's."""
    from cnnkit.layers.unresolved import LAYER_CHOICE
    from cnnkit.plots.network_nodes import family

    def of(written: object) -> str:
        return family(LAYER_CHOICE.validate(written))

    for axes in (1, 2, 3):
        convolution = {f"Conv{axes}D": {"filters": 2, "kernel_size": 3}}
        assert of(convolution) == of({"SpectralNormalization": {"layer": convolution}}) == "convolution"
        for kind in ("MaxPooling", "GlobalAveragePooling"):
            assert of(f"{kind}{axes}D") == "pooling"
        assert of({f"AdaptiveMaxPooling{axes}D": 2}) == "pooling"
        assert of({f"SpatialDropout{axes}D": 0.5}) == "dropout"
        assert of(f"ZeroPadding{axes}D") == "reshape"
