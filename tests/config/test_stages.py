"""`training.stages`: what each stage trains, and what is refused before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cnnkit.config.load import load_config
from cnnkit.config.staged import StagePlan, stage_plans
from cnnkit.errors import ConfigError

CONFIG = """\
data: {{name: digits}}
model:
  layers:
    - Conv2D: {{filters: 4, kernel_size: 3, name: stem}}
    - BatchNormalization
    - Repeat:
        times: 2
        name: body
        layers: [{{Conv2D: {{filters: 4, kernel_size: 3, padding: same}}}}, BatchNormalization]
    - Conv2D: {{filters: 4, kernel_size: 1, name: stem_2, trainable: false}}
    - Flatten
    - Dense: {{units: classes, name: head}}
training: {training}
"""


def plans(folder: Path, training: str, *overrides: str) -> tuple[StagePlan, ...]:
    file = folder / "net.yaml"
    file.write_text(CONFIG.format(training=training))
    loaded = load_config(str(file), overrides)
    return stage_plans(loaded.config.training, loaded.steps)


def problem(folder: Path, training: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        plans(folder, training, *overrides)
    (only,) = caught.value.problems
    return str(only)


def trained(plan: StagePlan) -> set[str]:
    return set(plan.trained)


ALL = {
    "stem",
    "1.BatchNormalization",
    "body/0.layers.0.Conv2D",
    "body/0.layers.1.BatchNormalization",
    "body/1.layers.0.Conv2D",
    "body/1.layers.1.BatchNormalization",
    "head",
}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("all", ALL),
        ("stem", {"stem"}),
        ("body", {name for name in ALL if name.startswith("body/")}),
        ("body/1.layers.0.Conv2D", {"body/1.layers.0.Conv2D"}),
        ("1.layers.0.Conv2D", {"body/1.layers.0.Conv2D"}),
        ("*.Conv2D", {"body/0.layers.0.Conv2D", "body/1.layers.0.Conv2D"}),
        ("[0-1].layers.*.BatchNormalization", {f"body/{n}.layers.1.BatchNormalization" for n in (0, 1)}),
        # Where no name is that, those that go on after it: not `1.layers` of another place.
        ("1.layers.1", {"body/1.layers.1.BatchNormalization"}),
        ("batchnormalization", {name for name in ALL if name.endswith("BatchNormalization")}),
    ],
)
def test_a_name_freezes_the_layers_that_have_it(tmp_path: Path, name: str, meant: set[str]) -> None:
    stages = f"{{stages: [{{epochs: 1, freeze: '{name}', unfreeze: stem_2}}]}}"
    (plan,) = plans(tmp_path, stages)
    assert trained(plan) == (ALL - meant) | {"stem_2"}
    assert set(plan.frozen) == meant


def test_a_name_means_longer_ones_only_where_nothing_has_it(tmp_path: Path) -> None:
    (first, second) = plans(
        tmp_path, "{stages: [{epochs: 1, freeze: all, unfreeze: head}, {epochs: 1, unfreeze: stem}]}"
    )
    assert trained(first) == {"head"}
    assert trained(second) == {"head", "stem"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("unfreeze: body", {"body/0.layers.0.Conv2D", "body/1.layers.0.Conv2D"}),
        ("unfreeze: body, unfreeze_batch_norm: true", {name for name in ALL if name.startswith("body/")}),
        ("unfreeze: [1.BatchNormalization]", {"1.BatchNormalization"}),
        ("unfreeze: all", {"stem", "body/0.layers.0.Conv2D", "body/1.layers.0.Conv2D", "stem_2"}),
        ("unfreeze: BatchNormalization", {name for name in ALL if name.endswith("BatchNormalization")}),
    ],
)
def test_batch_normalization_stays_frozen_unless_it_is_meant(tmp_path: Path, written: str, meant: set[str]) -> None:
    stages = f"{{stages: [{{epochs: 1, freeze: all, unfreeze: head}}, {{epochs: 1, {written}}}]}}"
    assert trained(plans(tmp_path, stages)[1]) == {"head"} | meant


def test_a_stage_has_what_the_section_has_but_for_what_it_says(tmp_path: Path) -> None:
    training = (
        "{optimizer: {SGD: {learning_rate: 0.1, momentum: 0.9}}, schedule: CosineDecay, layer_decay: 0.5, stages: ["
        "{epochs: 2, freeze: stem}, {epochs: 3, learning_rate: 0.01, warmup_epochs: 1, layer_decay: 1}, "
        "{epochs: 4, optimizer: Adam, schedule: {ExponentialDecay: {decay_epochs: 1, decay_rate: 0.9}}}]}"
    )
    first, second, third = (plan.training for plan in plans(tmp_path, training))
    assert [one.epochs for one in (first, second, third)] == [2, 3, 4]
    rates = [(type(one.optimizer).__name__, one.optimizer.learning_rate) for one in (first, second, third)]
    assert rates == [("SGD", 0.1), ("SGD", 0.01), ("Adam", 0.001)]
    assert second.optimizer.momentum == 0.9  # type: ignore[attr-defined]
    assert [one.warmup_epochs for one in (first, second, third)] == [0, 1, 0]
    assert [one.layer_decay for one in (first, second, third)] == [0.5, 1, 0.5]
    schedules = [type(one.schedule).__name__ for one in (first, second, third)]
    assert schedules == ["CosineDecay", "CosineDecay", "ExponentialDecay"]


TWO = "{stages: [{epochs: 3, freeze: stem}, {epochs: 2, unfreeze: stem}]}"


def test_the_epochs_of_a_run_are_those_of_its_stages(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    file.write_text(CONFIG.format(training=TWO))
    assert load_config(str(file)).config.training.epochs == 5
    longer = load_config(str(file), ["training.stages[-1].epochs=7"])
    assert longer.config.training.epochs == 10
    # As it ran, both are written; what is changed then counts.
    again = tmp_path / "again.yaml"
    again.write_text(CONFIG.format(training=TWO.replace("{stages", "{epochs: 5, stages")))
    assert load_config(str(again), ["training.stages[0].epochs=4"]).config.training.epochs == 6
    child = tmp_path / "child.yaml"
    again.write_text(CONFIG.format(training="{epochs: 20}"))
    child.write_text(f"extends: again.yaml\ntraining: {TWO}\n")
    assert load_config(str(child)).config.training.epochs == 5


@pytest.mark.parametrize(
    ("training", "overrides", "place", "message"),
    [
        (
            TWO.replace("{stages", "{epochs: 4, stages"),
            (),
            "net.yaml:13:20",
            "`epochs` is 4, but the 2 `stages` have 5",
        ),
        (TWO, ("training.epochs=9",), "--set training.epochs=9", "`epochs` is 9, but the 2 `stages` have 5 together"),
        ("{stages: [{freeze: stem}]}", (), "net.yaml:13:", "the required key `epochs` is missing"),
        ("{stages: [{epochs: 1, freeze: steam}]}", (), "net.yaml:13:41", "did you mean `stem`?"),
        ("{stages: [{epochs: 1, freeze: [stem, 4.Flatten]}]}", (), "net.yaml:13:48", "`4.Flatten` has no weights"),
        ("{stages: [{epochs: 1, freeze: 3}]}", (), "net.yaml:13:41", "expected the name of a layer"),
        ("{stages: [{epochs: 1, freeze: all}]}", (), "net.yaml:13:21", "the stage trains nothing"),
        (
            "{stages: [{epochs: 1, freeze: stem}, {epochs: 1, freeze: [stem_2]}]}",
            (),
            "net.yaml:13:69",
            "`stem_2` is frozen already",
        ),
        ("{stages: [{epochs: 1, unfreeze: head}]}", (), "net.yaml:13:43", "`head` is trained already"),
        (
            "{stages: [{epochs: 1, freeze: [body]}, {epochs: 1, unfreeze: '*.BatchNormalization'}]}",
            (),
            "net.yaml:13:72",
            "unfreezes batch normalization alone",
        ),
        ("{stages: [{epochs: 1, freeze: stem}, {epochs: 1}]}", (), "net.yaml:13:48", "like the one before it"),
        (
            "{stages: [{epochs: 1, learning_rate: 0.1, optimizer: Adam}]}",
            (),
            "net.yaml:13:",
            "has both `learning_rate` and `optimizer`",
        ),
        ("{stages: [{epochs: 1, warmup_epochs: 1}]}", (), "net.yaml:13:48", "leaves nothing of a stage of 1"),
        (
            "{stages: [{epochs: 1, schedule: {ReduceLROnPlateau: {monitor: val_los}}}]}",
            (),
            "net.yaml:13:",
            "unknown metric `val_los`",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_at_its_place(
    tmp_path: Path, training: str, overrides: tuple[str, ...], place: str, message: str
) -> None:
    text = problem(tmp_path, training, *overrides)
    assert place in text
    assert message in text


def test_the_first_stage_may_freeze_what_is_not_trained_anyway(tmp_path: Path) -> None:
    """As with `trainable: false`, `freeze: backbone`, and then an `unfreeze`."""
    first, second = plans(tmp_path, "{stages: [{epochs: 1, freeze: stem_2}, {epochs: 1, unfreeze: stem_2}]}")
    assert trained(first) == ALL
    assert trained(second) == ALL | {"stem_2"}


def test_one_change_takes_the_place_of_another(tmp_path: Path) -> None:
    """Of `learning_rate` and `optimizer`, what comes later counts, as for all that cannot stand together."""
    stages: Any = plans(tmp_path, TWO, "training.stages[0].learning_rate=0.1", "training.stages[0].optimizer=SGD")
    assert type(stages[0].training.optimizer).__name__ == "SGD"
