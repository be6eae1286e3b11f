"""Device, threads, oneDNN and XLA: what must be set before TensorFlow loads, and what is chosen after."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import sys
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cnnkit.errors import CnnkitError, UsageError
from cnnkit.machine import garbage, processor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnnkit.config.training import TrainingConfig
    from cnnkit.layers.stack import Step

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
#: TensorFlow's own variable for the number of threads; cnnkit reads it and does not set it.
THREADS = "TF_NUM_INTRAOP_THREADS"

#: The same for operations that run beside each other.
INTEROP_THREADS = "TF_NUM_INTEROP_THREADS"

#: Set before TensorFlow loads, unless the user has set them.
ENVIRONMENT = {
    # ~/.keras/keras.json may name another backend.
    "KERAS_BACKEND": "tensorflow",
    # TensorFlow turns oneDNN off on processors with AVX2 only, where it is a third faster.
    ONEDNN: "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # A notebook beside the run may want some of the GPU's memory.
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}

#: What Keras, and the old Keras inside TensorFlow, import wherever it is installed, for plots and wrappers that cnnkit
#: does not use. Neither depends on them. Together they take a third of the time in which TensorFlow loads.
UNUSED_BY_KERAS = ("matplotlib", "pandas", "scipy", "sklearn")

#: Steps between two returns to Python. More saves nothing measurable and makes progress jumpy.
STEPS_PER_EXECUTION = {"CPU": 8, "GPU": 32}

#: Bounds of a batch in validation, evaluation and prediction: images, and bytes of all their activations.
LARGEST_INFERENCE_BATCH = 500
INFERENCE_BYTES = 768 * 1024**2

#: Fields of the `training` section that say how to compute, not what.
FIELDS = ("jit", "steps_per_execution", "dtype_policy", "threads", "onednn")


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
    """

    device: str
    jit_compile: bool
    steps_per_execution: int
    reason: str
    dtype_policy: str = "float32"
    threads: int = 1
    onednn: bool = True

    def as_fields(self) -> dict[str, Any]:
        """The values of FIELDS that stand for these settings."""
        return {
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
        return ", ".join(parts)


class _Process:
    """What is settled once for the whole process, when TensorFlow loads."""

    #: Variables that cnnkit set, not the user.
    set_here: dict[str, str] = {}
    #: What configs have asked for.
    onednn: Literal["auto", "on", "off"] = "auto"
    threads: int | Literal["auto"] = "auto"
    loaded = False
    #: Whether oneDNN was asked for when TensorFlow loaded; None where TensorFlow decides, or was loaded by others.
    onednn_when_loaded: bool | None = None


def on_or_off(value: bool) -> Literal["on", "off"]:
    return "on" if value else "off"


def request(onednn: Literal["auto", "on", "off"] = "auto", threads: int | Literal["auto"] = "auto") -> None:
    """Says what the next `load_tensorflow` is to set for the whole process.

    Called before anything loads TensorFlow; what runs already stays as it is, and `choose` says so.
    """
    _Process.onednn, _Process.threads = onednn, threads


def set_by_user(name: str) -> bool:
    """Whether an environment variable has a value that cnnkit did not give it."""
    return name in os.environ and os.environ[name] != _Process.set_here.get(name)


def environment_of_user() -> dict[str, str]:
    """The environment variables without those that cnnkit has set."""
    return {name: value for name, value in os.environ.items() if name not in ENVIRONMENT or set_by_user(name)}


def set_environment() -> None:
    """Sets what TensorFlow reads while it loads, where the user has not."""
    for name, value in ENVIRONMENT.items():
        if name == ONEDNN:
            if _Process.onednn == "off":
                value = "0"
            elif _Process.onednn == "auto" and not onednn_helps():
                continue
        # An empty variable says nothing, to Keras neither.
        if not os.environ.get(name):
            os.environ[name] = _Process.set_here[name] = value


def onednn_helps() -> bool:
    """Whether oneDNN is faster than what TensorFlow does without it: on x86 processors with AVX2.

    On others, TensorFlow's own rule is left to decide.
    """
    flags = processor.vector_flags()
    return processor.is_x86() and (flags is None or "avx2" in flags)


def onednn_in_use() -> bool:
    """Whether TensorFlow, which is loaded, computes with oneDNN."""
    try:
        # There is no public name for it.
        from tensorflow.python.util import _pywrap_util_port

        return bool(_pywrap_util_port.IsMklEnabled())
    except (ImportError, AttributeError):
        return os.environ.get(ONEDNN) == "1"


def threads_in_use(tensorflow: Any) -> int:
    """Threads that compute one operation together."""
    return int(tensorflow.config.threading.get_intra_op_parallelism_threads()) or _threads_of_tensorflow()


def _threads_of_tensorflow() -> int:
    """What TensorFlow does where nothing is set: it knows which cores it may run on, but no quota."""
    return _threads_variable() or processor.schedulable_cores()


def _threads_variable() -> int:
    """The user's TF_NUM_INTRAOP_THREADS; 0 where it says nothing."""
    value = os.environ.get(THREADS, "")
    return int(value) if value.isdecimal() else 0


def _check_threads_variables() -> None:
    """TensorFlow starts as many threads as its variables say, and dies of too many.

    Raises:
        UsageError: if one says more than a config may.
    """
    for name in (THREADS, INTEROP_THREADS):
        value = os.environ.get(name, "")
        if value.isdecimal() and (len(value) > 9 or int(value) > processor.MOST_THREADS):
            raise UsageError(
                f"the environment variable {name} is {value[:30]}; expected at most {processor.MOST_THREADS:,} threads",
                "Unset it: cnnkit starts a thread for each core that it may use.",
            )


def _wanted_threads() -> int:
    return _threads_variable() or (processor.usable_cores() if _Process.threads == "auto" else _Process.threads)


def load_tensorflow() -> Any:
    """TensorFlow, imported with the right environment, and Keras in its standard state."""
    _check_threads_variables()
    _check_address_space()
    set_environment()
    # Before Keras is imported: without the other backend's package, that would fail.
    _check_backend(os.environ["KERAS_BACKEND"])
    if not _Process.loaded and "tensorflow" not in sys.modules and os.environ.get(ONEDNN) in ("0", "1"):
        _Process.onednn_when_loaded = os.environ[ONEDNN] == "1"
    _Process.loaded = True
    with _standard_error_on_failure(), _not_importable(UNUSED_BY_KERAS):
        import tensorflow
    tensorflow.get_logger().setLevel("ERROR")
    import absl.logging
    import keras

    absl.logging.set_verbosity(absl.logging.ERROR)

    # Somebody may have imported it before.
    _check_backend(keras.backend.backend())
    if threads_in_use(tensorflow) != _wanted_threads():
        # After the first operation it is too late; `choose` says so where it matters.
        with contextlib.suppress(RuntimeError):
            tensorflow.config.threading.set_intra_op_parallelism_threads(_wanted_threads())
    # A user's keras.json must not change what a config means.
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    garbage.look_as_usual()
    return tensorflow


def _check_backend(name: str) -> None:
    """Raises CnnkitError where Keras runs, or is to run, on something else than TensorFlow."""
    if name != "tensorflow":
        raise CnnkitError(
            f"Keras is to run on the backend `{name}`, but cnnkit needs tensorflow",
            "Unset the environment variable KERAS_BACKEND, or set it to tensorflow.",
        )


def _check_address_space() -> None:
    """Where a limit leaves TensorFlow too little room, it ends the process from within, or hangs when it ends."""
    limit = processor.address_space()
    if limit is not None and limit < processor.LEAST_ADDRESS_SPACE:
        raise CnnkitError(
            f"the limit on virtual memory is {limit / 1e9:.1f} GB, but TensorFlow needs "
            f"{processor.LEAST_ADDRESS_SPACE / 1e9:.0f} GB, most of which it does not use",
            "Raise it in this shell: ulimit -v unlimited. What limits memory in earnest is a container or a cgroup.",
        )


@contextlib.contextmanager
def _not_importable(packages: Sequence[str]) -> Iterator[None]:
    """Inside the block, optional imports of the packages find none; what is loaded already stays so."""
    hidden = [name for name in packages if name not in sys.modules]
    # Python's own mark of a module that is not to be found (reference of the import system, 5.3.1).
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


@contextlib.contextmanager
def _standard_error_on_failure() -> Iterator[None]:
    """Holds back what native code writes to standard error, and shows it if the block fails.

    TensorFlow 2.21 greets on standard error while it loads, whatever TF_CPP_MIN_LOG_LEVEL says.
    """
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error to hold back
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(kept, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def has_gpu() -> bool:
    """Whether TensorFlow computes on a GPU, whose memory is its own."""
    return bool(load_tensorflow().config.list_physical_devices("GPU"))


def choose(training: TrainingConfig, stack: Sequence[Step], steps_per_epoch: int) -> Runtime:
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
    onednn, threads = onednn_in_use(), threads_in_use(tensorflow)
    _check_process(training, onednn, threads)
    dtype_policy: str = training.dtype_policy
    if dtype_policy == "auto":
        dtype_policy = _policy_for(tensorflow, gpus, training.optimizer.loss_scale_factor is not None)
    needing = None if device == "GPU" else needing_xla(stack, dtype_policy, onednn)
    if training.jit == "off" and needing is not None:
        raise UsageError(f"training.jit is off, but {needing}", "Leave it at `auto`, which turns XLA on here.")
    if training.jit != "auto":
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
    return Runtime(device, jit_compile, int(steps), reason, dtype_policy, threads, onednn)


def needing_xla(stack: Sequence[Step], dtype_policy: str, onednn: bool) -> str | None:
    """Why the network cannot be trained on a CPU without XLA; None where it can.

    TensorFlow's own kernels lack some layouts, strides and dilations. oneDNN's have them, but in float32 alone; and for
    some convolutions they write where they should not.
    """
    from cnnkit.layers.resolved import leaf_steps

    for step in leaf_steps(stack):
        layer = step.layer
        if layer.needs_xla_on_cpu() and not (onednn and (layer.dtype or dtype_policy) == "float32"):
            return f"TensorFlow can train {layer.kind} as configured on a CPU only with XLA"
        if onednn and layer.breaks_onednn(step.input_shape):
            return f"oneDNN cannot be trusted with {layer.kind} as configured"
    return None


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
    if training.threads not in ("auto", threads) and not _threads_variable():
        raise CnnkitError(
            f"training.threads is {training.threads}, but TensorFlow runs already with {threads} in this process", hint
        )
    wanted = {"auto": onednn, "on": True, "off": False}[training.onednn]
    # A TensorFlow without oneDNN cannot do otherwise; what runs is recorded.
    if onednn != wanted and not set_by_user(ONEDNN) and _Process.onednn_when_loaded != wanted:
        raise CnnkitError(
            f"training.onednn is `{training.onednn}`, but TensorFlow runs already with oneDNN {on_or_off(onednn)} in "
            "this process",
            hint,
        )


def inference_batch_size(model: Any) -> int:
    """Images per batch where nothing is learned: many, to save overhead, but with bounded memory.

    Args:
        model: A built Keras model.
    """
    values = sum(math.prod(layer.output.shape[1:]) for layer in model.layers)
    return int(max(1, min(LARGEST_INFERENCE_BATCH, INFERENCE_BYTES // (4 * max(values, 1)))))


def describe_environment() -> dict[str, Any]:
    """Versions, device and settings, for environment.json and `doctor`."""
    tensorflow = load_tensorflow()
    import keras
    import numpy

    from cnnkit import __version__

    return {
        "cnnkit": __version__,
        "python": platform.python_version(),
        "tensorflow": tensorflow.__version__,
        "keras": keras.__version__,
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "processor": processor.processor(),
        "cores": os.cpu_count(),
        "usable_cores": processor.usable_cores(),
        "devices": [device.name for device in tensorflow.config.list_physical_devices()],
        "onednn": onednn_in_use(),
        "threads": {
            "inter_op": tensorflow.config.threading.get_inter_op_parallelism_threads(),
            "intra_op": threads_in_use(tensorflow),
        },
        "variables": variables(),
        "command": sys.argv,
        "git_commit": git_commit(),
    }


def variables() -> dict[str, str | None]:
    """The environment variables that decide how TensorFlow computes."""
    return {name: os.environ.get(name) for name in (*ENVIRONMENT, THREADS)}


def git_commit() -> str | None:
    """The commit of the folder that cnnkit runs in, with `+changes` where files differ from it; None outside git."""
    import subprocess

    def run(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=5, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = run("rev-parse", "HEAD")
    if commit is None:
        return None
    return f"{commit}+changes" if run("status", "--porcelain", "--untracked-files=no") else commit
