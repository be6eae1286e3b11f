"""A network that goes down through smaller images and up again is drawn as a U, whatever its parts are called."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib import patches

from cnnkit import plots
from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.plots.network_nodes import Fork, Tree, Valley, Volume, all_nodes
from cnnkit.plots.network_tree import ALL_BLOCKS, INNERMOST_MERGES, NOTHING, tree

CONFIGS = Path(__file__).parents[2] / "configs"
DOWN_AND_UP = (
    *("unet_camvid", "unet_pet", "fcn_camvid"),
    *("detect_digits", "detect_voc", "dip_denoise", "dip_inpaint", "dip_superres"),
)
OTHERS = [file for file in sorted(CONFIGS.glob("*.yaml")) if file.stem not in DOWN_AND_UP]

BLOCKS = """
    conv:
      parameters: {filters: required}
      layers: [{Conv2D: {filters: $filters, kernel_size: 3, padding: same}}, BatchNormalization, ReLU]
    double:
      parameters: {filters: required}
      layers: [{conv: $filters}, {conv: $filters}]
    res:
      layers:
        - Residual:
            layers: [{conv: 8}, {Conv2D: {filters: 8, kernel_size: 3, padding: same}}]
            activation: relu
    hourglass:
      layers:
        - Residual:
            - MaxPooling2D: 2
            - res
            - Residual: [{MaxPooling2D: 2}, res, {UpSampling2D: 2}]
            - res
            - UpSampling2D: 2
    down:
      parameters: {filters: required}
      layers: [{conv: $filters}, {MaxPooling2D: 2}]
    z:
      parameters: {filters: required, below: required}
      layers:
        - conv: $filters
        - Branches:
            - [{MaxPooling2D: 2}, $below, {Conv2DTranspose: {filters: $filters, kernel_size: 2, strides: 2}}]
            - []
"""


def transposed(filters: int | str, size: int = 2) -> str:
    return f"{{Conv2DTranspose: {{filters: {filters}, kernel_size: {size}, strides: 2, padding: same}}}}"


POOL, CONV, UP = "{MaxPooling2D: 2}", "{conv: 8}", transposed(8)
NARROW = "{Conv2D: {filters: 8, kernel_size: 1}}"
SCORES = "{Conv2D: {filters: classes, kernel_size: 1}}, Softmax"
STRIDED = "{Conv2D: {filters: 8, kernel_size: 4, strides: 2, padding: same}}"
UP_TO_SCORES = transposed("classes")
STRIDED_UP = f"{transposed(8, 4)}, BatchNormalization, ReLU"


def merged(*paths: str, merge: str = "concatenate") -> str:
    return f"{{Branches: {{merge: {merge}, paths: [{', '.join(f'[{path}]' for path in paths)}]}}}}"


def nested(depth: int, skip: str = "", up: str = UP, merge: str = "concatenate", conv: str = CONV) -> str:
    """Layers of a U with so many skips."""
    inner = conv
    for _ in range(depth):
        inner = f"{conv}, {merged(skip, f'{POOL}, {inner}, {up}', merge=merge)}, {conv}"
    return inner


def strided(depth: int) -> str:
    inner = STRIDED
    for _ in range(depth):
        inner = f"{STRIDED}, {merged('', f'{inner}, {STRIDED_UP}')}"
    return inner


#: Layers, and how many levels they go through.
NETWORKS = {
    "one skip": (f"{nested(1)}, {SCORES}", 2),
    "five skips": (f"{nested(5)}, {SCORES}", 6),
    "layers before and after": (f"{CONV}, {nested(2)}, {CONV}, {{Dropout: 0.1}}, {SCORES}", 3),
    "an addition": (f"{nested(3, merge='add')}, {SCORES}", 4),
    "a convolution on the skip": (f"{nested(2, skip=NARROW)}, {SCORES}", 3),
    "a residual with an activation": (
        f"{CONV}, {{Residual: {{activation: relu, layers: [{POOL}, {CONV}, {UP}]}}}}, {SCORES}",
        2,
    ),
    "the deep path first, by blocks of any name": (
        f"{{z: {{filters: 8, below: {{z: {{filters: 16, below: {CONV}}}}}}}}}, {SCORES}",
        3,
    ),
    "enlarged, then convolved": (f"{nested(2, up='{UpSampling2D: 2}, {conv: 8}')}, {SCORES}", 3),
    "much between enlargement and merge": (f"{nested(2, up='{UpSampling2D: 2}, res, {double: 8}')}, {SCORES}", 3),
    "no layer but those that change the size": (f"{strided(3)}, {STRIDED_UP}, {SCORES}", 5),
    "pooled before the first skip": (f"{{down: 8}}, {{down: 8}}, {nested(1)}, {{UpSampling2D: 4}}, {SCORES}", 4),
    "blocks of two": (f"{nested(3, conv='{double: 8}')}, {SCORES}", 4),
    "residual blocks": (f"{CONV}, {nested(2, conv=f'{NARROW}, res')}, {SCORES}", 3),
    "a merge at the end": (
        f"{CONV}, {merged(SCORES, f'{POOL}, {CONV}, {UP_TO_SCORES}', merge='average')}",
        2,
    ),
    "a merge that is normalized": (
        f"{CONV}, {merged('', f'{POOL}, {CONV}, {UP}')}, BatchNormalization, ReLU, {CONV}, {SCORES}",
        2,
    ),
}


def written(layers: str, folder: Path, size: int = 64) -> LoadedConfig:
    """A network of segmentation; there is no such data set."""
    path = folder / "net.yaml"
    path.write_text(
        f"task: segmentation\ndata: {{folder: scenes, shape: [{size}, {size}, 3], classes: 8, ignore: 9}}\n"
        f"model:\n  blocks: {BLOCKS}\n  layers: [{layers}]\n"
    )
    return load_config(str(path), to_train=False)


def tree_of(loaded: LoadedConfig, detail: int = NOTHING) -> Tree:
    return tree(loaded.steps, loaded.info.shape, detail)


def valleys(loaded: LoadedConfig, detail: int = NOTHING) -> list[Valley]:
    found = tree_of(loaded, detail)
    nodes = [*found.nodes, *(node for panel in found.panels.values() for node in panel.nodes)]
    return [node for node in all_nodes(nodes) if isinstance(node, Valley)]


Rectangle = tuple[float, float, float, float]


class Drawing:
    """What is on a figure, in points: lines, and the rectangles of texts and of the fronts of volumes."""

    def __init__(self, figure: Any) -> None:
        renderer, scale = figure.canvas.get_renderer(), 72 / figure.dpi
        self.width, self.height = figure.get_size_inches() * 72
        paths = [patch.get_path().vertices.tolist() for patch in figure.findobj(patches.PathPatch)]
        self.lines: list[list[list[float]]] = paths
        self.texts: list[tuple[str, Rectangle]] = []
        for text in figure.texts:
            box = text.get_window_extent(renderer)
            self.texts.append((text.get_text(), (box.x0 * scale, box.y0 * scale, box.x1 * scale, box.y1 * scale)))
        self.fronts: list[Rectangle] = []
        for polygon in figure.findobj(patches.Polygon):
            xs, ys = zip(*polygon.get_xy()[:4].tolist(), strict=True)
            if len(set(xs)) == len(set(ys)) == 2:
                self.fronts.append((min(xs), min(ys), max(xs), max(ys)))

    @property
    def segments(self) -> list[Rectangle]:
        """The straight parts of all lines, each from its lower left to its upper right end."""
        ends = [(a, b) for line in self.lines for a, b in itertools.pairwise(line) if a != b]
        return [(min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])) for a, b in ends]

    def places(self, text: str) -> list[tuple[float, float]]:
        """The middle of each text that says so."""
        return [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for said, box in self.texts if said == text]


def overlap(one: Rectangle, other: Rectangle, margin: float = 0.3) -> bool:
    return (
        one[0] < other[2] - margin
        and other[0] < one[2] - margin
        and one[1] < other[3] - margin
        and other[1] < one[3] - margin
    )


def assert_tidy(drawing: Drawing) -> None:
    """Nothing lies on anything else, no line runs through anything or across another, and all is on the page."""
    things = [*drawing.texts, *(("a volume", front) for front in drawing.fronts)]
    for text, box in things:
        assert box[0] >= 0, text
        assert box[1] >= 0, text
        assert box[2] <= drawing.width, text
        assert box[3] <= drawing.height, text
    # The slabs of a volume touch.
    for (text, box), (other, beside) in itertools.combinations(things, 2):
        assert not overlap(box, beside), f"{text} and {other}"
    signs = ("∥", "+", "×")
    for segment in drawing.segments:
        # A line has no area: it is as wide as it is drawn.
        left, low, right, high = segment
        wide = (left - 0.45, low - 0.45, right + 0.45, high + 0.45)
        shorter = (
            (left + 0.6, wide[1], right - 0.6, wide[3]) if low == high else (wide[0], low + 0.6, wide[2], high - 0.6)
        )
        for text, box in things:
            assert text in signs or not overlap(shorter, box), f"a line runs through {text}: {segment}, {box}"
    flat = [one for one in drawing.segments if one[1] == one[3]]
    steep = [one for one in drawing.segments if one[0] == one[2]]
    assert len(flat) + len(steep) == len(drawing.segments)
    for across, upright in itertools.product(flat, steep):
        crossing = across[0] + 0.5 < upright[0] < across[2] - 0.5 and upright[1] + 0.5 < across[1] < upright[3] - 0.5
        assert not crossing, (across, upright)


@pytest.mark.parametrize("name", NETWORKS)
def test_any_network_that_goes_down_and_up_again_is_a_tidy_u(name: str, tmp_path: Path) -> None:
    layers, levels = NETWORKS[name]
    loaded = written(layers, tmp_path)
    (valley,) = valleys(loaded)
    assert len(valley.levels) == levels
    assert not [node for node in all_nodes(tree_of(loaded).nodes) if isinstance(node, Fork)] or "res" in layers
    drawing = Drawing(plots.architecture_figure(loaded))
    assert_tidy(drawing)
    skips = assert_skips_are_arrows_across(drawing, [level.skip.merge for level in valley.levels if level.skip])
    assert len(skips) == sum(level.skip is not None for level in valley.levels)


def assert_skips_are_arrows_across(drawing: Drawing, merges: Sequence[str]) -> list[float]:
    """Below the name of each merge runs a horizontal line, each lower than the one before; gives their heights."""
    heights = []
    for merge in dict.fromkeys(merges):
        for x, y in drawing.places(merge):
            below = [
                line
                for line in drawing.lines
                if len(line) == 2 and line[0][1] == line[1][1] and 0 < y - line[0][1] < 60
            ]
            near = [line for line in below if line[0][0] - 40 < x < line[1][0] + 40]
            assert near, f"no arrow below {merge}"
            heights.append(max(line[0][1] for line in near))
    assert heights == sorted(heights, reverse=True)
    return heights


@pytest.mark.parametrize("name", DOWN_AND_UP)
def test_shipped_networks_that_go_down_and_up_are_tidy(name: str) -> None:
    assert_tidy(Drawing(plots.architecture_figure(load_config(f"{CONFIGS}/{name}.yaml", to_train=False))))


def test_levels_lie_below_each_other_the_way_down_on_the_left_and_up_on_the_right(tmp_path: Path) -> None:
    loaded = load_config(f"{CONFIGS}/unet_camvid.yaml", to_train=False)
    drawing = Drawing(plots.architecture_figure(loaded))
    # The fifth level's size is also that of the fourth, pooled.
    sizes = ["192x256x16", "96x128x32", "48x64x64", "24x32x128"]
    rows = [drawing.places(size) for size in [*sizes, "6x8x256"]]
    for upper, lower in itertools.pairwise(rows):
        assert min(y for _, y in upper) > max(y for _, y in lower)
    bottom = [x for x, _ in rows[-1]]
    for row in rows[:-1]:
        assert min(x for x, _ in row) < min(bottom)
        assert max(x for x, _ in row) > max(bottom)
    # What is concatenated has the channels of both; the arrow to it is above its size, and as high as the volumes.
    heights = assert_skips_are_arrows_across(drawing, ["concatenate"])
    merged = [drawing.places(size) for size in ("192x256x32", "96x128x64", "48x64x128", "24x32x256", "12x16x256")]
    assert [len(places) for places in merged] == [1] * 5
    for height, ((_, y),), row in zip(heights, merged, rows, strict=False):
        assert 0 < height - y < 15
        assert all(height > y for _, y in row)
    plots.architecture(loaded, tmp_path / "net.svg")
    root = ElementTree.parse(tmp_path / "net.svg").getroot()
    texts = ["".join(text.itertext()).strip() for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("concatenate") == 5
    assert {"level: 2,403,360 parameters", "MaxPooling2D 2x2,", "2,064 parameters"} <= set(texts)


def test_fcn_8s_comes_down_from_its_stages_and_jumps_up_at_the_end() -> None:
    loaded = load_config(f"{CONFIGS}/fcn_camvid.yaml", to_train=False)
    (valley,) = valleys(loaded, ALL_BLOCKS)
    left = [[node.size for node in level.left if isinstance(node, Volume)] for level in valley.levels]
    assert left == [
        ["192x256x3"],
        ["96x128x16"],
        ["48x64x32"],
        ["24x32x64"],
        ["12x16x128"],
        ["6x8x128", "6x8x256", "6x8x256", "6x8x11"],
    ]
    skips = [None if level.skip is None else (level.skip.merge, level.skip.tail.size) for level in valley.levels]
    assert skips == [None, None, None, ("add", "24x32x11"), ("add", "12x16x11"), None]
    assert [[volume.size for volume in level.up] for level in valley.levels] == [
        [],
        [],
        [],
        ["24x32x11"],
        ["12x16x11"],
        [],
    ]
    assert [len(level.right) for level in valley.levels] == [1, 0, 0, 0, 0, 0]
    assert valley.levels[0].right[0].size == "192x256x11"  # type: ignore[union-attr]


def test_the_published_u_net_has_five_levels_with_crops_across(tmp_path: Path) -> None:
    """Figure 1 of Ronneberger et al. 2015: convolutions without padding, so that skips are cropped."""
    conv = "{Conv2D: {filters: %d, kernel_size: 3, activation: relu}}"
    layers = ", ".join([conv % 1024] * 2)
    for filters, crop in ((512, 4), (256, 16), (128, 40), (64, 88)):
        twice = ", ".join([conv % filters] * 2)
        up = f"{{Conv2DTranspose: {{filters: {filters}, kernel_size: 2, strides: 2}}}}"
        layers = f"{twice}, {{Branches: [[{{Cropping2D: {crop}}}], [{POOL}, {layers}, {up}]]}}, {twice}"
    # The scores get a border, since a network here answers for each pixel of its image.
    scores = "{Conv2D: {filters: classes, kernel_size: 1}}, {ZeroPadding2D: 92}, Softmax"
    loaded = written(f"{layers}, {scores}", tmp_path, 572)
    (valley,) = valleys(loaded)
    left = [[node.shape[0] for node in level.left if isinstance(node, Volume)] for level in valley.levels]
    right = [[node.shape[0] for node in level.right if isinstance(node, Volume)] for level in valley.levels]
    assert left == [[572, 570, 568], [282, 280], [138, 136], [66, 64], [30, 28]]
    assert right == [[390, 388, 388, 572], [198, 196], [102, 100], [54, 52], []]
    crops = [level.skip.nodes[0].shape[0] for level in valley.levels if level.skip]  # type: ignore[union-attr]
    assert crops == [392, 200, 104, 56]
    assert_tidy(Drawing(plots.architecture_figure(loaded)))


def test_hourglasses_in_a_row_are_a_u_each(tmp_path: Path) -> None:
    loaded = written(f"{CONV}, {{Repeat: {{times: 3, layers: [hourglass]}}}}, {CONV}, hourglass, {SCORES}", tmp_path)
    assert [len(valley.levels) for valley in valleys(loaded)] == [3, 3]
    assert [len(valley.levels) for valley in valleys(loaded, ALL_BLOCKS)] == [3]
    assert_tidy(Drawing(plots.architecture_figure(loaded)))


def test_what_follows_a_u_that_ends_below_is_joined_to_it(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(
        f"data: {{name: cifar10}}\nmodel:\n  blocks: {BLOCKS}\n  layers: [{{down: 8}}, {nested(1)}, {POOL}, Flatten, "
        "{Dense: {units: classes, activation: softmax}}]\n"
    )
    drawing = Drawing(plots.architecture_figure(load_config(str(path))))
    assert_tidy(drawing)
    # A line leads from the end of the U up to the height of its beginning, where the next layer is.
    turns = [line for line in drawing.lines if len(line) == 3 and line[0][1] == line[1][1] < line[2][1]]
    ((_, _, (x, y)),) = [turn for turn in turns if turn[2] in [line[0] for line in drawing.lines]]
    begin = min(drawing.lines, key=lambda line: line[0][0])
    assert begin[0][1] == y
    (last,) = [line for line in drawing.lines if line[0] == [x, y]]
    assert last[1][1] == y


@pytest.mark.parametrize(
    "layers",
    [
        # Squeeze and excitation, also with an image of one pixel that is enlarged again.
        f"{CONV}, {merged('', '{GlobalAveragePooling2D: {keepdims: true}}, ' + NARROW, merge='multiply')}, {SCORES}",
        f"{CONV}, {merged('', '{AveragePooling2D: 64}, {UpSampling2D: 64}', merge='multiply')}, {SCORES}",
        # Both paths leave the size; neither does; three paths.
        f"{CONV}, {merged(f'{POOL}, {UP}', f'{POOL}, {CONV}, {UP}')}, {SCORES}",
        f"{CONV}, {merged(CONV, f'{CONV}, {CONV}')}, {SCORES}",
        f"{CONV}, {merged('', CONV, f'{POOL}, {CONV}, {UP}')}, {SCORES}",
        # Larger in between, not smaller.
        f"{CONV}, {merged('', f'{UP}, {CONV}, {POOL}')}, {SCORES}",
    ],
)
def test_other_paths_side_by_side_stay_forks(layers: str, tmp_path: Path) -> None:
    loaded = written(layers, tmp_path)
    assert not valleys(loaded)
    assert any(isinstance(node, Fork) for node in all_nodes(tree_of(loaded).nodes))


@pytest.mark.parametrize("file", OTHERS, ids=lambda file: file.stem)
def test_other_shipped_networks_are_none(file: Path) -> None:
    loaded = load_config(str(file), to_train=False)
    assert not [valley for detail in (NOTHING, INNERMOST_MERGES, ALL_BLOCKS) for valley in valleys(loaded, detail)]
