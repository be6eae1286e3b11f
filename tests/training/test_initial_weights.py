"""A new run begins with the weights of another, where layers have the same name, type and shapes."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from commands import run as command
from sharing import copied
from trainings import (
    assert_same,
    composites,
    config,
    continued,
    killed_in,
    killed_in_epoch,
    rows,
    run_training,
    write,
)

from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.report.facts import read_facts
from cnnkit.report.setting import environment_tables
from cnnkit.runs.directory import Run
from cnnkit.runs.trained import open_run
from cnnkit.terminal.console import Console
from cnnkit.training.initial_weights import InitialWeights, match_weights, open_source
from cnnkit.training.preparation import prepare
from cnnkit.training.train import resume

HEAD = {"Dense": {"units": "classes", "activation": "softmax"}}
#: 3x3 of one channel, 8 filters: what small_run's `0.Conv2D` is.
CONVOLUTION = {"filters": 8, "kernel_size": 3, "padding": "same"}


def loaded(folder: Path, layers: list[Any] | None = None, **sections: Any) -> LoadedConfig:
    content = config(**sections)
    if layers is not None:
        content["model"] = {"layers": layers}
    return load_config(write(folder, content))


def matched(run: Run, folder: Path, layers: list[Any] | None = None, **sections: Any) -> InitialWeights:
    return match_weights(open_source(str(run.path)), loaded(folder, layers, **sections))


def by_keras(run: Run) -> dict[str, list[np.ndarray]]:
    """The weights of each layer of model.keras, as Keras itself reads them, those of sub-models under both names."""
    import keras

    def of(model: Any, outer: str = "") -> dict[str, list[np.ndarray]]:
        found: dict[str, list[np.ndarray]] = {}
        for layer in model.layers:
            inside = isinstance(layer, keras.Model) and not isinstance(layer, keras.Sequential)
            found |= of(layer, f"{outer}{layer.name}/") if inside else {outer + layer.name: layer.get_weights()}
        return {name: weights for name, weights in found.items() if weights}

    return of(keras.models.load_model(run.model, compile=False))


def made_run(folder: Path, content: dict[str, Any]) -> Run:
    """A run that has not been trained, all weights of whose network are drawn at random."""
    from cnnkit.files import write_atomically
    from cnnkit.format.document import dump
    from cnnkit.training.model import without_training_state

    prepared = prepare(load_config(write(folder, content, "made.yaml")))
    random = np.random.default_rng(1)
    for weight in prepared.model.weights:
        weight.assign(random.uniform(0.5, 1.5, weight.shape))
    run = Run(folder / "made")
    run.path.mkdir()
    write_atomically(run.config, dump(prepared.config.to_plain()))
    names, shape = list(prepared.class_names), list(prepared.data.info.shape)
    run.write_json(
        run.environment, {"data": {"image_shape": shape, "class_names": names}, "model": {"head": prepared.head}}
    )
    without_training_state(prepared.model).save(run.model)
    return run


# --- Which weights ------------------------------------------------------------------------------------


def test_the_same_network_takes_all(small_run: Run, tmp_path: Path) -> None:
    initial = matched(small_run, tmp_path, seed=8)
    assert initial.as_text() == f"3 of 3 layers from {small_run.path}"
    noted = initial.as_json()
    assert noted["taken"] == [
        *("0.Conv2D/kernel", "0.Conv2D/bias"),
        *(f"1.BatchNormalization/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")),
        *("6.Dense/kernel", "6.Dense/bias"),
    ]
    assert (noted["new"], noted["left"], initial.notes) == ({}, {}, ())
    assert noted["sha256"] == hashlib.sha256(small_run.model.read_bytes()).hexdigest()
    assert noted["run"] == str(small_run.path)


def test_another_shape_is_new_with_both_shapes(small_run: Run, tmp_path: Path) -> None:
    """Not its bias either, which would fit: it belongs to another kernel."""
    layers = [*config()["model"]["layers"][:3], "GlobalAveragePooling2D", "ReLU", "ReLU", HEAD]
    initial = matched(small_run, tmp_path, layers)
    assert initial.as_text() == f"2 of 3 layers from {small_run.path}; 1 new: 6.Dense (there [128, 10], here [8, 10])"
    assert initial.as_json()["new"] == {"6.Dense/kernel": [8, 10], "6.Dense/bias": [10]}
    assert initial.as_json()["left"] == {"6.Dense/kernel": [128, 10], "6.Dense/bias": [10]}
    assert list(initial.as_lines())[2:] == [
        "  new    6.Dense: kernel [8, 10], bias [10]  (there [128, 10], here [8, 10])",
        "  left   6.Dense: kernel [128, 10], bias [10]",
    ]


def test_another_type_is_new_whatever_its_shapes(small_run: Run, tmp_path: Path) -> None:
    """A depthwise kernel with 8 filters for the one channel has the shapes of a kernel with 8 filters."""
    other = {"kernel_size": 3, "depth_multiplier": 8, "padding": "same", "name": "0.Conv2D"}
    initial = matched(small_run, tmp_path, [{"DepthwiseConv2D": other}, *config()["model"]["layers"][1:]])
    (match, *_) = initial.matches
    assert match.there is not None
    assert match.here.weights == match.there.weights
    assert "1 new: 0.Conv2D (there Conv2D, here DepthwiseConv2D)" in initial.as_text()


@pytest.mark.parametrize("units", ["classes", 10])
def test_what_answers_for_other_classes_is_new(units: Any, small_run: Run, tmp_path: Path) -> None:
    """As many as before: no shape tells."""
    run = copied(small_run, tmp_path)
    environment = run.read_environment()
    environment["data"]["class_names"] = [*map(str, range(8)), "9", "8"]
    run.write_json(run.environment, environment)
    layers = [*config()["model"]["layers"][:-1], {"Dense": {"units": units, "activation": "softmax"}}]
    initial = matched(run, tmp_path, layers)
    assert initial.as_text() == f"2 of 3 layers from {run.path}; 1 new: 6.Dense (for other classes)"


def test_of_two_heads_both_are_new(tmp_path: Path, small_run: Run) -> None:
    """What depends on how many classes there are is not only what comes last."""
    run = made_run(
        tmp_path,
        two := config(model={"layers": ["Flatten", {"Branches": {"paths": [[HEAD], [HEAD]], "merge": "average"}}]}),
    )
    environment = run.read_environment()
    environment["data"]["class_names"][0] = "zero"
    run.write_json(run.environment, environment)
    with pytest.raises(UsageError, match="takes no weights"):
        match_weights(open_source(str(run.path)), load_config(write(tmp_path, two)))


def test_a_bias_may_be_new_or_left_beside_a_kernel_that_is_taken(small_run: Run, tmp_path: Path) -> None:
    rest = config()["model"]["layers"][1:]
    without = matched(small_run, tmp_path, [{"Conv2D": {**CONVOLUTION, "use_bias": False}}, *rest])
    assert without.as_text() == f"3 of 3 layers from {small_run.path}"
    assert without.as_json()["left"] == {"0.Conv2D/bias": [8]}
    run = made_run(tmp_path, config(model={"layers": [{"Conv2D": {**CONVOLUTION, "use_bias": False}}, *rest]}))
    with_bias = matched(run, tmp_path)
    assert with_bias.as_text() == f"3 of 3 layers from {run.path}; 1 partly new: 0.Conv2D (bias)"
    assert with_bias.as_json()["new"] == {"0.Conv2D/bias": [8]}


def test_where_layers_have_moved_their_names_are_told(small_run: Run, tmp_path: Path) -> None:
    layers = config()["model"]["layers"]
    moved = matched(
        small_run, tmp_path, [{"GaussianNoise": 0.1}, {"Conv2D": {**CONVOLUTION, "name": "0.Conv2D"}}, *layers[1:]]
    )
    assert moved.as_text().partition("; ")[::2] == (
        f"1 of 3 layers from {small_run.path}",
        "2 new: 2.BatchNormalization, 7.Dense; 2 left: 1.BatchNormalization, 6.Dense",
    )
    (note,) = moved.notes
    assert "2.BatchNormalization has type and shapes of 1.BatchNormalization there" in note
    assert "`name: 1.BatchNormalization`, and so on for 1 more" in note
    named = [
        {"Conv2D": {**CONVOLUTION, "name": "0.Conv2D"}},
        {"BatchNormalization": {"name": "1.BatchNormalization"}},
        *layers[2:-1],
        {"Dense": {**HEAD["Dense"], "name": "6.Dense"}},
    ]
    assert matched(small_run, tmp_path, [{"GaussianNoise": 0.1}, *named]).as_text().startswith("3 of 3 layers")


def test_a_network_that_takes_nothing_is_refused(small_run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        matched(small_run, tmp_path, ["Flatten", HEAD])
    assert caught.value.exit_code == 2
    assert "there: 0.Conv2D [3, 3, 1, 8], 1.BatchNormalization [8], 6.Dense [128, 10]" in caught.value.message
    assert "here:  1.Dense [64, 10]" in caught.value.message


# --- Their values -------------------------------------------------------------------------------------


def test_weights_are_those_that_keras_reads(small_run: Run, tmp_path: Path) -> None:
    """Those of the averaged model. What is new begins as without the run; images are normalised as the config says."""
    pixels = {"mean": [10.0], "variance": [4.0]}
    layers = [*config()["model"]["layers"][:-1], {"Dense": {**HEAD["Dense"], "name": "head"}}]
    initial = matched(small_run, tmp_path, layers, data={"normalization": pixels})
    assert "on another scale" in initial.notes[0]
    model = prepare(loaded(tmp_path, layers, data={"normalization": pixels}), initial=initial).model
    fresh = prepare(loaded(tmp_path, layers, data={"normalization": pixels})).model
    expected = by_keras(small_run)
    for name in ("0.Conv2D", "1.BatchNormalization"):
        for ours, theirs in zip(model.get_layer(name).get_weights(), expected[name], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(model.get_layer("head").get_weights(), fresh.get_layer("head").get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert float(np.squeeze(model.get_layer("normalization").input_mean)) == 10.0


@pytest.mark.long
def test_weights_deep_inside_layers_are_taken(tmp_path: Path) -> None:
    """Also those of a layer that is built as two, its padding before it."""
    content = composites()
    content["model"]["layers"].insert(2, {"Residual": [{"Conv2D": {**CONVOLUTION, "filters": 16, "padding": 1}}]})
    run = made_run(tmp_path, content)
    source = load_config(write(tmp_path, content | {"seed": 9}))
    initial = match_weights(open_source(str(run.path)), source)
    model = prepare(source, initial=initial).model
    ours = made_saved(model, tmp_path)
    expected = by_keras(run)
    assert len(expected) > 5
    assert ours.keys() == expected.keys() == {match.here.path for match in initial.matches}
    for name, weights in expected.items():
        for one, other in zip(ours[name], weights, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)


def made_saved(model: Any, folder: Path) -> dict[str, list[np.ndarray]]:
    """What Keras reads of a training model that is saved."""
    from cnnkit.training.model import without_training_state

    run = Run(folder)
    without_training_state(model).save(run.model)
    return by_keras(run)


@pytest.mark.parametrize("measured", [False, True])
def test_an_optimizer_that_copies_the_weights_copies_these(measured: bool, small_run: Run, tmp_path: Path) -> None:
    """ScheduleFreeAdamW goes on from where its copy is; so it does from the kernel that PatchWhitening measures."""
    whitening = {"kernel_initializer": "PatchWhitening"} if measured else {}
    layers = [{"Conv2D": {**CONVOLUTION, **whitening}}, *config()["model"]["layers"][1:]]
    new = loaded(tmp_path, layers, training={"optimizer": "ScheduleFreeAdamW", "schedule": None})
    prepared = prepare(new, initial=None if measured else match_weights(open_source(str(small_run.path)), new))
    model = prepared.model
    copies = [variable for variable in model.optimizer.variables if "momentum" in variable.path]
    assert len(copies) == len(model.trainable_variables)
    for variable, copy in zip(model.trainable_variables, copies, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), np.asarray(copy))


def test_a_taken_kernel_wins_over_a_measured_one(small_run: Run, tmp_path: Path) -> None:
    layers = [{"Conv2D": {**CONVOLUTION, "kernel_initializer": "PatchWhitening"}}, *config()["model"]["layers"][1:]]
    new = loaded(tmp_path, layers)
    model = prepare(new, initial=match_weights(open_source(str(small_run.path)), new)).model
    np.testing.assert_array_equal(model.get_layer("0.Conv2D").get_weights()[0], by_keras(small_run)["0.Conv2D"][0])


# --- A run that began so ------------------------------------------------------------------------------


@pytest.mark.long
def test_a_run_says_whose_weights_it_began_with(
    small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The source is left as it was; what differs from a run that began anew is told where runs are compared."""
    from cnnkit.comparing.difference import as_text, open_side

    before = {path: path.read_bytes() for path in small_run.path.rglob("*") if path.is_file()}
    file = write(tmp_path, config(training={"epochs": 1}))
    arguments = ["train", file, "--init-from", str(small_run.path), "--run-dir", str(tmp_path / "run"), "--no-eval"]
    assert command([*arguments, "--no-report"], monkeypatch) == 0
    run = Run(tmp_path / "run")
    summary = f"weights   3 of 3 layers from {small_run.path}"
    assert summary in capsys.readouterr().out.splitlines()
    log = run.log.read_text().splitlines()
    assert log[log.index(summary) + 1] == "  taken  0.Conv2D: kernel [3, 3, 1, 8], bias [8]"
    noted = json.loads(run.environment.read_text())["initial_weights"]
    assert noted["sha256"] == hashlib.sha256(small_run.model.read_bytes()).hexdigest()
    assert f"weights of the run {small_run.path} (model.keras {noted['sha256'][:12]})" in run.config.read_text()
    assert {path: path.read_bytes() for path in small_run.path.rglob("*") if path.is_file()} == before
    # It has learned already: the first epoch of the other was worse.
    assert float(rows(run)[0]["val_loss"]) < float(rows(small_run)[0]["val_loss"])
    tables = environment_tables(read_facts(open_run(run)))
    assert isinstance(tables, dict)
    assert tables["Initial weights"]["run"] == str(small_run.path)
    assert tables["Initial weights"]["taken"] == "8 weights"
    difference = as_text(open_side(str(small_run.path)), open_side(str(run.path)))
    assert f"initial_weights: (default) -> {small_run.path} (model.keras" in difference


@pytest.mark.long
def test_a_killed_run_goes_on_without_the_one_that_it_began_from(
    small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before its first epoch has ended, and once more after it."""
    source = copied(small_run, tmp_path / "source")
    content = config(training={"epochs": 2}, seed=5)
    whole = run_training(tmp_path, content, "whole", init_from=source)
    run = killed_in_epoch(0, monkeypatch, tmp_path, content, init_from=source)
    shutil.rmtree(source.path)
    words, said = "from its beginning, with the weights that it began with", io.StringIO()
    with killed_in(1, monkeypatch):
        resume(str(run.path), None, (), Console(stream=said))
    assert words in said.getvalue()
    assert words not in continued(run)
    assert_same(run, whole)


@pytest.mark.long
def test_without_its_checkpoint_it_does_not_begin_with_other_weights(
    small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = killed_in_epoch(0, monkeypatch, tmp_path, config(), init_from=small_run)
    run.checkpoint.unlink()
    with pytest.raises(CnnkitError, match="the checkpoint that held them is gone") as caught:
        continued(run)
    assert "--init-from" in str(caught.value.hint)


def test_what_fails_before_there_is_a_run_is_not_said_to_be_resumed(
    small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first checkpoint is there before its config."""
    import cnnkit.training.train as training

    original = training.write_atomically

    def full(path: Path, content: str) -> None:
        if path.name == "config.yaml":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        original(path, content)

    monkeypatch.setattr(training, "write_atomically", full)
    with pytest.raises(CnnkitError, match="No space left") as caught:
        run_training(tmp_path, config(), "run", init_from=small_run)
    assert Run(tmp_path / "run").checkpoint.exists()
    assert "start again with `cnnkit train`" in str(caught.value.hint)
    assert "--resume" not in str(caught.value.hint)


@pytest.mark.long
def test_each_seed_begins_with_the_same_weights(
    small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are a group of their own beside runs that began anew."""
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path, config(training={"epochs": 1}, augmentation=[]))
    seeds = ["--seeds", "2", "--no-report"]
    assert command(["train", file, *seeds], monkeypatch) == 0
    assert command(["train", file, *seeds, "--init-from", str(small_run.path)], monkeypatch) == 0
    assert "net-4 (" in capsys.readouterr().out
    begun = [
        Run(tmp_path / "runs" / f"net-{number}").read_environment().get("initial_weights") for number in (1, 2, 3, 4)
    ]
    assert begun[:2] == [None, None]
    assert begun[2] == begun[3] is not None
    assert command(["runs", "--compare"], monkeypatch) == 0
    text = capsys.readouterr().out
    assert "net-1 ... net-2  2 runs" in text
    assert "net-3 ... net-4  2 runs" in text
    assert f"initial_weights: (default) -> {small_run.path}" in text


# --- What cannot be taken -----------------------------------------------------------------------------


def flipped(run: Run) -> None:
    content = bytearray(run.model.read_bytes())
    content[len(content) // 2] ^= 1
    run.model.write_bytes(content)


def without_classes(run: Run) -> None:
    run.write_json(run.environment, {"data": {}})


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: run.model.unlink(), "has no model: no epoch of it has ended"),
        (lambda run: run.model.write_bytes(b"no archive"), "cannot be opened"),
        (flipped, "does not agree with its checksum"),
        (lambda run: run.environment.unlink(), "has no environment.json"),
        (without_classes, "does not say what the images"),
        (lambda run: run.config.write_text("data: 3"), "config.yaml:1"),
    ],
)
def test_a_damaged_run_is_refused_before_anything_is_made(
    damage: Callable[[Run], None],
    words: str,
    small_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = copied(small_run, tmp_path)
    damage(run)
    monkeypatch.setattr("cnnkit.training.preparation.load_data", lambda *_: pytest.fail("the data are loaded"))
    arguments = ["train", write(tmp_path, config()), "--init-from", str(run.path), "--run-dir", str(tmp_path / "new")]
    assert command(arguments, monkeypatch) in (1, 2)
    captured = capsys.readouterr()
    assert words in captured.err
    assert "Traceback" not in captured.err
    assert not (tmp_path / "new").exists()


def test_a_run_that_is_being_trained_is_refused(small_run: Run, tmp_path: Path) -> None:
    run = copied(small_run, tmp_path)
    with run.training(), pytest.raises(CnnkitError, match="is still being trained") as caught:
        open_source(str(run.path))
    assert "cp -r" in str(caught.value.hint)
    assert open_source(str(run.path)).sha256


def test_a_model_that_changes_after_it_was_checked_is_refused(small_run: Run, tmp_path: Path) -> None:
    run = copied(small_run, tmp_path)
    source = open_source(str(run.path))
    other = made_run(tmp_path, config())
    os.replace(other.model, run.model)
    with pytest.raises(CnnkitError, match="has changed since it was first read"):
        source.read()


def test_a_model_that_is_not_of_its_config_is_refused(small_run: Run, tmp_path: Path) -> None:
    run = copied(small_run, tmp_path)
    plain = yaml.safe_load(run.config.read_text())
    plain["model"]["layers"][0]["Conv2D"]["kernel_size"] = 5
    run.config.write_text(yaml.safe_dump(plain))
    layers = [{"Conv2D": {**CONVOLUTION, "kernel_size": 5}}, *config()["model"]["layers"][1:]]
    new = loaded(tmp_path, layers)
    with pytest.raises(CnnkitError, match=r"holds 0.Conv2D/kernel \[5, 5, 1, 8\], which has the shape \[3, 3, 1, 8\]"):
        prepare(new, initial=match_weights(open_source(str(run.path)), new))


def test_a_weight_that_is_not_finite_is_refused(small_run: Run, tmp_path: Path) -> None:
    import keras

    run = copied(small_run, tmp_path)
    model = keras.models.load_model(run.model, compile=False)
    kernel = np.asarray(model.get_layer("6.Dense").kernel)
    kernel[0, 0] = np.nan
    model.get_layer("6.Dense").kernel.assign(kernel)
    model.save(run.model)
    new = loaded(tmp_path)
    with pytest.raises(CnnkitError, match=r"the weight 6\.Dense/kernel is not finite"):
        prepare(new, initial=match_weights(open_source(str(run.path)), new))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resume", "RUN", "--init-from", "RUN"], "--resume goes on with the weights that its run has"),
        (["--init-from", "RUN"], "which config?"),
        (["FILE", "--init-from", "nothing"], "`nothing` is no run"),
    ],
)
def test_what_means_nothing_is_refused(
    arguments: list[str],
    words: str,
    small_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = {"RUN": str(small_run.path), "FILE": write(tmp_path, config())}
    assert command(["train", *(known.get(one, one) for one in arguments)], monkeypatch) == 2
    assert words in capsys.readouterr().err
