"""configs/cifar10_best.yaml in PyTorch, eager: the network, the augmentation, and Muon written out.

What the recipe does comes from cifar10-airbench (Jordan 2024, arXiv:2404.00498).
"""

from __future__ import annotations

import itertools
from typing import Any

from benchmarks.gate import Gate
from benchmarks.images import read_images
from benchmarks.torch_side import computing_in, shifted

BATCH_SIZE = 1000

#: Epochs of the schedule; a benchmark goes on at its last rate.
EPOCHS = 11

_PADDING = 2
_LARGEST_RATE, _LEAST_RATE = 0.2, 1e-6

#: The quintic of the Newton-Schulz iteration (Jordan et al. 2024, Muon).
_QUINTIC = (3.4445, -4.775, 2.0315)


def training_loop(gate: Gate, arrays: str, precision: str) -> None:
    """The recipe; each epoch is a repeat.

    Args:
        arrays: Images, see `read_images`.
        precision: See `torch_side.computing_in`.
    """
    import torch

    found, targets = read_images(arrays)
    pixels = torch.from_numpy(found).permute(0, 3, 1, 2).float()
    mean, deviation = pixels.mean((0, 2, 3), keepdim=True), pixels.std((0, 2, 3), keepdim=True)
    images = ((pixels - mean) / deviation).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(targets)
    first_side = torch.rand(len(images)) < 0.5
    model = network(images).to(memory_format=torch.channels_last)
    kernels = [module.weight for module in model if isinstance(module, torch.nn.Conv2d) and module.bias is None]
    rest = [one for one in model.parameters() if one.requires_grad and all(one is not kernel for kernel in kernels)]
    muon = Muon(kernels, torch.bfloat16 if precision == "bfloat16" else torch.float32)
    adam = torch.optim.Adam(rest, betas=(0.9, 0.99))
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=0.2)
    steps = len(images) // BATCH_SIZE
    model.train()
    for epoch in itertools.count():
        gate.enter()
        order = torch.randperm(len(images))
        total = torch.zeros(())
        for step in range(steps):
            chosen = order[step * BATCH_SIZE : (step + 1) * BATCH_SIZE]
            # Each image shows one side in the even epochs and the other in the odd ones.
            inputs, expected = augmented(images[chosen], first_side[chosen] ^ bool(epoch % 2)), labels[chosen]
            share = min(1.0, (epoch * steps + step) / (EPOCHS * steps))
            rate = (_LARGEST_RATE - _LEAST_RATE) * (1 - share) + _LEAST_RATE
            model.zero_grad()
            with computing_in(precision):
                loss = criterion(model(inputs), expected)
            loss.backward()
            muon.step(rate)
            adam.param_groups[0]["lr"] = 0.05 * rate
            adam.step()
            total += loss.detach()
        gate.leave()
        gate.notes = {"loss": float(total) / steps, "steps": steps}


def network(images: Any) -> Any:
    """The network; its first layer whitens patches of the images and is not trained."""
    import torch
    from torch import nn

    first = nn.Conv2d(3, 24, 2)
    first.weight.data = whitening(images[:5000])
    nn.init.zeros_(first.bias)
    first.requires_grad_(requires_grad=False)
    layers: list[Any] = [first, nn.GELU()]
    channels = 24
    for pair in ((80, 80), (288, 288), (288, 512)):
        for place, filters in enumerate(pair):
            kernel = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
            nn.init.dirac_(kernel.weight[: min(channels, filters)])
            norm = nn.BatchNorm2d(filters, eps=1e-5, momentum=0.4)
            norm.weight.requires_grad_(requires_grad=False)
            layers += [kernel, *([nn.MaxPool2d(2)] if place == 0 else []), norm, nn.GELU()]
            channels = filters
    head = nn.Linear(channels, 10, bias=False)
    torch.nn.init.normal_(head.weight, std=0.01)
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), head)


def whitening(images: Any) -> Any:
    """The eigenvectors of the patches' covariance and their opposites, each scaled to variance one: [24, 3, 2, 2]."""
    import torch

    patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
    values, vectors = torch.linalg.eigh(torch.cov(patches.T))
    filters = (vectors / (values + 5e-4).sqrt()).T.reshape(12, 3, 2, 2)
    return torch.cat([filters, -filters])


def augmented(images: Any, mirrored: Any) -> Any:
    """The images, some of them mirrored, each shifted by up to two pixels, what comes in being mirrored.

    Args:
        images: [batch, channels, height, width].
        mirrored: Which, bool [batch].
    """
    import torch

    images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return shifted(torch.nn.functional.pad(images, (_PADDING,) * 4, mode="reflect"), _PADDING)


class Muon:
    """Momentum whose updates are made orthogonal, with Nesterov's look ahead.

    Each kernel [filters, channels, height, width] is a matrix of one row for each filter, whose norm is brought to the
    root of the filters' number before it is changed.

    Args:
        kernels: What it trains.
        dtype: What the iteration computes in.
    """

    def __init__(self, kernels: list[Any], dtype: Any, momentum: float = 0.6, iterations: int = 3) -> None:
        import torch

        self.kernels = kernels
        self.dtype = dtype
        self.momentum = momentum
        self.iterations = iterations
        self.velocities = [torch.zeros_like(kernel) for kernel in kernels]

    def step(self, rate: float) -> None:
        """Changes the kernels by their gradients."""
        for kernel, velocity in zip(self.kernels, self.velocities, strict=True):
            gradient = kernel.grad
            velocity.mul_(self.momentum).add_(gradient)
            update = gradient.add(velocity, alpha=self.momentum).reshape(len(kernel), -1)
            kernel.data.mul_(len(kernel) ** 0.5 / kernel.data.norm())
            kernel.data.add_(self._orthogonal(update).reshape(kernel.shape), alpha=-rate)

    def _orthogonal(self, matrix: Any) -> Any:
        first, second, third = _QUINTIC
        turned = matrix.shape[0] > matrix.shape[1]
        x = (matrix.T if turned else matrix).to(self.dtype)
        x = x / (x.norm() + 1e-7)
        for _ in range(self.iterations):
            square = x @ x.T
            x = first * x + (second * square + third * square @ square) @ x
        return (x.T if turned else x).to(matrix.dtype)
