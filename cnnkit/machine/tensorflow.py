"""Device, threads, oneDNN and XLA: what must be set before TensorFlow loads, and what is chosen after."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from typing import TYPE_CHECKING, Any, Literal

from cnnkit.errors import CnnkitError, UsageError
from cnnkit.machine import garbage, memory, processor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


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


def onednn_when_loaded() -> bool | None:
    """Whether oneDNN was asked for when TensorFlow loaded; None where TensorFlow decides, or was loaded by others."""
    return _Process.onednn_when_loaded


def onednn_in_use() -> bool:
    """Whether TensorFlow, which is loaded, computes with oneDNN."""
    try:
        # There is no public name for it.
        from tensorflow.python.util import _pywrap_util_port

        return bool(_pywrap_util_port.IsMklEnabled())
    except (ImportError, AttributeError):
        return os.environ.get(ONEDNN) == "1"


def bfloat16_hindrance() -> str | None:
    """Why TensorFlow, which is loaded, does not multiply bfloat16 by instructions of the processor; None where it does.

    Only oneDNN uses them. TensorFlow's own operations are slow, and round partial sums to bfloat16.
    """
    multiplies = processor.multiplies_bfloat16()
    if multiplies is None:
        return "the system does not say whether the processor has instructions for bfloat16"
    if not multiplies:
        return "this processor has no instructions for bfloat16"
    return None if onednn_in_use() else "TensorFlow computes without oneDNN, and so without instructions for bfloat16"


def threads_in_use(tensorflow: Any) -> int:
    """Threads that compute one operation together."""
    return int(tensorflow.config.threading.get_intra_op_parallelism_threads()) or _threads_of_tensorflow()


def _threads_of_tensorflow() -> int:
    """What TensorFlow does where nothing is set: it knows which cores it may run on, but no quota."""
    return threads_of_user() or processor.schedulable_cores()


def threads_of_user() -> int:
    """The user's TF_NUM_INTRAOP_THREADS; 0 where it says nothing."""
    value = os.environ.get(THREADS, "")
    return int(value) if value.isdecimal() else 0


def _check_threads_of_user() -> None:
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
    return threads_of_user() or (processor.usable_cores() if _Process.threads == "auto" else _Process.threads)


def load_tensorflow() -> Any:
    """TensorFlow, imported with the right environment, and Keras in its standard state."""
    _check_threads_of_user()
    _check_address_space()
    set_environment()
    # Before Keras is imported: without the other backend's package, that would fail.
    _check_backend(os.environ["KERAS_BACKEND"])
    if not _Process.loaded and "tensorflow" not in sys.modules and os.environ.get(ONEDNN) in ("0", "1"):
        _Process.onednn_when_loaded = os.environ[ONEDNN] == "1"
    _Process.loaded = True
    with standard_error_on_failure(), _not_importable(UNUSED_BY_KERAS):
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
    limit = memory.address_space()
    if limit is not None and limit < memory.LEAST_ADDRESS_SPACE:
        raise CnnkitError(
            f"the limit on virtual memory is {limit / 1e9:.1f} GB, but TensorFlow needs "
            f"{memory.LEAST_ADDRESS_SPACE / 1e9:.0f} GB, most of which it does not use",
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
def standard_error_on_failure() -> Iterator[None]:
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
