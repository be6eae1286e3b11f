"""What a config says of two networks that are trained against each other, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_adversaries import config
from trainings import write

from cnnkit.cli import cli
from cnnkit.config import shipped
from cnnkit.config.load import load_config
from cnnkit.eject import eject
from cnnkit.errors import ConfigError, UsageError
from cnnkit.network.lint import lint


def last(content: dict[str, Any], network: str, layer: Any) -> None:
    content["model"][network]["layers"][-1] = layer


def test_each_network_is_traced_by_what_it_takes(tmp_path: Path) -> None:
    loaded = load_config(write(tmp_path, config()))
    assert (loaded.info.shape, loaded.info.data_shape) == ((8,), (8, 8, 1))
    assert loaded.steps[-1].output_shape == (8, 8, 1)
    (discriminator,) = loaded.others.values()
    assert (discriminator[0].input_shape, discriminator[-1].output_shape) == ((8, 8, 1), (1,))
    told = load_config(write(tmp_path, config(conditional=True)))
    assert told.info.shape == (18,)
    assert told.others["discriminator"][0].input_shape == (8, 8, 11)


CONVOLUTION = {"filters": 1, "kernel_size": 3, "padding": "same"}


@pytest.mark.parametrize(
    ("change", "place", "said"),
    [
        (
            lambda one: last(one, "generator", {"Conv2D": {**CONVOLUTION, "activation": "tanh"}}),
            "model.generator.layers[4].Conv2D",
            "the generator outputs 4x4x1, but the images are 8x8x1",
        ),
        (
            lambda one: last(one, "generator", {"Conv2DTranspose": {**CONVOLUTION, "strides": 2}}),
            "model.generator.layers[4].Conv2DTranspose",
            "write one of them",
        ),
        (
            lambda one: last(one, "discriminator", {"Dense": {"units": 1, "activation": "sigmoid"}}),
            "model.discriminator.layers[4].Dense",
            "leave out its last activation",
        ),
        (
            lambda one: last(one, "discriminator", {"Dense": 10}),
            "model.discriminator.layers[4].Dense",
            "the discriminator outputs 10, but it says one number",
        ),
        (
            lambda one: one["model"]["discriminator"]["layers"].insert(0, {"Dense": {"units": 3, "name": "a b"}}),
            "model.discriminator.layers[0].Dense.name",
            "expected",
        ),
        (
            lambda one: one["model"]["discriminator"]["layers"].insert(0, {"MaxPooling2D": 9}),
            "model.discriminator.layers[0].MaxPooling2D.pool_size",
            "8x8",
        ),
        (
            lambda one: one["model"]["discriminator"]["layers"].insert(3, {"MinibatchStandardDeviation": 5}),
            "model.discriminator.layers[3].MinibatchStandardDeviation.group_size",
            "groups of 5 do not divide `data.batch_size`, 32, so that one would have real and made images; write "
            "`group_size: 4`, or a multiple of 5",
        ),
        (
            lambda one: one["model"]["discriminator"]["layers"].insert(
                1, {"Branches": [[], [{"MinibatchStandardDeviation": {"group_size": 3}}]]}
            ),
            "model.discriminator.layers[1].Branches",
            "groups of 3 do not divide",
        ),
        (
            lambda one: one["model"]["generator"]["layers"].insert(2, "MinibatchStandardDeviation"),
            "model.generator.layers[2].MinibatchStandardDeviation",
            "it belongs in a discriminator",
        ),
        (lambda one: one["model"].pop("discriminator"), "model", "`discriminator` is missing"),
        (lambda one: one["model"].pop("generator"), "model", "`generator` is missing"),
        (
            lambda one: one.update(model={"layers": ["Flatten", {"Dense": 1}]}),
            "model.layers",
            "trains two networks; write `generator: {layers: [...]}` and `discriminator: {layers: [...]}`",
        ),
        (lambda one: one.pop("task"), "model.generator", "trains one network; write its layers in `model.layers`"),
        (lambda one: one["training"].update(label_smoothing=0.1), "training.label_smoothing", "does not heed"),
        (lambda one: one["training"].update(loss="Dice"), "training.loss", "the losses are those of the task"),
        (lambda one: one["training"].update(metrics=["AUC"]), "training.metrics", "does not heed"),
        (lambda one: one["data"].update(validation=0.1), "data.validation", "leave `validation` out"),
        (lambda one: one["data"].update(drop_remainder=False), "data.drop_remainder", "a whole batch"),
        (lambda one: one.update(augmentation=[{"MixUp": 0.2}]), "augmentation[0].MixUp", "mixed images"),
        (
            lambda one: one.update(augmentation=[{"RandomCrop": {"height": 6, "width": 6}}]),
            "augmentation[0].RandomCrop",
            "real images of another size than made ones, which are 8x8x1",
        ),
        (lambda one: one["task"]["generation"].update(loss="wasserstein"), "task.generation.loss", "hinge"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(
    change: Callable[[dict[str, Any]], Any], place: str, said: str, tmp_path: Path
) -> None:
    content = config()
    change(content)
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, content))
    found = {problem.path: problem.message for problem in caught.value.problems}
    assert said in found[place], found


def test_the_networks_survive_what_a_run_writes(tmp_path: Path) -> None:
    loaded = load_config(str(shipped.find("dcgan_mnist")))
    plain = loaded.config.to_plain()
    assert list(plain["model"]) == ["blocks", "generator", "discriminator"]
    again = load_config(write(tmp_path, plain))
    assert again.config == loaded.config
    digits = load_config(str(shipped.find("digits"))).config.to_plain()
    assert list(digits["model"]) == ["blocks", "layers"]


def test_inspect_shows_both_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, config())
    cli.main(["inspect", file], standalone_mode=False)
    kept, beside = capsys.readouterr().out.split("\ndiscriminator\n")
    assert kept.startswith("generator\n")
    assert "Conv2DTranspose" in kept
    # 3 * 3 * 8 weights with 8 biases, and of 4 * 4 * 8 features one number.
    assert f"parameters       {80 + 8 * 16 + 1:,}" in beside
    assert "8x8x1" in beside
    cli.main(["inspect", "--json", file], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["networks"]["discriminator"]["parameters"] == 8 * 16 + 1 + 80


def test_inspect_says_what_both_networks_need_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The discriminator has real and made images at a time, and an optimizer of its own."""
    content = config(discriminator_optimizer={"SGD": {"learning_rate": 0.01}})
    cli.main(["inspect", "--json", write(tmp_path, content)], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    # Dense, BatchNormalization (half of it not trained), Conv2DTranspose.
    generator = 8 * 128 + 4 * 8 + 16 * 8 + 1
    discriminator = 80 + 8 * 16 + 1
    assert found["together"]["parameters"] == generator + discriminator
    weights, adam = generator + discriminator, 2 * (generator - 2 * 8)
    # What kernels act on: latent vectors and 4x4x8; images and 4x4x8 features.
    activations = 32 * (8 + 128) + 64 * (64 + 128)
    assert found["together"]["training_bytes"] == 4 * (weights + adam + activations)
    assert found["networks"]["discriminator"]["training_bytes"] == 4 * (discriminator + 64 * (64 + 128))
    cli.main(["inspect", write(tmp_path, content)], standalone_mode=False)
    said = capsys.readouterr().out.split("\ntogether\n")[1]
    assert f"parameters       {generator + discriminator:,}" in said
    assert "training memory  at least" in said


def test_lint_reads_every_network_and_names_it(tmp_path: Path) -> None:
    content = config()
    content["model"]["discriminator"]["layers"][1:1] = ["BatchNormalization"]
    content["model"]["generator"]["layers"][0] = {"Dense": "4 * 4 * 8"}
    content["model"]["generator"]["layers"][1:2] = ["BatchNormalization", {"Reshape": [4, 4, 8]}]
    found = {(one.rule, place) for one in lint(load_config(write(tmp_path, content))) for place in one.places}
    assert found == {
        ("normalization-of-mixed-batches", "model.discriminator.layers[1].BatchNormalization"),
        ("bias-before-normalization", "model.discriminator.layers[0].Conv2D"),
        ("bias-before-normalization", "model.generator.layers[0].Dense"),
    }
    assert lint(load_config(write(tmp_path, config()))) == []


@pytest.mark.parametrize("name", ["dcgan_mnist", "dcgan_cifar10"])
def test_shipped_generations_are_sound(name: str) -> None:
    for overrides in ((), ("task.generation.conditional=true",)):
        assert lint(load_config(str(shipped.find(name)), overrides)) == []


def test_the_drawing_has_both_networks(tmp_path: Path) -> None:
    from cnnkit.plots import architecture_figure

    loaded = load_config(write(tmp_path, config()))
    texts = [text.get_text() for text in architecture_figure(loaded).texts]
    assert texts[0] == "net"
    generator, discriminator = texts.index("generator"), texts.index("discriminator")
    assert 0 < generator < texts.index("Conv2DTranspose 4x4,") < discriminator
    assert discriminator < texts.index("Conv2D 3x3, stride 2")
    assert "input 8 " in f"{texts[generator + 1]} "
    assert texts[discriminator + 1].startswith(f"{80 + 8 * 16 + 1:,} parameters")


def test_no_script_is_written_and_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two networks and two optimizers, is no part of Keras' `fit`"):
        eject(load_config(write(tmp_path, config())))
