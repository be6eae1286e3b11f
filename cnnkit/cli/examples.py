"""One or two examples for each command, which `--help` ends with."""

from __future__ import annotations

import click

EXAMPLES: dict[str, tuple[str, ...]] = {
    "train": (
        "cnnkit train photos",
        "cnnkit train digits.yaml --set training.epochs=5",
        "cnnkit train --resume digits-1",
    ),
    "launch": (
        "cnnkit launch --workers 2 train digits.yaml",
        "cnnkit launch --hosts node1:2222,node2:2222 --rank 0 --restart 3 train digits.yaml",
    ),
    "launch train": ("cnnkit launch --workers 2 train --resume digits-1",),
    "generate": (
        "cnnkit generate runs/dcgan_mnist-1 -n 64 --seed 1 -o sheet.png",
        "cnnkit generate runs/dcgan_mnist-1 --interpolate -o walk.gif",
    ),
    "restore": (
        "cnnkit restore dip_denoise photo.png -o clean.png",
        "cnnkit restore dip_denoise photo.png --reference clean.png -o restored.png --set training.epochs=20",
    ),
    "eval": ("cnnkit eval digits-1", "cnnkit eval digits-1 --data photos --csv photos.csv"),
    "predict": ("cnnkit predict digits-1 photos/ --csv > classes.csv", "cnnkit predict model.onnx photo.jpg photos/"),
    "inspect": ("cnnkit inspect digits.yaml --lint", "cat digits.yaml | cnnkit inspect -"),
    "diff": ("cnnkit diff digits.yaml mine.yaml", "cnnkit diff digits-1 digits-2"),
    "eject": ("cnnkit eject digits.yaml -o digits.py", "cnnkit eject digits-1 -o -"),
    "export": ("cnnkit export digits-1 --format onnx", "cnnkit export digits-1 --format litert -o phone/model.tflite"),
    "show": ("cnnkit show curves digits-1 digits-2", "cnnkit show gradcam digits-1 photo.jpg"),
    "show filters": ("cnnkit show filters digits-1", "cnnkit show filters digits-1 --layer 3.Conv2D"),
    "show features": ("cnnkit show features digits-1 photo.jpg", "cnnkit show features digits-1 0 -o maps.png"),
    "show gradcam": ("cnnkit show gradcam digits-1 photo.jpg --class 3", "cnnkit show gradcam digits-1 --mistakes"),
    "show mistakes": ("cnnkit show mistakes digits-1 --count 50",),
    "show samples": ("cnnkit show samples gan", "cnnkit show samples gan -o training.gif"),
    "show augmentation": ("cnnkit show augmentation cifar10.yaml --draws 3",),
    "show architecture": ("cnnkit show architecture digits.yaml -o network.svg",),
    "show curves": ("cnnkit show curves digits-1 digits-2 -o curves.svg",),
    "report": ("cnnkit report digits-1", "cnnkit report digits-1 digits-2 -o both.html"),
    "serve": ("cnnkit serve digits-1 digits-2 --port 0", "cnnkit serve model.onnx"),
    "watch": ("cnnkit watch", "cnnkit watch digits-1 --port 0"),
    "runs": ("cnnkit runs", "cnnkit runs --compare"),
    "new": ("cnnkit new cifar10 -o mine.yaml", "cnnkit new --from photos"),
    "data": ("cnnkit data list", "cnnkit data info photos"),
    "data list": ("cnnkit data list --json",),
    "data prepare": ("cnnkit data prepare cifar10",),
    "data info": ("cnnkit data info cifar10", "cnnkit data info photos --json"),
    "data check": ("cnnkit data check photos",),
    "data convert": ("cnnkit data convert street street_yolo --to yolo",),
    "data clear-cache": ("cnnkit data clear-cache",),
    "schema": ("cnnkit schema > schema.json",),
    "doctor": ("cnnkit doctor", "cnnkit doctor --json"),
}


def add_examples(group: click.Group, path: str = "") -> None:
    """Puts the examples of a group's commands under their help."""
    for name, command in group.commands.items():
        full = f"{path} {name}".strip()
        command.epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in EXAMPLES[full])
        if isinstance(command, click.Group):
            add_examples(command, full)
