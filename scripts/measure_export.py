"""Exports the networks of the shipped configs to every format and compares each file with Keras: docs/export.md.

python scripts/measure_export.py                                  # every shipped config of up to 5 million parameters
python scripts/measure_export.py mnist cifar10 --formats onnx     # some of them
python scripts/measure_export.py unet_camvid --run runs/unet_camvid-1    # a run that has been trained

A network learns for one epoch from a few hundred images, so that its weights and moving averages are no initial ones;
the test images are 1,000 of MNIST or CIFAR-10 (prepared by TFDS in TFDS_DATA_DIR), or the 233 of CamVid (CAMVID_DIR).
Where a config names a data set that is not at hand, its network is given images of one of these.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure_new import save_image

from cnnkit.config import shipped
from cnnkit.config.load import load_config
from cnnkit.network.summary import summarize
from cnnkit.terminal.console import echo
from cnnkit.terminal.tables import aligned

MOST_PARAMETERS = 5_000_000
TRAINING_IMAGES, TEST_IMAGES = 400, 1000

#: Which images stand in for those of a data set.
STANDING_IN = {"fashion_mnist": "mnist", "oxford_iiit_pet": "camvid", "tf_flowers": "cifar10"}


def write_classes(name: str, folder: Path) -> None:
    """Images of a TFDS data set as PNG files, in class folders below `train` and `test`."""
    from cnnkit import data
    from cnnkit.config.data import DataConfig

    sets = data.load(DataConfig(name=name, memory="stream", download=False), 0, splits=("train", "test"))
    for split, count in ((sets.train, TRAINING_IMAGES), (sets.test, TEST_IMAGES)):
        assert split is not None
        images = split.read(range(count))
        for place, (image, label) in enumerate(zip(images, split.labels, strict=False)):
            save_image(folder / split.name / str(label), place, image.squeeze())


def write_scenes(source: Path, folder: Path) -> None:
    """All test images of CamVid, and a few to learn from."""
    for part, count in (("train", 24), ("val", 4), ("test", None)):
        for kind in ("images", "masks"):
            (folder / part / kind).mkdir(parents=True)
            for file in sorted((source / part / kind).iterdir())[:count]:
                shutil.copy(file, folder / part / kind)
    shutil.copy(source / "classes.txt", folder)


class Images:
    """Folders of images, each made when the first config needs it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, name: str) -> Path:
        target = self._folder / name
        if not target.exists():
            if name == "camvid":
                write_scenes(Path(os.environ["CAMVID_DIR"]), target)
            else:
                write_classes(name, target)
        return target


def overrides_for(name: str, images: Images) -> list[str]:
    """What makes a shipped config learn for a moment from a folder."""
    data = load_plain(name).get("data", {})
    set_name = data.get("name") or Path(data.get("folder") or "").name
    overrides = ["training.epochs=1", "training.tensorboard=false", "training.dtype_policy=float32"]
    # So few images do not fill a batch of a config that drops smaller ones.
    overrides += ["data.drop_remainder=false"]
    # A warm-up is longer than the one epoch, or as long.
    overrides += ["training.warmup_epochs=0"]
    # Whatever a backbone has learned, it is exported alike, and random weights need no network to be downloaded. They
    # have to learn: as they are, all images come out the same.
    for index, layer in enumerate(load_layers(name)):
        if "Backbone" in layer:
            place = f"model.layers[{index}].Backbone"
            overrides += [f"{place}.weights=null", f"{place}.trainable=true"]
    if set_name == "digits":
        return overrides
    folder = images.of(STANDING_IN.get(set_name, set_name))
    overrides += [f"data.folder={folder}"]
    return overrides if "name" not in data else [*overrides, "data.ignore=11"] if folder.name == "camvid" else overrides


def load_layers(name: str) -> list[Any]:
    """The network of a shipped config as it is written; nothing where that is in the config that it extends."""
    import yaml

    layers: list[Any] = yaml.safe_load(shipped.find(name).read_text("utf-8")).get("model", {}).get("layers", [])
    return layers


def load_plain(name: str) -> dict[str, Any]:
    """A shipped config as it is written, with what it extends."""
    import yaml

    plain: dict[str, Any] = {}
    for file in (*shipped.bases(name), shipped.find(name)):
        written = yaml.safe_load(file.read_text("utf-8"))
        plain["data"] = {**plain.get("data", {}), **written.get("data", {})}
    return plain


def trained_run(name: str, folder: Path, images: Images) -> Any:
    """A run of a shipped config; None where its network has more parameters than are measured."""
    from cnnkit.runs.trained import open_run
    from cnnkit.terminal.console import Console
    from cnnkit.training.train import train

    loaded = load_config(str(shipped.find(name)), overrides_for(name, images))
    if summarize(loaded).parameters > MOST_PARAMETERS:
        return None
    with open(os.devnull, "w") as nowhere:
        return open_run(train(loaded, Console(stream=nowhere), str(folder / name)).run)


def measure(name: str, trained: Any, formats: list[str], folder: Path) -> list[dict[str, Any]]:
    """A row for each format."""
    from cnnkit.export.exporting import ExportOptions, export_run
    from cnnkit.export.formats import FORMATS
    from cnnkit.export.places import Places

    rows = []
    for kind in formats:
        format_ = FORMATS[kind]
        places = Places(format_, folder / f"{name}-{kind}" / f"model{format_.ending}")
        outcome = export_run(trained, places, ExportOptions(TEST_IMAGES))
        parity = outcome.parity
        assert parity is not None
        keras, exported = outcome.speeds
        rows.append(
            {
                "config": name,
                "parameters": trained.parameters(),
                "format": kind,
                "difference": parity.difference,
                "equal": min(agreement.equal for agreement in parity.agreements),
                "images": parity.images,
                **({} if parity.headline is None else parity.headline.as_json()),
                "bytes": exported.size,
                "keras_bytes": keras.size,
                "latency": exported.latency / keras.latency,
                "many": keras.rate / exported.rate,
                "failure": outcome.failure,
            }
        )
        shutil.rmtree(places.main.parent)
    return rows


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """One line for each config: the largest differences, and times as a share of Keras', format by format."""
    formats = list(dict.fromkeys(row["format"] for row in rows))
    header = ["config", "parameters", "equal answers", "largest difference", "one image", "32 images"]
    header[3:] = [f"{title}: {' / '.join(formats)}" for title in header[3:]]
    lines = [header, ["---", *(len(header) - 1) * ["---:"]]]
    for config in dict.fromkeys(row["config"] for row in rows):
        of_config = {row["format"]: row for row in rows if row["config"] == config}
        any_row = next(iter(of_config.values()))
        # Rounded down: 100 % are all.
        equal = math.floor(1e6 * min(row["equal"] for row in of_config.values())) / 1e4
        line = [f"`{config}`", f"{any_row['parameters']:,}", f"{equal:.6g} % of {any_row['images']:,}"]
        for figure, style in (("difference", ".1e"), ("latency", ".2f"), ("many", ".2f")):
            line.append(" / ".join(format(of_config[kind][figure], style) for kind in formats if kind in of_config))
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", help="names of shipped configs; by default all")
    parser.add_argument("--formats", nargs="+", default=["saved_model", "onnx", "litert", "openvino"])
    parser.add_argument("--run", help="a run of the one config named, instead of a new one")
    parser.add_argument("--json", type=Path, help="where to add the rows, a line each")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        images = Images(folder / "images")
        for name in options.configs or shipped.names():
            if name.startswith("imagenet"):
                continue
            trained = open_named(options.run) if options.run else trained_run(name, folder / "runs", images)
            if trained is None:
                continue
            found = measure(name, trained, options.formats, folder)
            rows += found
            trained.release_network()
            echo(aligned([[str(value) for value in row.values()] for row in found], "<" * len(found[0])))
            if options.json:
                with options.json.open("a") as stream:
                    stream.writelines(json.dumps(row) + "\n" for row in found)
    echo(as_markdown(rows))
    sys.exit(any(row["failure"] is not None or row["equal"] < 0.999 for row in rows))


def open_named(name: str) -> Any:
    from cnnkit.runs.finding import find_run
    from cnnkit.runs.trained import open_run

    return open_run(find_run(name))


if __name__ == "__main__":
    main()
