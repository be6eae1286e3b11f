"""Device, threads, oneDNN and XLA: what must be set before TensorFlow loads, and what is chosen after."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import sys
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnkit import garbage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnnkit.config.training import TrainingConfig
    from cnnkit.layers.base import Layer

#: Set before TensorFlow loads, unless the user has set them.
ENVIRONMENT = {
    # ~/.keras/keras.json may name another backend.
    "KERAS_BACKEND": "tensorflow",
    # TensorFlow turns oneDNN off on processors with AVX2 only, where it is a third faster.
    "TF_ENABLE_ONEDNN_OPTS": "1",
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


@dataclass(frozen=True)
class Runtime:
    """The settings that a run uses."""

    device: str
    jit_compile: bool
    steps_per_execution: int
    reason: str


def load_tensorflow() -> Any:
    """TensorFlow, imported with the right environment, and Keras in its standard state."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with _standard_error_on_failure(), _not_importable(UNUSED_BY_KERAS):
        import tensorflow
    tensorflow.get_logger().setLevel("ERROR")
    import absl.logging
    import keras

    absl.logging.set_verbosity(absl.logging.ERROR)

    if keras.backend.backend() != "tensorflow":
        from cnnkit.errors import CnnkitError

        raise CnnkitError(
            f"Keras runs on the backend `{keras.backend.backend()}`, but cnnkit needs tensorflow",
            "Unset KERAS_BACKEND, or set it to tensorflow.",
        )
    # A user's keras.json must not change what a config means.
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    garbage.look_as_usual()
    return tensorflow


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


def choose(training: TrainingConfig, layers: Sequence[Layer], steps_per_epoch: int) -> Runtime:
    """The settings for a run: the user's where given, else a fixed rule for the device.

    The rule looks at nothing that is timed, because another choice can change the last bits of a result.
    """
    tensorflow = load_tensorflow()
    device = "GPU" if tensorflow.config.list_physical_devices("GPU") else "CPU"
    needing_xla = [type(layer).__name__ for layer in layers if layer.needs_xla_on_cpu()]
    if training.jit != "auto":
        jit_compile, reason = training.jit == "on", "training.jit"
    elif device == "GPU":
        jit_compile, reason = True, "XLA is faster on a GPU"
    elif needing_xla:
        jit_compile, reason = True, f"TensorFlow can train {needing_xla[0]} as configured on a CPU only with XLA"
    else:
        jit_compile, reason = False, "XLA is slower on a CPU"
    steps = training.steps_per_execution
    if steps == "auto":
        steps = max(1, min(STEPS_PER_EXECUTION[device], steps_per_epoch))
    return Runtime(device, jit_compile, int(steps), reason)


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
        "processor": processor(),
        "cores": os.cpu_count(),
        "devices": [device.name for device in tensorflow.config.list_physical_devices()],
        "threads": {
            "inter_op": tensorflow.config.threading.get_inter_op_parallelism_threads(),
            "intra_op": tensorflow.config.threading.get_intra_op_parallelism_threads(),
        },
        "variables": {name: os.environ.get(name) for name in ENVIRONMENT},
        "command": sys.argv,
        "git_commit": git_commit(),
    }


def processor() -> str:
    """The processor's model name."""
    try:
        with open("/proc/cpuinfo") as stream:
            for line in stream:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


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
