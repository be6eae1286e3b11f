"""What commands say of a generator's run that are for other networks, and reports of several runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from commands import run as cnnkit

from cnnkit.runs.directory import Run
from cnnkit.tasks.generation.report import compare


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["predict", "RUN", "a.png"], "`predict` is for networks that take images"),
        (["show", "filters", "RUN"], "`show filters` is for networks that take images"),
        (["show", "filters", "RUN", "--layer", "4.Conv2DTranspose"], "`show filters --layer` is for networks that"),
        (["show", "features", "RUN", "0"], "`show features` is for networks that take images"),
        (["show", "gradcam", "RUN", "0"], "`show gradcam` is for networks that take images"),
        (["eject", "RUN"], "no script can be written of a generation"),
        (["eval", "RUN", "--tta", "flip"], "--tta is for images: the network takes none, but latent vectors"),
        (["generate", "RUN", "-o", "new.gif"], "An animation takes --interpolate"),
        (["serve", "RUN", "--threshold", "0.5"], "a threshold is for objects"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_for_other_networks_is_refused_by_name(
    maker_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    named = [str(maker_run.path) if argument == "RUN" else argument for argument in arguments]
    assert cnnkit(named, monkeypatch) == 2
    assert said in capsys.readouterr().err


@pytest.mark.long
def test_another_classifier_than_the_configs_can_measure_and_is_remembered(
    maker_run: Run, digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(maker_run.path, "made")
    Path("classifier").symlink_to(digits_run.path)
    # Trained without one; then measured with one; then with the same, which nobody has to name again.
    for arguments, classifier in (
        ([], None),
        (["--classifier", "classifier"], str(tmp_path / "classifier")),
        ([], str(tmp_path / "classifier")),
    ):
        assert cnnkit(["eval", "made", "--json", *arguments], monkeypatch) == 0
        metrics = json.loads(capsys.readouterr().out)
        assert metrics.get("classifier", {}).get("run") == classifier
    assert cnnkit(["show", "mistakes", "made"], monkeypatch) == 0


def test_a_classifier_measures_generators_alone_and_has_to_be_one(
    maker_run: Run, digits_run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for run, classifier, said in (
        (digits_run, digits_run.path, "--classifier is for generators"),
        (maker_run, "nowhere", "there is no run `nowhere`"),
        (maker_run, maker_run.path, "tells no classes of images apart: its task is generation"),
    ):
        assert cnnkit(["eval", str(run.path), "--classifier", str(classifier)], monkeypatch) == 2
        assert said in capsys.readouterr().err


def test_a_generator_has_no_filters_that_look_at_images(maker_run: Run) -> None:
    assert not maker_run.initial_filters.exists()
    assert not maker_run.filters.exists()


def evaluated(**values: Any) -> Any:
    return SimpleNamespace(evaluation={"images": 90, "samples": 90, "seed": 1, "spread": 0.5, **values})


def test_runs_with_and_without_a_classifier_are_compared_by_what_both_have() -> None:
    measured = {"frechet": 3.0, "coverage": 0.5, "accepted": 0.7}
    first = evaluated(**measured, classifier={"sha256": "a"})
    assert compare(["one", "two"], [first, first]).note == ""
    other = compare(["one", "two"], [first, evaluated(**measured, classifier={"sha256": "b"})])
    assert "the distances say nothing" in other.note
    assert len(other.titles) == 3
    mixed = compare(["one", "two"], [first, evaluated()])
    assert mixed.titles == ["spread of the samples"]
    assert "Not all were measured by a classifier" in mixed.note
    assert compare(["one", "two"], [evaluated(), evaluated()]).note == ""
