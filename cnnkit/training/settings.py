"""How a run computes: the settings that the user gave, and a fixed rule for those that are `auto`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cnnkit.config.training import TrainingConfig
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.layers.stack import Step
from cnnkit.machine.devices import ONE_DEVICE, Devices, open_devices
from cnnkit.machine.processor import multiplies_bfloat16
from cnnkit.machine.tensorflow import (
    ONEDNN,
    load_tensorflow,
    on_or_off,
    onednn_in_use,
    onednn_when_loaded,
    set_by_user,
    threads_in_use,
    threads_of_user,
)
from cnnkit.network.xla import needing_xla

#: Steps between two returns to Python. More saves nothing measurable and makes progress jumpy.
STEPS_PER_EXECUTION = {"CPU": 8, "GPU": 32}


#: Fields of the `training` section that say how to compute, not what.
SETTINGS = (
    *("strategy", "synchronize_batch_norm"),
    *("fused_activations", "forward_filter_gradients"),
    *("jit", "steps_per_execution", "dtype_policy", "threads", "onednn"),
)

#: Those that `--tune` times: they change nothing but how a step is computed, on the same devices.
TIMED = SETTINGS[2:]


@dataclass(frozen=True)
class Runtime:
    """The settings that a run uses.

    Attributes:
        device: `CPU` or `GPU`.
        jit_compile: Whether XLA compiles the training step.
        steps_per_execution: Training steps between two returns to Python.
        reason: Why XLA is on or off.
        dtype_policy: Keras' dtype policy.
        threads: Threads that compute one operation together.
        onednn: Whether oneDNN computes.
        devices: The devices that share each batch.
        synchronize_batch_norm: Whether batch normalization takes the statistics of the whole batch, as one device does.
        fused_activations: Whether GELU and SiLU are computed in one pass each way.
        forward_filter_gradients: Whether wide convolutions compute the gradients of their filters forward.
    """

    device: str
    jit_compile: bool
    steps_per_execution: int
    reason: str
    dtype_policy: str = "float32"
    threads: int = 1
    onednn: bool = True
    devices: Devices = ONE_DEVICE
    synchronize_batch_norm: bool = True
    fused_activations: bool = False
    forward_filter_gradients: bool = False

    def as_fields(self) -> dict[str, Any]:
        """The values of SETTINGS that stand for these settings."""
        return {
            "strategy": self.devices.name,
            "synchronize_batch_norm": on_or_off(self.synchronize_batch_norm),
            "fused_activations": on_or_off(self.fused_activations),
            "forward_filter_gradients": on_or_off(self.forward_filter_gradients),
            "jit": on_or_off(self.jit_compile),
            "steps_per_execution": self.steps_per_execution,
            "dtype_policy": self.dtype_policy,
            "threads": self.threads,
            "onednn": on_or_off(self.onednn),
        }

    def as_json(self) -> dict[str, Any]:
        """For environment.json."""
        return {
            "device": self.device,
            "jit_compile": self.jit_compile,
            "jit_reason": self.reason,
            "steps_per_execution": self.steps_per_execution,
            "dtype_policy": self.dtype_policy,
            "threads": self.threads,
            "onednn": self.onednn,
            "strategy": self.devices.name,
            "workers": self.devices.workers,
            "replicas": self.devices.replicas,
            "synchronize_batch_norm": self.synchronize_batch_norm,
            "fused_activations": self.fused_activations,
            "forward_filter_gradients": self.forward_filter_gradients,
        }

    def as_text(self) -> str:
        """For the terminal."""
        parts = [
            self.device,
            f"XLA {on_or_off(self.jit_compile)} ({self.reason})",
            f"{self.steps_per_execution} steps per execution",
            self.dtype_policy,
        ]
        if self.device == "CPU":
            parts += [f"oneDNN {on_or_off(self.onednn)}", f"{self.threads} thread{'s' * (self.threads != 1)}"]
        if self.devices.replicas > 1:
            own = f" in {self.devices.workers} processes" if self.devices.workers > 1 else ""
            normalization = " with synchronized batch normalization" if self.synchronize_batch_norm else ""
            parts.insert(0, f"{self.devices.replicas} devices{own}{normalization}")
        return ", ".join(parts)


def choose_settings(training: TrainingConfig, stack: Sequence[Step], steps_per_epoch: int) -> Runtime:
    """The settings for a run: the user's where given, else a fixed rule for the device.

    The rule looks at nothing that is timed, because another choice can change the last bits of a result.

    Args:
        stack: The network, see `ModelConfig.trace`.

    Raises:
        CnnkitError: if TensorFlow runs in this process already, with other settings than the config's.
        UsageError: if the config turns XLA off where the network cannot be trained without it.
    """
    tensorflow = load_tensorflow()
    gpus = tensorflow.config.list_physical_devices("GPU")
    device = "GPU" if gpus else "CPU"
    devices = open_devices(training.strategy)
    several = devices.replicas > 1
    onednn, threads = onednn_in_use(), threads_in_use(tensorflow)
    _check_process(training, onednn, threads)
    dtype_policy: str = training.dtype_policy
    if dtype_policy == "auto":
        dtype_policy = _policy_for(tensorflow, gpus, training.scales_loss)
    needing = None if device == "GPU" else needing_xla(stack, dtype_policy, onednn)
    if training.jit == "off" and needing is not None:
        raise UsageError(f"training.jit is off, but {needing}", "Leave it at `auto`, which turns XLA on here.")
    if several and (training.jit == "on" or needing is not None):
        raise UsageError(
            f"{devices.replicas} devices train together without XLA, but {needing or 'training.jit is on'}",
            "Leave `training.jit` at `auto`, or write `training.strategy: one_device`.",
        )
    if several:
        jit_compile, reason = False, "several devices"
    elif training.jit != "auto":
        jit_compile, reason = training.jit == "on", "training.jit"
    elif device == "GPU":
        jit_compile, reason = True, "XLA is faster on a GPU"
    elif needing is not None:
        jit_compile, reason = True, needing
    else:
        jit_compile, reason = False, "XLA is slower on a CPU"
    steps = training.steps_per_execution
    if steps == "auto":
        steps = max(1, min(STEPS_PER_EXECUTION[device], steps_per_epoch))
    synchronize = training.synchronize_batch_norm != "off"
    fused = training.fused_activations == "on"
    if training.fused_activations == "auto":
        # Where there are none, the numbers stay those of Keras' own operations, to the last bit.
        fused = device == "CPU" and not jit_compile and bool(multiplies_bfloat16())
    # XLA makes that pass, and several devices train without it.
    fused = fused and not several
    # XLA and GPUs have kernels of their own, so that a config that says so for CPUs trains there as well.
    forward = training.forward_filter_gradients == "on" and device == "CPU" and not jit_compile
    return Runtime(
        *(device, jit_compile, int(steps), reason, dtype_policy, threads, onednn, devices, synchronize, fused, forward)
    )


def _policy_for(tensorflow: Any, gpus: Sequence[Any], scaled: bool) -> str:
    """The dtype policy for the device: half precision where tensor cores make it several times faster.

    Args:
        gpus: The GPUs; with several, the oldest decides.
        scaled: Whether the optimizer scales the loss itself, as mixed_float16 does, too.
    """
    details = [tensorflow.config.experimental.get_device_details(gpu) for gpu in gpus]
    capabilities = [found.get("compute_capability") for found in details]
    if not capabilities or None in capabilities:
        return "float32"
    oldest = min(tuple(capability) for capability in capabilities)
    if oldest >= (8, 0):
        # It has the range of float32, so that no loss needs scaling.
        return "mixed_bfloat16"
    return "mixed_float16" if oldest >= (7, 0) and not scaled else "float32"


def _check_process(training: TrainingConfig, onednn: bool, threads: int) -> None:
    """A config's explicit wish that comes too late for this process is an error, not a silent difference."""
    hint = "These hold for a whole process; train it in a new one."
    if training.threads not in ("auto", threads) and not threads_of_user():
        raise CnnkitError(
            f"training.threads is {training.threads}, but TensorFlow runs already with {threads} in this process", hint
        )
    wanted = {"auto": onednn, "on": True, "off": False}[training.onednn]
    # A TensorFlow without oneDNN cannot do otherwise; what runs is recorded.
    if onednn != wanted and not set_by_user(ONEDNN) and onednn_when_loaded() != wanted:
        raise CnnkitError(
            f"training.onednn is `{training.onednn}`, but TensorFlow runs already with oneDNN {on_or_off(onednn)} in "
            "this process",
            hint,
        )
