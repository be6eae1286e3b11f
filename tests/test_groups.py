"""Groups of seeds, and whether they differ by more than noise."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from cnnkit.cli import cli
from cnnkit.config.document import dump
from cnnkit.errors import CnnkitError
from cnnkit.groups import Group, group_runs, probability_of_noise, verdict
from cnnkit.rundir import Run


def make_run(folder: Path, name: str, seed: int, epochs: int, accuracy: float | None) -> Run:
    path = folder / "runs" / name
    path.mkdir(parents=True)
    plain: dict[str, Any] = {"seed": seed, "data": {"name": "digits"}, "training": {"epochs": epochs}}
    (path / "config.yaml").write_text(dump(plain))
    (path / "environment.json").write_text("{}")
    if accuracy is not None:
        (path / "evaluation.json").write_text(json.dumps({"accuracy": accuracy}))
    return Run(path)


def group(*accuracies: float) -> Group:
    return Group({}, tuple(Run(Path(f"r-{number}")) for number in range(len(accuracies))), accuracies)


def test_runs_that_differ_in_the_seed_alone_are_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = [
        make_run(tmp_path, "a-1", 0, 3, 0.90),
        make_run(tmp_path, "a-2", 1, 3, 0.92),
        make_run(tmp_path, "a-3", 0, 5, 0.97),
        make_run(tmp_path, "a-4", 2, 3, None),
    ]
    found = group_runs(made)
    assert [[run.name for run in one.runs] for one in found] == [["a-1", "a-2"], ["a-3"]]
    assert found[0].mean == pytest.approx(0.91)
    assert found[0].deviation == pytest.approx(np.std([0.90, 0.92], ddof=1))
    assert found[1].deviation is None
    text = CliRunner().invoke(cli, ["runs", "--compare"]).output
    assert "a-1 ... a-2  2 runs  91.00 ± 1.41 %" in text
    assert "training.epochs: 3 -> 5" in text
    assert "train it with --seeds 3 or more" in text
    data = json.loads(CliRunner().invoke(cli, ["runs", "--compare", "--json"]).output)
    assert data["pairs"][0]["config"] == {"training.epochs": [3, 5]}


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
        ([0.9, 0.9], [0.8, 0.8], "larger than noise"),
        ([0.9], [0.8, 0.81], "one run cannot tell from noise"),
    ],
)
def test_a_verdict(first: list[float], second: list[float], words: str) -> None:
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


def test_seeds_make_runs_and_say_what_they_have_in_common(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the runs that `--set seed=` makes, and an ensemble of them averages their probabilities."""
    from cnnkit.score import evaluate_ensemble

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
    found = evaluate_ensemble(runs)
    assert found["accuracy"] == pytest.approx((average.argmax(axis=0) == truth).mean())
    assert [member["accuracy"] for member in found["members"]] == accuracies
    with pytest.raises(CnnkitError, match=r"validation images of .* are not the same, because .*`seed`"):
        evaluate_ensemble(runs, "validation")
    text = CliRunner().invoke(cli, ["eval", *(str(run.path) for run in runs)], catch_exceptions=False).output
    assert "the average of 3 runs, test split" in text
    assert "points from its best member" in text


@pytest.mark.parametrize("option", [["--resume", "x"], ["--run-dir", "x"], ["--no-eval"], ["--tune"]])
def test_what_means_nothing_for_several_seeds_is_refused(option: list[str]) -> None:
    done = CliRunner().invoke(cli, ["train", "net.yaml", "--seeds", "2", *option])
    assert option[0] in str(done.exception)


def test_an_ensemble_needs_one_task(tmp_path: Path) -> None:
    from cnnkit.score import evaluate_ensemble

    runs = []
    for name, classes in (("a", ["0", "1"]), ("b", ["0", "1", "2"])):
        run = make_run(tmp_path, name, 0, 1, 0.9)
        run.model.write_bytes(b"")
        data = {"class_names": classes, "image_shape": [8, 8, 1]}
        run.write_json(run.environment, {"model": {"head": "softmax"}, "data": data})
        runs.append(run)
    with pytest.raises(CnnkitError, match="do not see the same images and classes"):
        evaluate_ensemble(runs)
