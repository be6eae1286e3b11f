"""The benchmark measures what it says: interleaved processes, equal networks, honest ratios."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "benchmark.py"


@pytest.fixture(autouse=True)
def scripts_on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return


def measured(title: str, cpu: list[float], wall: list[float], idle: float = 0.0) -> Any:
    from benchmarks.pool import Measured

    repeats = [
        {
            "cpu_seconds": c,
            "wall_seconds": w,
            "idle_cpu_seconds": idle,
            "others_cpu_seconds": 0.0,
            "idle_wall_seconds": 1.0,
            "peak_memory_bytes": 2**20,
        }
        for c, w in zip(cpu, wall, strict=True)
    ]
    return Measured(title, {}, {}, repeats)


# --- The gate ---------------------------------------------------------------------------------------------


def test_a_contestant_warms_up_alone_and_then_answers_each_command(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import gate as gate_module

    class Exit(Exception):
        pass

    def leave(code: int) -> None:
        raise Exit

    monkeypatch.setattr(gate_module.os, "_exit", leave)
    answers = io.StringIO()
    gate = gate_module.Gate(io.StringIO("run\nrun\nstop\n"), answers)
    ran = []

    def contestant() -> None:
        while True:
            gate.enter()
            ran.append("repeat")
            gate.leave()
            gate.leave()  # a callback may call it twice

    with pytest.raises(Exit):
        contestant()
    lines = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert len(ran) == 3
    assert len(lines) == 3
    assert all(line["wall_seconds"] >= 0 and line["peak_memory_bytes"] > 2**20 for line in lines)


# --- Contestants in processes of their own ----------------------------------------------------------------


def test_repeats_are_interleaved(capfd: pytest.CaptureFixture[str]) -> None:
    from benchmarks.pool import race

    products = {"kind": "numpy-product", "count": 1}
    both = race([("first", products), ("second", products)], 2)
    assert [len(one.repeats) for one in both] == [2, 2]
    assert all(repeat["cpu_seconds"] > 0 for one in both for repeat in one.repeats)
    assert all("idle_cpu_seconds" in repeat for one in both for repeat in one.repeats)
    shown = [line.split("  ")[2].split(":")[0] for line in capfd.readouterr().err.splitlines() if "repeat" in line]
    assert shown == ["first", "second", "first", "second"]


def test_a_failing_contestant_is_reported_with_what_it_wrote() -> None:
    from benchmarks.pool import BenchmarkError, race

    with pytest.raises(BenchmarkError, match=r"(?s)broken: the process ended with code 1.*no-such-kind"):
        race([("broken", {"kind": "no-such-kind"})], 1)


def test_contestants_get_none_of_cnnkits_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.pool import plain_environment

    from cnnkit.machine import tensorflow as runtime

    for name in runtime.ENVIRONMENT:
        monkeypatch.setenv(name, "1")
    environment = plain_environment()
    assert environment["KERAS_BACKEND"] == "tensorflow"
    assert not (set(runtime.ENVIRONMENT) - {"KERAS_BACKEND"}) & set(environment)
    assert environment["PATH"] == os.environ["PATH"]


# --- Equal work on all sides ------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["tutorial", "vgg", "alexnet", "resnet20"])
def test_all_sides_train_the_same_network(network: str, tmp_path: Path) -> None:
    """As many parameters in Keras' and PyTorch's own words as in the config."""
    from benchmarks import keras_side, networks, torch_side

    from cnnkit.config.load import load_config
    from cnnkit.machine.tensorflow import load_tensorflow
    from cnnkit.network.summary import summarize

    summary = summarize(load_config(str(networks.write_config(network, "none", tmp_path))))
    load_tensorflow()
    import keras

    body, _ = getattr(keras_side, f"_{network}")()
    model = keras.Sequential([keras.Input(shape=(32, 32, 3)), *body])
    assert model.count_params() == summary.parameters
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = getattr(torch_side, f"_{network}")()
    assert sum(weight.numel() for weight in theirs.parameters()) == summary.trainable_parameters
    assert theirs(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_the_operations_of_the_vgg(tmp_path: Path) -> None:
    """Counted by hand: positions x window x channels in x channels out, six operations each."""
    from benchmarks import networks

    pairs = [(1024, 3, 64), (1024, 64, 64), (256, 64, 128), (256, 128, 128), (64, 128, 256), (64, 256, 256)]
    by_hand = 6 * (sum(places * 9 * before * after for places, before, after in pairs) + 256 * 10)
    assert by_hand / 1e9 == pytest.approx(0.92, abs=0.005)
    assert networks.training_flop(networks.write_config("vgg", "flip-shift", tmp_path)) == by_hand


def test_the_recipe_is_the_same_network_in_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from benchmarks import torch_recipe

    from cnnkit.config import shipped
    from cnnkit.config.load import load_config
    from cnnkit.network.summary import summarize

    images = torch.rand(50, 3, 32, 32)
    network = torch_recipe.network(images)
    assert network(images[:2]).shape == (2, 10)
    summary = summarize(load_config(str(shipped.find("cifar10_best"))))
    buffers = sum(one.numel() for name, one in network.named_buffers() if "running" in name)
    scales = sum(one.weight.numel() for one in network if isinstance(one, torch.nn.BatchNorm2d))
    # PyTorch's batch norm has a scale of ones, which is not trained; Keras counts the moving statistics.
    assert sum(one.numel() for one in network.parameters()) + buffers - scales == summary.parameters
    trained = sum(one.numel() for one in network.parameters() if one.requires_grad)
    assert trained == summary.trainable_parameters


def test_the_recipe_whitens_patches_in_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from benchmarks.torch_recipe import whitening

    smooth = torch.nn.functional.avg_pool2d(torch.rand(40, 3, 18, 18), 3, 1) * 8
    outputs = torch.nn.functional.conv2d(smooth, whitening(smooth)[:12]).transpose(0, 1).reshape(12, -1)
    np.testing.assert_allclose(torch.cov(outputs), np.eye(12), atol=0.05)


def test_muon_is_the_same_in_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    import keras
    from benchmarks.torch_recipe import Muon

    from cnnkit.config.optimization.muon import ConvolutionMuon

    random = np.random.default_rng(0)
    kernel = random.normal(size=(3, 3, 4, 6)).astype(np.float32)
    gradients = random.normal(size=(2, 3, 3, 4, 6)).astype(np.float32)
    variable = keras.Variable(kernel)
    ours = ConvolutionMuon(
        learning_rate=0.2, normalize_kernels=True, momentum=0.6, ns_steps=3, rms_rate=None, weight_decay=None
    )
    ours.build([variable])
    weight = torch.nn.Parameter(torch.from_numpy(kernel).permute(3, 2, 0, 1).contiguous())
    theirs = Muon([weight], torch.float32)
    for gradient in gradients:
        ours.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        weight.grad = torch.from_numpy(gradient).permute(3, 2, 0, 1).contiguous()
        theirs.step(0.2)
    np.testing.assert_allclose(weight.detach().permute(2, 3, 1, 0), variable.numpy(), atol=2e-5)


def test_pytorch_flips_and_shifts_each_image_by_itself() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from benchmarks.torch_side import flip_and_shift

    images = np.random.default_rng(0).integers(1, 255, (64, 8, 8, 3)).astype(np.float32)
    changed = flip_and_shift(torch.from_numpy(images).permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1).numpy()
    seen = set()
    for before, after in zip(images, changed, strict=True):
        found = []
        for mirrored in (False, True):
            padded = np.pad(before[:, ::-1] if mirrored else before, ((2, 2), (2, 2), (0, 0)))
            found += [
                (mirrored, row, column)
                for row in range(5)
                for column in range(5)
                if np.array_equal(padded[row : row + 8, column : column + 8], after)
            ]
        assert len(found) == 1
        seen.update(found)
    assert len(seen) > 20


@pytest.mark.parametrize("asked", [320, 3200])
def test_every_shipped_config_can_be_measured(asked: int) -> None:
    from benchmarks.configs import overrides_for

    from cnnkit.config import shipped
    from cnnkit.config.load import load_config

    for name in shipped.with_known_data():
        file = str(shipped.find(name))
        overrides, images = overrides_for(load_config(file), asked)
        changed = load_config(file, [*overrides, "training.epochs=1000000"]).config
        assert images >= changed.data.batch_size
        if changed.data.name != "digits":
            # Plain Keras takes a smaller last batch that some configs drop.
            assert images % changed.data.batch_size == 0
        assert changed.data.validation == 0
        assert changed.training.schedule is None


def test_images_that_grow_are_measured_at_their_whole_size() -> None:
    from benchmarks.images import load_with_whole_images

    from cnnkit.config import shipped

    loaded = load_with_whole_images(str(shipped.find("cifar10")), ["training.epochs=1000000"])
    assert [type(one).__name__ for one in loaded.config.augmentation] == ["RandomFlip", "RandomCrop"]


def test_plain_keras_augments_with_its_own_layers() -> None:
    from benchmarks.keras_side import keras_augmentation

    from cnnkit.augmentation import AUGMENTATIONS
    from cnnkit.format.base import Choice
    from cnnkit.machine.tensorflow import load_tensorflow

    load_tensorflow()
    import keras

    choice = Choice(AUGMENTATIONS)
    entries = [choice.validate({"RandomFlip": "horizontal"}), choice.validate({"RandomCrop": {"padding": 1}})]
    layers, lacking = keras_augmentation(entries, (4, 4, 1))
    assert lacking == []
    assert [type(layer) for layer in layers if isinstance(layer, keras.layers.Layer)] == [
        keras.layers.RandomFlip,
        keras.layers.RandomCrop,
    ]
    images = np.arange(32, dtype=np.float32).reshape(2, 4, 4, 1)
    for layer in layers:
        images = layer(images, training=True)
    assert images.shape == (2, 4, 4, 1)


# --- Figures ----------------------------------------------------------------------------------------------


def test_ratios_compare_repeats_of_the_same_round() -> None:
    from benchmarks.figures import best_ratio, ratios

    ours = measured("ours", [1.0, 2.0, 4.0], [5.0, 2.0, 9.0])
    other = measured("other", [3.0, 4.0, 4.0], [3.0, 8.0, 4.0])
    assert ratios(other, ours, "cpu_seconds") == [3.0, 2.0, 1.0]
    assert best_ratio(other, ours) == 1.5


def test_a_contestant_that_did_not_sleep_spoils_the_run() -> None:
    from benchmarks.figures import run_notes

    assert run_notes([measured("sleeping", [1.0], [1.0])]) == [
        "Meanwhile, other programs took 0% of the machine's CPU time."
    ]
    assert run_notes([measured("spinning", [1.0], [1.0], idle=0.5)])[1:] == [
        "Not valid: spinning took 50% of a core while others ran."
    ]


def test_contestants_that_do_not_do_the_same_are_an_error() -> None:
    from benchmarks.figures import run_notes
    from benchmarks.pool import BenchmarkError

    ours, other = measured("ours", [1.0], [1.0]), measured("other", [1.0], [1.0])
    ours.repeats[0]["steps"], other.repeats[0]["steps"] = 50, 50
    assert len(run_notes([ours, other])) == 1
    other.repeats[0]["steps"] = 49
    with pytest.raises(BenchmarkError, match="did not do the same"):
        run_notes([ours, other])


def test_plain_keras_has_the_layers_of_the_unet_config(tmp_path: Path) -> None:
    """As many weights of each shape, and pairs of the size that the config names."""
    import yaml
    from benchmarks import images, keras_unet, unet

    from cnnkit.config import shipped
    from cnnkit.config.load import load_config
    from cnnkit.training.model import build_model

    file = shipped.find(unet.CONFIG)
    path = images.write_pairs(tmp_path, yaml.safe_load(file.read_text(encoding="utf-8"))["data"], 2)
    loaded = load_config(str(file), (f"data.folder={tmp_path}", "training.dtype_policy=float32"))
    pictures, masks = images.read_pairs(path)
    height, width, _ = loaded.info.shape
    assert pictures.shape[1] <= height
    assert set(np.unique(masks)) <= {*range(loaded.info.classes), loaded.info.target.ignore}
    plain = keras_unet.network(pictures, (height, width), loaded.info.classes)
    ours = build_model(loaded.config, loaded.steps, loaded.info.target, None)
    shapes = sorted(tuple(weight.shape) for weight in ours.weights)
    # The normalization of plain Keras keeps mean, variance and a count as weights.
    assert sorted(tuple(weight.shape) for weight in plain.weights) == sorted([*shapes, (3,), (3,), ()])


def test_the_unet_table_has_the_ratio() -> None:
    from benchmarks import unet

    contestants = [measured("cnnkit", [4.0, 4.0], [2.0, 3.0]), measured("plain Keras", [6.0, 5.0], [4.0, 5.0])]
    text = unet.markdown({"images": 100, "repeats": 2, "contestants": contestants})
    assert "| cnnkit | 50.0 | 40 (40 to 40) | 1 MiB |" in text
    assert "| plain Keras / cnnkit | 1.38 (1.25 to 1.50) | 2.00 |" in text


def test_the_throughput_table_has_the_share_of_the_product() -> None:
    from benchmarks import throughput
    from benchmarks.products import product_flop

    flop = product_flop(throughput.PRODUCT_COUNT)
    network = {
        "augmentation": "none",
        "images": "Random images",
        "training_flop": flop // 100,
        "contestants": [measured("cnnkit", [4.0, 4.0], [2.0, 3.0]), measured("plain Keras", [8.0, 12.0], [5.0, 4.0])],
        "products": [measured("slow", [2.0, 2.0], [9.0, 9.0]), measured("fast", [1.0, 1.0], [0.5, 1.0])],
    }
    text = throughput.markdown({"images": 100, "repeats": 2, "skipped": [], "networks": {"vgg": network}})
    # 100 images in 2 s are one batch of products per 2 s, and the best product took 0.5 s; in CPU time 4 s and 1 s.
    assert "| cnnkit | 50 | 40 | 40 (40 to 40) | 1 MiB | 25% | 25% |" in text
    assert "| plain Keras / cnnkit | 2.50 (2.00 to 3.00) | 2.00 |" in text
    assert "(fast)" in text


def test_tables_replace_their_section_of_the_page() -> None:
    from benchmarks.figures import inserted
    from benchmarks.pool import BenchmarkError

    page = "a\n<!-- x -->\nold\n<!-- end of x -->\nb\n"
    assert inserted(page, "x", "new\n") == "a\n<!-- x -->\nnew\n<!-- end of x -->\nb\n"
    with pytest.raises(BenchmarkError, match="no section"):
        inserted(page, "y", "new\n")
    document = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    for command in ("throughput", "configs", "augmentation", "evaluation", "scaling"):
        assert inserted(document, command, "") != document


# --- The whole script -------------------------------------------------------------------------------------


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "TFDS_DATA_DIR"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, env={**kept, **environment}
    )


@pytest.mark.parametrize("arguments", [["throughput", "--repeats", "0"], ["configs", "--configs", "nonsense"], []])
def test_a_wrong_command_line_is_an_error(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["throughput", "--networks", "tutorial", "--against", "keras", "--images", "256"],
        ["configs", "--configs", "mnist", "--images", "256"],
        ["recipe", "--images", "1000", "--precisions", "float32"],
        ["scaling", "--series", "batch", "--images", "256"],
        ["evaluation", "--images", "512"],
        ["augmentation", "--images", "256"],
    ],
    ids=lambda arguments: "-".join(arguments[:3]),
)
def test_a_command_runs_without_data(arguments: list[str], tmp_path: Path) -> None:
    """On random images, with tables on standard output and all figures in the JSON file."""
    file = tmp_path / "figures.json"
    done = run(*arguments, "--repeats", "2", "--json", str(file), TFDS_DATA_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Measured on ")
    assert "andom images" in done.stdout
    found = json.loads(file.read_text())
    assert found["command"] == arguments[0]
    assert found["environment"]["versions"]["keras"]
    contestants = [one for one in walk(found) if "warm_up" in one]
    # PyTorch may be missing.
    assert len(contestants) >= (1 if arguments[0] == "recipe" else 2)
    for one in contestants:
        assert len(one["repeats"]) == 2
        assert all(repeat["cpu_seconds"] > 0 for repeat in one["repeats"])
        assert all(np.isfinite(repeat.get("loss", 0.0)) for repeat in one["repeats"])


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """All mappings in a JSON value."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from walk(item)
