"""Muon for convolutional networks.

This module imports Keras; only training imports it.
"""

from __future__ import annotations

import re
from typing import Any

import keras
from keras import ops


class ConvolutionMuon(keras.optimizers.Muon):
    """Keras' Muon, which also orthogonalises the updates of convolution kernels (Jordan 2024).

    Keras gives every weight without exactly two axes to Adam. Here a convolution's kernel, [height, width, inputs,
    filters], is taken for a matrix [height * width * inputs, filters], as in https://github.com/KellerJordan/Muon.

    Args:
        normalize_kernels: Scale each convolution kernel to the Frobenius norm sqrt(filters) before each update, as
            airbench94_muon does: after a batch normalization only the direction matters, and with a fixed norm the
            rate means the same throughout a run.
        arguments: Those of Keras' Muon.
    """

    def __init__(self, *, normalize_kernels: bool = False, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.normalize_kernels = normalize_kernels

    def _should_use_adamw(self, variable: Any) -> bool:
        # One filter (or one per channel, as in a depthwise convolution) is a vector: nothing to orthogonalise.
        if len(variable.shape) != 4 or variable.shape[-1] == 1:
            return bool(super()._should_use_adamw(variable))
        return any(re.search(keyword, variable.path) for keyword in self.exclude_layers)

    def _muon_update_step(self, gradient: Any, variable: Any, lr: Any, m: Any) -> None:
        self.assign_add(m, ops.add(gradient, m * (self.momentum - 1)))
        update = ops.add(gradient, self.momentum * m) if self.nesterov else m
        matrix = ops.reshape(update, (-1, variable.shape[-1]))
        step = self.lr_adjust(lr * self.zeropower_via_newtonschulz5(matrix, self.ns_steps))
        value = ops.convert_to_tensor(variable)
        if self.normalize_kernels and len(variable.shape) == 4:
            # A kernel of zeros has no direction; it stays until its first update.
            norm = ops.maximum(ops.norm(ops.reshape(value, (-1,))), 1e-7)
            value = value * (float(variable.shape[-1]) ** 0.5 / norm)
        self.assign(variable, value - ops.reshape(step, variable.shape))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "normalize_kernels": self.normalize_kernels}
