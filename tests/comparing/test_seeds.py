"""Groups of seeds, and whether they differ by more than noise."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brightness import add_brightness
from click.testing import CliRunner

from cnnkit.cli import cli
from cnnkit.comparing.seeds import Group, group_runs, probability_of_noise, read_results, verdict
from cnnkit.errors import UsageError
from cnnkit.format.document import dump
from cnnkit.runs.directory import Run
from cnnkit.runs.trained import open_run
from cnnkit.tasks import default_task
from cnnkit.tasks.classification.predictions import Predictions

ACCURACY = default_task().headline


def make_run(
    folder: Path,
    name: str,
    seed: int,
    epochs: int,
    accuracy: Any,
    ended: int | None = None,
    data: str = "digits",
    **training: Any,
) -> Run:
    """A run directory; `ended` epochs of it are done, by default all."""
    path = folder / "runs" / name
    path.mkdir(parents=True)
    plain: dict[str, Any] = {"seed": seed, "data": {"name": data}, "training": {"epochs": epochs, **training}}
    run = Run(path)
    run.config.write_text(dump(plain))
    run.environment.write_text("{}")
    run.write_metrics([{"epoch": number, "loss": 0.5} for number in range(1, 1 + (epochs if ended is None else ended))])
    if accuracy is not None:
        run.evaluation.write_text(json.dumps({"accuracy": accuracy}))
    return run


def group(*accuracies: float, seeds: Sequence[int] | None = None) -> Group:
    runs = tuple(Run(Path(f"r-{number}")) for number in range(len(accuracies)))
    return Group({}, runs, tuple(seeds or range(len(accuracies))), ACCURACY, accuracies)


def compared(*options: str) -> str:
    return CliRunner().invoke(cli, ["runs", "--compare", *options], catch_exceptions=False).output


def test_runs_that_differ_in_the_seed_alone_are_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = [
        make_run(tmp_path, "a-1", 0, 3, 0.90),
        make_run(tmp_path, "a-2", 1, 3, 0.92),
        make_run(tmp_path, "a-3", 0, 5, 0.97),
        make_run(tmp_path, "a-4", 2, 3, None),
    ]
    found = group_runs(read_results(made))
    assert [[run.name for run in one.runs] for one in found] == [["a-1", "a-2"], ["a-3"]]
    assert found[0].mean == pytest.approx(0.91)
    assert found[0].deviation == pytest.approx(np.std([0.90, 0.92], ddof=1))
    assert found[1].deviation is None
    text = compared()
    assert "a-1 ... a-2  2 runs  91.00 ± 1.41 %" in text
    assert "training.epochs: 3 -> 5" in text
    assert "train it with --seeds 3 or more" in text
    data = json.loads(compared("--json"))
    assert data["pairs"][0]["config"] == {"training.epochs": [3, 5]}


def test_a_seed_that_is_repeated_says_nothing_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, epochs, accuracy in (("a", 3, 0.90), ("b", 5, 0.97)):
        for number in (1, 2):
            make_run(tmp_path, f"{name}-{number}", 0, epochs, accuracy)
    text = compared()
    assert "a-1 ... a-2  2 runs of 1 seed  90.00 %" in text
    assert "one seed cannot tell from noise" in text
    (pair,) = json.loads(compared("--json"))["pairs"]
    assert pair["probability_of_noise"] is None
    twice = group(0.90, 0.92, 0.90, seeds=[0, 1, 0])
    assert (twice.mean, twice.deviation) == (group(0.90, 0.92).mean, group(0.90, 0.92).deviation)
    assert probability_of_noise(twice, group(0.8, 0.9)) == probability_of_noise(group(0.90, 0.92), group(0.8, 0.9))


def test_unfinished_runs_are_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that early stopping ended is finished; one that Ctrl-C ended is not, with early stopping or without."""
    monkeypatch.chdir(tmp_path)
    stopping = {"early_stopping": {"patience": 2}}
    make_run(tmp_path, "a-1", 0, 400, 0.90)
    make_run(tmp_path, "a-2", 1, 400, 0.50, ended=12)
    for name, seed, stopped in (("b-1", 0, True), ("b-2", 1, False)):
        run = make_run(tmp_path, name, seed, 400, 0.80, 20, **stopping)
        run.checkpoint.parent.mkdir()
        rows = [{"epoch": epoch, "loss": 1.0, "seconds": 1.0} for epoch in range(1, 21)]
        state = {"epochs_done": 20, "stopped": stopped, "rows": rows, "callbacks": {}}
        np.savez(run.checkpoint, state=np.asarray(json.dumps(state)))
    found = [[run.name for run in one.runs] for one in group_runs(read_results())]
    assert found == [["a-1"], ["b-1"]]
    assert "a-2 (12 of 400 epochs), b-2 (20 of 400 epochs)" in compared()
    unfinished = json.loads(compared("--json"))["unfinished"]
    assert unfinished[0] == {"run": "a-2", "epochs": 12, "planned_epochs": 400}


def test_only_runs_with_the_same_test_images_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path, "d-1", 0, 3, 0.99)
    make_run(tmp_path, "m-1", 0, 3, 0.90, data="mnist")
    make_run(tmp_path, "m-2", 0, 5, 0.91, data="mnist")
    # Of the same name, but another version of the data.
    newer = make_run(tmp_path, "m-3", 1, 5, 0.92, data="mnist")
    newer.write_json(newer.environment, {"data": {"fingerprint": "mnist 3.0.2"}})
    pairs = json.loads(compared("--json"))["pairs"]
    assert [(pair["first"], pair["second"]) for pair in pairs] == [("m-1", "m-2")]
    text = compared()
    assert text.count(" against ") == 1
    assert "d-1  1 run  99.00 %  digits" in text


def test_groups_of_one_task_are_measured_by_its_headline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Smaller errors are better; an accuracy and an error of the same images are not compared."""
    monkeypatch.chdir(tmp_path)
    add_brightness(monkeypatch)
    make_run(tmp_path, "a-1", 0, 3, 0.90)
    errors = (("b-1", 0, 3, 2.0), ("b-2", 1, 3, 2.5), ("c-1", 0, 5, 1.0), ("d-1", 0, 7, 3.0))
    for name, seed, epochs, error in errors:
        run = make_run(tmp_path, name, seed, epochs, None)
        run.config.write_text(f"task: brightness\n{run.config.read_text()}")
        run.evaluation.write_text(json.dumps({"mean_error": error}))
    text = compared()
    assert "b-1 ... b-2  2 runs  2.2500 ± 0.3536  digits" in text
    assert "c-1 (1.0000) against b-1 ... b-2 (2.2500 ± 0.3536): -1.2500, " in text
    # The best of those before it has the smallest error.
    assert "d-1 (3.0000) against c-1 (1.0000): +2.0000, " in text
    assert text.count(" against ") == 2
    first, second = json.loads(compared("--json"))["groups"][:2]
    assert (first["headline"], first["values"], first["accuracies"]) == ("accuracy", [0.90], [0.90])
    assert (second["headline"], second["values"], second["mean"]) == ("mean_error", [2.0, 2.5], 2.25)
    assert "accuracies" not in second


def test_what_differs_in_the_network_is_named_by_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, rate in (("a-1", 0.3), ("b-1", 0.31)):
        run = make_run(tmp_path, name, 0, 3, 0.9)
        dense = {"Dense": {"units": "classes", "activation": "softmax"}}
        plain = {"seed": 0, "data": {"name": "digits"}, "training": {"epochs": 3}}
        run.config.write_text(dump({**plain, "model": {"layers": ["Flatten", {"Dropout": rate}, dense]}}))
    assert compared().splitlines()[-1].split() == ["~", "1", "Dropout", "rate:", "0.3", "->", "0.31"]
    (pair,) = json.loads(compared("--json"))["pairs"]
    assert [(one["labels"], one["changes"]) for one in pair["layers"]] == [(["1.Dropout"] * 2, {"rate": [0.3, 0.31]})]
    assert pair["config"] == {}


@pytest.mark.parametrize("name", ["evaluation", "metrics", "environment", "config"])
def test_a_run_that_cannot_be_read_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A folder in the place of a file stands for one without read permission, which does not stop root."""
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path, "a-1", 0, 3, 0.90)
    closed: Path = getattr(make_run(tmp_path, "a-2", 1, 3, 0.92), name)
    closed.unlink()
    closed.mkdir()
    for options in ([], ["--compare"]):
        done = CliRunner().invoke(cli, ["runs", *options], catch_exceptions=False)
        assert done.exit_code == 0
        assert "a-1" in done.output


@pytest.mark.parametrize("accuracy", ["NaN", math.nan, None, [0.9], True])
def test_an_accuracy_that_is_no_number_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accuracy: Any) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path, "a-1", 0, 3, 0.90)
    make_run(tmp_path, "a-2", 1, 3, None).evaluation.write_text(json.dumps({"accuracy": accuracy}))
    assert compared().splitlines() == ["a-1  1 run  90.00 %"]
    assert CliRunner().invoke(cli, ["runs"], catch_exceptions=False).exit_code == 0


def test_noise_is_that_of_welch() -> None:
    """By Welch's formulas (Welch 1947), the t distribution by numerical integration."""
    first, second = [0.90, 0.92, 0.91], [0.93, 0.95, 0.96, 0.92]
    variances = [np.var(one, ddof=1) / len(one) for one in (first, second)]
    t = (np.mean(second) - np.mean(first)) / math.sqrt(sum(variances))
    freedom = sum(variances) ** 2 / sum(
        v**2 / (len(one) - 1) for v, one in zip(variances, (first, second), strict=True)
    )
    x = np.linspace(-2000, -abs(t), 4_000_001)
    scale = math.gamma((freedom + 1) / 2) / math.sqrt(freedom * math.pi) / math.gamma(freedom / 2)
    expected = 2 * np.trapezoid(scale * (1 + x**2 / freedom) ** (-(freedom + 1) / 2), x)
    assert probability_of_noise(group(*first), group(*second)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ([0.90, 0.91, 0.92], [0.95, 0.96, 0.97], "+5.00 points, larger than noise"),
        ([0.90, 0.91, 0.92], [0.905, 0.915, 0.925], "+0.50 points, within noise"),
        ([0.90, 0.91, 0.92], [0.80, 0.81, 0.82], "-10.00 points, larger than noise"),
        ([0.9, 0.9], [0.9, 0.9], "within noise"),
        ([0.9, 0.9], [0.8, 0.8], "seeds that differ in nothing cannot tell from noise"),
        ([0.9, 0.9, 0.9], [0.95, 0.96, 0.97], "larger than noise"),
        ([0.9], [0.8, 0.81], "one seed cannot tell from noise"),
    ],
)
def test_a_verdict(first: list[float], second: list[float], words: str) -> None:
    """Without a warning of SciPy's, which would be an error here."""
    assert words in verdict(group(*first), group(*second))


CONFIG = """
data: {name: digits, batch_size: 32}
model:
  layers:
    - Conv2D: {filters: 8, kernel_size: 3, activation: relu}
    - Flatten
    - Dense: {units: classes, activation: softmax}
training: {epochs: 2}
"""


@pytest.mark.long
def test_seeds_make_runs_and_say_what_they_have_in_common(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the runs that `--set seed=` makes, and an ensemble of them averages their probabilities."""
    from cnnkit.runs.evaluation import EvaluationOptions, evaluate_ensemble

    monkeypatch.chdir(tmp_path)
    Path("net.yaml").write_text(CONFIG)
    done = CliRunner().invoke(cli, ["train", "net.yaml", "--seeds", "3", "--set", "seed=5"], catch_exceptions=False)
    assert done.exit_code == 0
    runs = [Run(Path("runs") / f"net-{number}") for number in (1, 2, 3)]
    accuracies = [run.read_json(run.evaluation)["accuracy"] for run in runs]
    mean, deviation = 100 * np.mean(accuracies), 100 * np.std(accuracies, ddof=1)
    assert f"test accuracy {mean:.2f} ± {deviation:.2f} % over 3 seeds" in done.output

    alone = CliRunner().invoke(cli, ["train", "net.yaml", "--set", "seed=6"], catch_exceptions=False)
    assert alone.exit_code == 0
    assert Path("runs/net-4/predictions.csv").read_bytes() == Path("runs/net-2/predictions.csv").read_bytes()

    tables = [np.genfromtxt(run.predictions, delimiter=",", names=True, dtype=None, encoding="utf-8") for run in runs]
    columns = [name for name in tables[0].dtype.names if name.startswith("probability_")]
    average = np.mean([[table[name] for name in columns] for table in tables], axis=0)
    truth = tables[0]["true_class"].astype(int)
    kept: list[Predictions] = []
    members = [open_run(run) for run in runs]
    found = evaluate_ensemble(members, EvaluationOptions(keep=kept.append))
    assert found["accuracy"] == pytest.approx((average.argmax(axis=0) == truth).mean())
    np.testing.assert_allclose(kept[0].probabilities, average.T, atol=1e-5)
    assert [member["accuracy"] for member in found["members"]] == accuracies
    with pytest.raises(UsageError, match=r"validation images of .* are not the same, because .*`seed`"):
        evaluate_ensemble(members, EvaluationOptions("validation"))
    text = CliRunner().invoke(cli, ["eval", *(str(run.path) for run in runs)], catch_exceptions=False).output
    assert "the average of 3 runs, test split" in text
    assert "points from its best member" in text


@pytest.mark.parametrize("option", [["--resume", "x"], ["--run-dir", "x"], ["--no-eval"], ["--tune"]])
def test_what_means_nothing_for_several_seeds_is_refused(option: list[str]) -> None:
    done = CliRunner().invoke(cli, ["train", "net.yaml", "--seeds", "2", *option])
    assert option[0] in str(done.exception)


@pytest.mark.parametrize(("seed", "count"), [(2**31 - 1, 2), (2**31 - 3, 4)])
def test_seeds_that_there_are_not_are_refused_before_the_first_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, count: int
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.yaml").write_text(CONFIG)
    done = CliRunner().invoke(cli, ["train", "net.yaml", "--seeds", str(count), "--set", f"seed={seed}"])
    assert isinstance(done.exception, UsageError)
    assert f"--seeds {count}" in str(done.exception)
    assert str(seed) in str(done.exception)
    assert not Path("runs").exists()


def test_an_ensemble_needs_one_task(tmp_path: Path) -> None:
    from cnnkit.runs.evaluation import evaluate_ensemble

    runs = []
    for name, classes in (("a", ["0", "1"]), ("b", ["0", "1", "2"])):
        run = make_run(tmp_path, name, 0, 1, 0.9)
        run.model.write_bytes(b"")
        data = {"class_names": classes, "image_shape": [8, 8, 1]}
        run.write_json(run.environment, {"model": {"head": "softmax"}, "data": data})
        runs.append(run)
    with pytest.raises(UsageError, match="do not see the same images and classes"):
        evaluate_ensemble([open_run(run) for run in runs])
