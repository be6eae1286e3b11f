"""PyTorch in eager mode: the usual training loop, images in memory, channels_last."""

from __future__ import annotations

from typing import Any

from benchmarks.gate import Gate
from benchmarks.images import read_images
from benchmarks.networks import BATCH_SIZE


def computing_in(precision: str) -> Any:
    """A context in which PyTorch computes in `float32`, or by autocast in `bfloat16`."""
    import torch

    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16")


def training_loop(gate: Gate, network: str, augmentation: str, arrays: str, precision: str = "float32") -> None:
    """One of the networks of `throughput`.

    The images are float32 tensors in memory and batches are taken by index: a DataLoader, which collates images one
    by one, would be slower.

    Args:
        precision: See `computing_in`.
    """
    import torch

    found, targets = read_images(arrays)
    images = torch.from_numpy(found).permute(0, 3, 1, 2).float().div(255).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(targets)
    model = {"tutorial": _tutorial, "vgg": _vgg, "alexnet": _alexnet, "resnet20": _resnet20}[network]()
    model = model.to(memory_format=torch.channels_last)
    if network == "alexnet":
        optimizer: Any = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    elif network == "resnet20":
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = torch.nn.CrossEntropyLoss()
    model.train()
    while True:
        gate.enter()
        order = torch.randperm(len(images))
        total, correct = 0.0, 0
        for start in range(0, len(images), BATCH_SIZE):
            chosen = order[start : start + BATCH_SIZE]
            inputs, expected = images[chosen], labels[chosen]
            if augmentation == "flip-shift":
                inputs = flip_and_shift(inputs, 4)
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad()
            with computing_in(precision):
                outputs = model(inputs)
                loss = criterion(outputs, expected)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(chosen)
            correct += int((outputs.argmax(1) == expected).sum())
        gate.leave()
        gate.notes = {"loss": total / len(images), "accuracy": correct / len(images)}


def flip_and_shift(images: Any, padding: int) -> Any:
    """Each image mirrored or not, and cut at a place of its own from itself with a border of zeros.

    Args:
        images: [batch, channels, height, width].
    """
    import torch

    mirrored = torch.rand(len(images)) < 0.5
    images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return shifted(torch.nn.functional.pad(images, (padding,) * 4), padding)


def shifted(padded: Any, padding: int) -> Any:
    """Each image cut at a place of its own from itself with a border.

    Args:
        padded: [batch, channels, height + 2 * padding, width + 2 * padding].
    """
    import torch

    count, _, height, width = padded.shape
    offsets = torch.randint(0, 2 * padding + 1, (2, count, 1))
    rows = offsets[0] + torch.arange(height - 2 * padding)
    columns = offsets[1] + torch.arange(width - 2 * padding)
    cut = padded.permute(0, 2, 3, 1)[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2)


def _tutorial() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1024, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def _vgg() -> Any:
    from torch import nn

    layers: list[Any] = []
    channels = 3
    for filters in (64, 128, 256):
        for _ in range(2):
            layers += [nn.Conv2d(channels, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters), nn.ReLU()]
            channels = filters
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))


def _alexnet() -> Any:
    from torch import nn

    def normalization() -> Any:
        # PyTorch divides alpha by the size of the window.
        return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)

    def pool() -> Any:
        return nn.MaxPool2d(3, stride=2, padding=1)

    return nn.Sequential(
        nn.Conv2d(3, 64, 5, stride=2, padding=2),
        nn.ReLU(),
        normalization(),
        pool(),
        nn.Conv2d(64, 128, 5, padding=2),
        nn.ReLU(),
        normalization(),
        pool(),
        nn.Conv2d(128, 192, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(192, 192, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(192, 128, 3, padding=1),
        nn.ReLU(),
        pool(),
        nn.Flatten(),
        nn.Linear(512, 512),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(512, 512),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(512, 10),
    )


def _resnet20() -> Any:
    import torch
    from torch import nn

    class Basic(nn.Module):
        """Two convolutions and, where the image shrinks, every second pixel with channels of zeros."""

        def __init__(self, before: int, filters: int) -> None:
            super().__init__()
            self.stride, self.missing = (1, 0) if before == filters else (2, filters - before)
            self.layers = nn.Sequential(
                nn.Conv2d(before, filters, 3, stride=self.stride, padding=1, bias=False),
                nn.BatchNorm2d(filters),
                nn.ReLU(inplace=True),
                nn.Conv2d(filters, filters, 3, padding=1, bias=False),
                nn.BatchNorm2d(filters),
            )

        def forward(self, x: Any) -> Any:
            short = x[:, :, :: self.stride, :: self.stride]
            if self.missing:
                short = nn.functional.pad(short, (0, 0, 0, 0, 0, self.missing))
            return torch.relu(self.layers(x) + short)

    layers: list[Any] = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    before = 16
    for filters in (16, 32, 64):
        for _ in range(3):
            layers.append(Basic(before, filters))
            before = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
