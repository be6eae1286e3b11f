"""The minutes that a proposal expects, and what it does where they are many."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from image_folders import write_images

from cnnkit.config import shipped
from cnnkit.config.load import load_config
from cnnkit.network.duration import minutes_of_training
from cnnkit.network.summary import summarize
from cnnkit.proposal.config import propose
from cnnkit.proposal.look import look

#: cifar10.yaml when its training was timed: every width of its convolutions but the first one's.
NARROWER = [
    f"model.layers.{place}.Conv2D.filters={filters}"
    for place, filters in ((1, 24), (5, 24), (8, 96), (12, 96), (15, 96), (19, 96))
]


@pytest.mark.parametrize(
    ("name", "overrides", "images", "epochs", "measured"),
    # Minutes of docs/results.md, with whole images in all epochs; of U-Net half of its CPU minutes, since other work
    # ran beside it.
    [
        ("mnist_fast", [], 57_000, 9, 1.75),
        ("cifar10", NARROWER, 49_000, 12, 7.05),
        ("unet_camvid", [], 367, 50, 27.75),
    ],
)
def test_shipped_networks_take_about_the_expected_time(
    name: str, overrides: list[str], images: int, epochs: int, measured: float
) -> None:
    summary = summarize(load_config(str(shipped.find(name)), overrides, to_train=False))
    expected = minutes_of_training(summary, images, epochs)
    assert expected == pytest.approx(measured, rel=0.25)


def test_more_images_get_fewer_epochs_and_no_more_than_half_an_hour_allows(tmp_path: Path) -> None:
    write_images(tmp_path / "photos", ["cat", "dog"], size=(64, 64), mode="RGB")
    seen = look(str(tmp_path / "photos"))
    epochs = {}
    for images in (10, 1_000, 10_000, 100_000, 10_000_000):
        proposal = propose(replace(seen, train=images), tmp_path / "photos.yaml")
        (tmp_path / "photos.yaml").write_text(proposal.text)
        epochs[images] = load_config(str(tmp_path / "photos.yaml")).config.training.epochs
    assert list(epochs.values()) == sorted(epochs.values(), reverse=True)
    assert epochs[10] == 200
    # So many are seen three times, however long it takes, and it is said how long.
    assert epochs[10_000_000] == 3
    assert "as many epochs as 30 minutes allow" in proposal.text
    assert any("minutes on two cores" in line for line in proposal.lines)
