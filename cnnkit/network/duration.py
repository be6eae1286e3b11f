"""About how long a training takes on a processor, from the network's operations and outputs alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnnkit.network.summary import Summary

#: Seconds of training on two cores for a multiply-accumulate and for a byte of activations of an image, fitted to what
#: the networks of configs/cifar10.yaml (narrower), mnist_fast.yaml and unet_camvid.yaml took with whole images in all
#: epochs (docs/results.md): within a quarter of all three.
_SECONDS_PER_MAC = 15e-12
_SECONDS_PER_BYTE = 0.75e-9


def minutes_of_training(summary: Summary, images: int, epochs: int) -> float:
    """About how long a training takes on two cores.

    Args:
        images: Those of an epoch.
    """
    each = summary.macs * _SECONDS_PER_MAC + summary.activation_bytes * _SECONDS_PER_BYTE
    return each * images * epochs / 60
