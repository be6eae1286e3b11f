"""Two small networks that make the bundled digits."""

from __future__ import annotations

from typing import Any


def config(**task: Any) -> dict[str, Any]:
    """A config of them, of one epoch.

    Args:
        task: Arguments of the task beside `latent`.
    """
    return {
        "seed": 3,
        "task": {"generation": {"latent": 8, **task}},
        "data": {"name": "digits", "batch_size": 32},
        "model": {
            "generator": {
                "layers": [
                    {"Dense": {"units": "4 * 4 * 8", "use_bias": False}},
                    {"Reshape": [4, 4, 8]},
                    "BatchNormalization",
                    "ReLU",
                    {
                        "Conv2DTranspose": {
                            "filters": 1,
                            "kernel_size": 4,
                            "strides": 2,
                            "padding": "same",
                            "activation": "tanh",
                        }
                    },
                ]
            },
            "discriminator": {
                "layers": [
                    {"Conv2D": {"filters": 8, "kernel_size": 3, "strides": 2, "padding": "same"}},
                    {"LeakyReLU": 0.2},
                    "Flatten",
                    {"Dropout": 0.2},
                    {"Dense": 1},
                ]
            },
        },
        "training": {
            "epochs": 1,
            "optimizer": {"Adam": {"learning_rate": 0.001, "beta_1": 0.5}},
            "tensorboard": False,
        },
    }
