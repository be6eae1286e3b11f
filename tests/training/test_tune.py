"""`cnnkit train --tune`: what it tries, what it takes, and that a tuned run can be repeated."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from trainings import rows

from cnnkit.cli import main
from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.config.training import TrainingConfig
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.machine import processor
from cnnkit.machine import tensorflow as runtime
from cnnkit.runs.directory import Run
from cnnkit.terminal.console import Console
from cnnkit.training import settings, tune
from cnnkit.training.settings import SETTINGS, TIMED
from cnnkit.training.tune import Measurement, Tuning

RULE = {
    "strategy": "one_device",
    "synchronize_batch_norm": "on",
    "fused_activations": "off",
    "forward_filter_gradients": "off",
    "jit": "off",
    "steps_per_execution": 8,
    "dtype_policy": "float32",
    "threads": 2,
    "onednn": "on",
}

NETWORK = {
    "data": {"name": "digits", "batch_size": 64},
    "model": {"layers": ["Flatten", {"Dense": {"units": "classes", "activation": "softmax"}}]},
    "training": {"epochs": 2, "tensorboard": False},
}


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "net.yaml"
    path.write_text(yaml.safe_dump(NETWORK))
    return str(path)


@pytest.fixture
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of the developer's, on a processor where everything can be chosen."""
    for name in (runtime.ONEDNN, runtime.THREADS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(processor, "usable_cores", lambda: 2)
    monkeypatch.setattr(processor, "vector_flags", lambda: ("avx2",))
    monkeypatch.setattr(processor, "is_x86", lambda: True)


def measured(seconds_per_step: float | None, start: float | None = 0.0, **settings: Any) -> Measurement:
    return Measurement(RULE | settings, seconds_per_step, start, None if seconds_per_step is not None else "broken")


def best(*measurements: Measurement, steps: int = 1000) -> dict[str, Any]:
    return Tuning("CPU", steps, RULE, list(measurements)).best.settings


def test_the_shortest_run_wins_start_included() -> None:
    rule = measured(0.010)
    xla = measured(0.008, 30.0, jit="on")
    assert best(rule, xla, steps=1000) == RULE
    assert best(rule, xla, steps=100_000) == RULE | {"jit": "on"}


def test_the_rule_is_left_only_for_more_than_noise() -> None:
    assert best(measured(0.0100), measured(0.0097, threads=1)) == RULE
    assert best(measured(0.0100), measured(0.0094, threads=1)) == RULE | {"threads": 1}


def test_the_rule_counts_even_where_its_steps_per_execution_are_too_many_to_be_tried() -> None:
    rule, other = measured(0.0100, steps_per_execution=1), measured(0.0097, steps_per_execution=1, threads=1)
    assert best(other, rule) == rule.settings


def test_failed_settings_are_passed_over() -> None:
    assert best(measured(None, None), measured(1.0, jit="on")) == RULE | {"jit": "on"}
    assert best(measured(None, None, jit="on"), measured(1.0)) == RULE


def test_the_better_time_of_a_setting_counts() -> None:
    tuning = Tuning("CPU", 10, RULE)
    for one in (measured(3.0), measured(1.0, threads=1), measured(2.0), measured(None, None), measured(5.0)):
        tuning.add(one)
    assert [one.seconds_per_step for one in tuning.measurements] == [2.0, 1.0]


def test_the_table_says_what_was_measured_and_chosen() -> None:
    tuning = Tuning("CPU", 1000, RULE, [measured(0.01), measured(None, None, jit="on"), measured(0.001, threads=1)])
    _, rule, failed, chosen = tuning.as_text().splitlines()
    assert rule.endswith("10.0 s  the rule's choice")
    assert failed.endswith("failed: broken")
    assert chosen.endswith("1.0 s  chosen")
    record = json.loads(json.dumps(tuning.as_json(), allow_nan=False))
    assert record["chosen"] == RULE | {"threads": 1}
    assert [one["run_seconds"] for one in record["measurements"]] == [10.0, None, 1.0]


@pytest.mark.usefixtures("_no_variables")
def test_only_what_nobody_has_set_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_fields(**training: Any) -> set[str]:
        return set(tune._open_fields(TrainingConfig.model_validate(training)))

    assert open_fields() == set(TIMED)
    assert open_fields(jit="on", threads=1) == set(TIMED) - {"jit", "threads"}
    monkeypatch.setenv(runtime.ONEDNN, "0")
    monkeypatch.setenv(runtime.THREADS, "1")
    assert open_fields() == set(TIMED) - {"onednn", "threads"}


class Processes:
    """Takes the place of the measuring processes: seconds per step as a function of the settings."""

    def __init__(self, patch: pytest.MonkeyPatch, device: str, seconds: Any) -> None:
        self.tried: list[dict[str, Any]] = []
        self.device = device
        self.seconds = seconds
        patch.setattr(tune, "_in_new_process", self.run)

    def run(self, loaded: LoadedConfig, overrides: Any) -> dict[str, Any]:
        training = load_config(loaded.file, overrides).config.training
        fields = {name: getattr(training, name) for name in SETTINGS}
        settings = {name: RULE[name] if value == "auto" else value for name, value in fields.items()}
        self.tried.append(settings)
        seconds = self.seconds(settings, len(self.tried))
        if isinstance(seconds, str):
            raise CnnkitError(seconds)
        one = {"settings": settings, "seconds_per_step": seconds, "start_seconds": 0.0, "error": None}
        return {"device": self.device, "steps": 1000, "rule": RULE, "measurements": [one]}

    def tune(self, file: str, *overrides: str) -> tuple[LoadedConfig, Tuning]:
        return tune.tune(load_config(file, overrides), overrides, Console(stream=io.StringIO()))


@pytest.mark.usefixtures("_no_variables")
def test_processes_are_tried_one_setting_at_a_time(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes(monkeypatch, "CPU", lambda settings, _: 1.0 if settings == RULE else 2.0)
    loaded, _ = processes.tune(file)
    assert processes.tried == [RULE, RULE | {"onednn": "off"}, RULE | {"threads": 1}]
    assert {name: getattr(loaded.config.training, name) for name in SETTINGS} == RULE


@pytest.mark.usefixtures("_no_variables")
def test_a_process_that_leads_has_to_lead_again(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first process was disturbed; without oneDNN only seems faster."""
    slow_at_first = Processes(monkeypatch, "CPU", lambda settings, number: 3.0 if number == 1 else 2.0)
    loaded, _ = slow_at_first.tune(file, "training.threads=2")
    assert [one["onednn"] for one in slow_at_first.tried] == ["on", "off", "on", "off"]
    assert loaded.config.training.onednn == "on"
    truly = Processes(monkeypatch, "CPU", lambda settings, _: 3.0 if settings["onednn"] == "on" else 2.0)
    loaded, _ = truly.tune(file, "training.threads=2")
    assert loaded.config.training.onednn == "off"


@pytest.mark.usefixtures("_no_variables")
def test_a_process_that_fails_is_passed_over(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes(monkeypatch, "CPU", lambda settings, _: 1.0 if settings["onednn"] == "on" else "no memory")
    loaded, tuning = processes.tune(file)
    assert loaded.config.training.onednn == "on"
    assert "failed: no memory" in tuning.as_text()


@pytest.mark.usefixtures("_no_variables")
def test_on_a_gpu_one_process_measures_all(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes(monkeypatch, "GPU", lambda settings, _: 1.0)
    processes.tune(file)
    assert len(processes.tried) == 1


@pytest.mark.usefixtures("_no_variables")
def test_nothing_to_tune_is_a_mistake_of_the_command(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes(monkeypatch, "CPU", lambda settings, _: 1.0)
    with pytest.raises(UsageError, match="nothing to choose"):
        processes.tune(file, *(f"training.{name}={value}" for name, value in RULE.items()))


def test_tuning_a_resumed_run_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["cnnkit", "train", "--resume", "some/run", "--tune"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "leave out --tune" in capsys.readouterr().err


# --- Real measurements --------------------------------------------------------------------------------


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "REPEATS", 2)
    monkeypatch.setattr(tune, "SECONDS_PER_REPEAT", 0.02)


@pytest.mark.long
def test_xla_and_steps_are_measured_side_by_side(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    found = tune.measure(load_config(file, ["training.dtype_policy=float32"]))
    settings = [one["settings"] for one in found["measurements"]]
    # An epoch has 21 steps, so that none is longer.
    assert {(one["jit"], one["steps_per_execution"]) for one in settings[:2]} == {("off", 1), ("on", 1)}
    assert [one["steps_per_execution"] for one in settings[2:]] == [8, 21]
    assert found["steps"] == 42
    assert found["rule"] in settings or found["device"] == "GPU"
    for one in found["measurements"]:
        assert one["error"] is None
        assert 0 < one["seconds_per_step"] < math.inf
        assert one["start_seconds"] >= 0


def test_images_that_grow_are_timed_at_their_whole_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnkit.training import preparation

    quick(monkeypatch)
    path = tmp_path / "net.yaml"
    layers = ["GlobalAveragePooling2D", *NETWORK["model"]["layers"][1:]]
    augmentation = [{"ProgressiveResizing": [{"size": 4, "epochs": 1}]}]
    path.write_text(yaml.safe_dump({**NETWORK, "model": {"layers": layers}, "augmentation": augmentation}))
    original, shapes = preparation.training_batches, []

    def noted(*arguments: Any) -> Any:
        batches = original(*arguments)
        shapes.append(next(iter(batches))[0].shape[1:])
        return batches

    monkeypatch.setattr(preparation, "training_batches", noted)
    tune.measure(load_config(str(path), ["training.jit=off", "training.steps_per_execution=1"]))
    assert set(shapes) == {(8, 8, 1)}


def measured_settings(tmp_path: Path, *layers: Any) -> list[dict[str, Any]]:
    path = tmp_path / "net.yaml"
    path.write_text(yaml.safe_dump({**NETWORK, "model": {"layers": [*layers, *NETWORK["model"]["layers"]]}}))
    found = tune.measure(load_config(str(path), ["training.jit=off", "training.steps_per_execution=1"]))
    assert [one["error"] for one in found["measurements"]] == [None] * len(found["measurements"])
    return [one["settings"] for one in found["measurements"]]


@pytest.mark.parametrize("can", [True, False])
def test_bfloat16_is_tried_where_a_processor_has_it(can: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    monkeypatch.setattr(processor, "multiplies_bfloat16", lambda: can)
    policies = [one["dtype_policy"] for one in measured_settings(tmp_path)]
    assert policies == (["float32", "mixed_bfloat16"] if can else ["float32"])


@pytest.mark.parametrize(
    ("activation", "tried"),
    [("gelu", {"off", "on"}), pytest.param("silu", {"off", "on"}, marks=pytest.mark.long), ("relu", {"off"})],
)
def test_activations_in_one_pass_are_tried_where_there_are_any(
    activation: str, tried: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    monkeypatch.setattr(settings, "multiplies_bfloat16", lambda: False)
    monkeypatch.setattr(processor, "multiplies_bfloat16", lambda: False)
    inner = {"Residual": ["Flatten", {"Dense": {"units": 64, "activation": activation}}, {"Reshape": [8, 8, 1]}]}
    found = measured_settings(tmp_path, inner)
    assert {one["fused_activations"] for one in found} == tried


@pytest.mark.parametrize(("filters", "tried"), [(128, {"off", "on"}), (127, {"off"})])
def test_gradients_of_filters_are_tried_forward_where_a_convolution_is_wide(
    filters: int, tried: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    layers = [{"Conv2D": {"filters": 64, "kernel_size": 1}}, {"Conv2D": {"filters": filters, "kernel_size": 3}}]
    found = measured_settings(tmp_path, *layers)
    assert {one["forward_filter_gradients"] for one in found} == tried


def test_a_setting_that_fails_is_reported_beside_those_that_work(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnkit.training import preparation

    quick(monkeypatch)
    original = preparation.compile_model

    def fail_with_xla(*arguments: Any) -> Any:
        if arguments[4].jit_compile:
            raise ValueError("no such\nkernel")
        return original(*arguments)

    monkeypatch.setattr(preparation, "compile_model", fail_with_xla)
    found = tune.measure(load_config(file, ["training.steps_per_execution=4"]))
    errors = {one["settings"]["jit"]: one["error"] for one in found["measurements"]}
    assert errors == {"off": None, "on": "no such kernel"}


def run(folder: Path, *arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in (runtime.ONEDNN, runtime.THREADS)}
    done = subprocess.run(
        [sys.executable, "-m", "cnnkit", "train", *arguments, "--no-eval"],
        capture_output=True, text=True, cwd=folder, env=environment, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_a_tuned_run_is_repeated_by_its_config(file: str, tmp_path: Path) -> None:
    fixed = ("--set", "training.jit=off", "--set", "training.threads=1")
    printed = run(tmp_path, file, "--tune", "--run-dir", "tuned", *fixed)
    assert "chosen" in printed
    assert "XLA off (training.jit)" in printed
    config = load_config(str(tmp_path / "tuned" / "config.yaml")).config
    ran = {name: getattr(config.training, name) for name in SETTINGS}
    assert "auto" not in ran.values()
    assert (ran["jit"], ran["threads"]) == ("off", 1)
    environment = json.loads((tmp_path / "tuned" / "environment.json").read_text())
    record = environment["tuning"]
    assert record["chosen"] == ran
    assert record["steps"] == 42
    tried = [one["settings"] for one in record["measurements"]]
    assert {one["jit"] for one in tried} == {"off"}
    assert {one["steps_per_execution"] for one in tried} >= {1, 8, 21}
    if runtime.onednn_helps():
        assert {one["onednn"] for one in tried} == {"on", "off"}
    assert environment["settings"]["onednn"] is (ran["onednn"] == "on")
    assert "steps/execution" in (tmp_path / "tuned" / "log.txt").read_text()

    again = run(tmp_path, "tuned/config.yaml", "--run-dir", "again")
    assert "chosen" not in again
    assert load_config(str(tmp_path / "again" / "config.yaml")).config == config
    assert rows(Run(tmp_path / "again")) == rows(Run(tmp_path / "tuned"))


def test_data_that_are_missing_are_reported_as_without_tuning(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(yaml.safe_dump({**NETWORK, "data": {"name": "fashion_mnist", "download": False}}))
    environment = os.environ | {"TFDS_DATA_DIR": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-m", "cnnkit", "train", str(path), "--tune"],
        capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1
    assert "TFDS_DATA_DIR" in done.stderr
    assert not (tmp_path / "runs").exists()
