"""Which settings the rule chooses, on devices that tests make up, and what reaches TensorFlow in a new process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from cnnkit.config.training import TrainingConfig
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.format.shapes import Shape
from cnnkit.layers.convolution import Conv2D, DepthwiseConv2D
from cnnkit.layers.stack import Step
from cnnkit.machine import processor
from cnnkit.machine import tensorflow as runtime
from cnnkit.machine.devices import Devices
from cnnkit.training import settings
from cnnkit.training.settings import SETTINGS, Runtime, choose_settings


class Machine:
    """A TensorFlow that has just been loaded, on made-up devices.

    Args:
        gpus: The compute capability of each GPU; None for one that does not say.
    """

    def __init__(self, patch: pytest.MonkeyPatch, gpus: Sequence[tuple[int, int] | None] = (), onednn: bool = True):
        threading = SimpleNamespace(get_intra_op_parallelism_threads=lambda: 0)
        details = [{} if capability is None else {"compute_capability": capability} for capability in gpus]
        config = SimpleNamespace(
            list_physical_devices=lambda kind: list(range(len(gpus))) if kind == "GPU" else ["CPU"],
            experimental=SimpleNamespace(get_device_details=lambda gpu: details[gpu]),
            threading=threading,
        )
        patch.setattr(settings, "load_tensorflow", lambda: SimpleNamespace(config=config))
        patch.setattr(settings, "onednn_in_use", lambda: onednn)
        patch.setattr(processor, "schedulable_cores", lambda: 6)
        patch.setattr(processor, "vector_flags", lambda: ("avx2",))
        patch.setattr(runtime._Process, "onednn_when_loaded", onednn)
        for name in (runtime.ONEDNN, runtime.THREADS):
            patch.delenv(name, raising=False)


def chosen(layers: Sequence[Any] = (), steps: int = 1000, shape: Shape = (8, 8, 3), **training: Any) -> Runtime:
    stack = [Step(layer, shape, layer.output_shape(shape)) for layer in layers]
    return choose_settings(TrainingConfig.model_validate(training), stack, steps)


CHANNELS_FIRST = Conv2D.model_validate({"filters": 2, "kernel_size": 3, "data_format": "channels_first"})
UNEQUAL_STRIDES = DepthwiseConv2D.model_validate({"kernel_size": 3, "strides": [1, 2]})


@pytest.mark.parametrize(
    ("multiplies", "onednn", "hindrance"),
    [
        (True, True, None),
        (True, False, "without oneDNN"),
        (False, True, "no instructions"),
        (None, True, "does not say"),
    ],
)
def test_bfloat16_is_multiplied_by_instructions_that_onednn_uses(
    monkeypatch: pytest.MonkeyPatch, multiplies: bool | None, onednn: bool, hindrance: str | None
) -> None:
    monkeypatch.setattr(processor, "multiplies_bfloat16", lambda: multiplies)
    monkeypatch.setattr(runtime, "onednn_in_use", lambda: onednn)
    found = runtime.bfloat16_hindrance()
    assert found is None if hindrance is None else hindrance in str(found)


def test_the_rule_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch)
    assert chosen() == Runtime("CPU", False, 8, "XLA is slower on a CPU", "float32", 6, True)
    assert chosen(steps=3).steps_per_execution == 3
    assert chosen(steps_per_execution=50, steps=3).steps_per_execution == 50


def test_the_rule_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, [(8, 6)])
    found = chosen([CHANNELS_FIRST])
    assert (found.device, found.jit_compile, found.steps_per_execution) == ("GPU", True, 32)
    assert chosen(jit="off").jit_compile is False


@pytest.mark.parametrize(
    ("capabilities", "policy"),
    [
        ([(9, 0)], "mixed_bfloat16"),
        ([(8, 0)], "mixed_bfloat16"),
        ([(7, 5)], "mixed_float16"),
        ([(7, 0)], "mixed_float16"),
        ([(6, 1)], "float32"),
        ([None], "float32"),
        ([(8, 0), (7, 0)], "mixed_float16"),
        ([(10, 0), (9, 0)], "mixed_bfloat16"),
        ([], "float32"),
    ],
)
def test_half_precision_where_there_are_tensor_cores(
    monkeypatch: pytest.MonkeyPatch, capabilities: list[tuple[int, int] | None], policy: str
) -> None:
    Machine(monkeypatch, capabilities)
    assert chosen().dtype_policy == policy
    assert chosen(dtype_policy="float32").dtype_policy == "float32"


def test_activations_are_fused_where_the_processor_has_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch)
    assert chosen().fused_activations is False
    assert chosen(fused_activations="on").fused_activations is True
    for flags in (("avx2", "avx512_bf16"), ("asimd", "bf16")):
        monkeypatch.setattr(processor, "vector_flags", lambda flags=flags: flags)
        assert chosen().fused_activations is True
        assert chosen().as_fields()["fused_activations"] == "on"
        assert chosen(fused_activations="off").fused_activations is False
        # XLA fuses them by itself.
        assert chosen(jit="on").fused_activations is False
    Machine(monkeypatch, [(8, 0)])
    assert chosen().fused_activations is False
    # XLA makes the pass, without which several devices train together.
    monkeypatch.setattr(settings, "open_devices", lambda _: Devices("mirrored", local=2))
    assert chosen(fused_activations="on").fused_activations is False


def test_gradients_of_filters_go_forward_on_a_cpu_that_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """XLA would have to know the number of images at a time, and a GPU has other kernels."""
    Machine(monkeypatch)
    assert chosen().forward_filter_gradients is False
    assert chosen(forward_filter_gradients="on").as_fields()["forward_filter_gradients"] == "on"
    assert chosen(forward_filter_gradients="on", jit="on").forward_filter_gradients is False
    Machine(monkeypatch, [(8, 0)])
    assert chosen(forward_filter_gradients="on", jit="off").forward_filter_gradients is False


def test_a_loss_is_not_scaled_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = {"SGD": {"loss_scale_factor": 128.0}}
    Machine(monkeypatch, [(7, 5)])
    assert chosen(optimizer=scaled).dtype_policy == "float32"
    Machine(monkeypatch, [(8, 0)])
    assert chosen(optimizer=scaled).dtype_policy == "mixed_bfloat16"


@pytest.mark.parametrize("layer", [CHANNELS_FIRST, UNEQUAL_STRIDES])
@pytest.mark.parametrize(
    ("onednn", "policy", "own", "xla"),
    [
        (True, "float32", None, False),
        (False, "float32", None, True),
        (True, "mixed_bfloat16", None, True),
        (True, "float32", "mixed_float16", True),
        (True, "mixed_bfloat16", "float32", False),
    ],
)
def test_layers_without_a_kernel_turn_xla_on(
    monkeypatch: pytest.MonkeyPatch, layer: Any, onednn: bool, policy: str, own: str | None, xla: bool
) -> None:
    Machine(monkeypatch, onednn=onednn)
    layer = layer.model_copy(update={"dtype": own})
    found = chosen([layer], dtype_policy=policy)
    assert found.jit_compile is xla
    assert (type(layer).__name__ in found.reason) is xla
    if not xla:
        assert chosen([layer], dtype_policy=policy, jit="off").jit_compile is False
        return
    with pytest.raises(UsageError, match=rf"training\.jit is off, but .*{type(layer).__name__}"):
        chosen([layer], dtype_policy=policy, jit="off")


def test_what_comes_too_late_for_the_process_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch)
    assert chosen(threads=6, onednn="on").threads == 6
    with pytest.raises(CnnkitError, match=r"training\.threads is 2, but TensorFlow runs already with 6"):
        chosen(threads=2)
    with pytest.raises(CnnkitError, match="TensorFlow runs already with oneDNN on"):
        chosen(onednn="off")


def test_a_tensorflow_without_onednn_trains_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, onednn=False)
    monkeypatch.setattr(runtime._Process, "onednn_when_loaded", True)
    assert chosen(onednn="on").onednn is False


def test_the_users_variables_win_over_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, onednn=False)
    monkeypatch.setenv(runtime.ONEDNN, "0")
    monkeypatch.setenv(runtime.THREADS, "3")
    found = chosen(onednn="on", threads=2)
    assert (found.onednn, found.threads) == (False, 3)


def test_the_fields_of_the_settings_are_a_config_that_chooses_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, [(8, 0)])
    before = chosen()
    fields = before.as_fields()
    assert tuple(fields) == SETTINGS
    assert "auto" not in fields.values()
    assert chosen(**fields).as_fields() == fields


# --- New processes ------------------------------------------------------------------------------------

LOAD = """
import json, os, sys
from cnnkit.machine import processor
from cnnkit.machine import tensorflow as runtime
onednn, threads, cores = json.loads(sys.argv[1])
if cores:
    processor.usable_cores = lambda: cores
runtime.request(onednn, threads)
tensorflow = runtime.load_tensorflow()
tensorflow.linalg.matmul(tensorflow.ones((512, 512)), tensorflow.ones((512, 512)))
names = [open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")]
print(json.dumps({
    "onednn": runtime.onednn_in_use(),
    "threads": runtime.threads_in_use(tensorflow),
    "variable": os.environ.get(runtime.ONEDNN),
    "given_to_children": runtime.environment_of_user().get(runtime.ONEDNN),
    "set": int(tensorflow.config.threading.get_intra_op_parallelism_threads()),
    "workers": len(names),
}))
"""


def load(onednn: str = "auto", threads: int | str = "auto", cores: int = 0, **variables: str) -> dict[str, Any]:
    """What TensorFlow runs with in a new process that asks for these settings."""
    environment = {k: v for k, v in os.environ.items() if k not in (runtime.ONEDNN, runtime.THREADS)}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, json.dumps([onednn, threads, cores])],
        capture_output=True, text=True, timeout=300, env=environment | variables,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


needs_avx2 = pytest.mark.skipif(not runtime.onednn_helps(), reason="needs an x86 processor with AVX2")


@pytest.mark.parametrize(("inputs", "kernel_size", "strides"), [(16, 1, 2), (8, 1, 1), (8, 2, 2), (8, 3, 2)])
def test_strided_points_of_few_channels_turn_xla_on(
    monkeypatch: pytest.MonkeyPatch, inputs: int, kernel_size: int, strides: int
) -> None:
    Machine(monkeypatch)
    point = Conv2D.model_validate({"filters": 32, "kernel_size": 1, "strides": 2})
    assert chosen([point], shape=(8, 8, 15)).jit_compile
    other = Conv2D.model_validate({"filters": 32, "kernel_size": kernel_size, "strides": strides})
    assert not chosen([other], shape=(8, 8, inputs)).jit_compile
    Machine(monkeypatch, onednn=False)
    assert not chosen([point], shape=(8, 8, 15)).jit_compile


@pytest.fixture(scope="module")
def unasked() -> dict[str, Any]:
    """What TensorFlow runs with in a new process that asks for nothing."""
    return load()


@pytest.mark.long
@needs_avx2
def test_a_new_process_has_onednn_and_a_thread_per_core(unasked: dict[str, Any]) -> None:
    found = unasked
    assert found["onednn"] is True
    assert found["threads"] == processor.usable_cores()
    assert found["given_to_children"] is None
    if processor.usable_cores() == processor.schedulable_cores():
        assert found["set"] == 0  # left to TensorFlow, whose own default it is


@pytest.mark.long
@needs_avx2
def test_a_config_turns_onednn_off_and_sets_the_threads(unasked: dict[str, Any]) -> None:
    threads = unasked["threads"] + 3
    found = load("off", threads)
    assert found["onednn"] is False
    assert (found["threads"], found["set"]) == (threads, threads)
    # They are there.
    assert found["workers"] - unasked["workers"] == 3


@pytest.mark.long
def test_where_the_usable_cores_are_not_tensorflows_default_they_are_set() -> None:
    cores = processor.schedulable_cores() + 1
    assert load(cores=cores)["set"] == cores


@pytest.mark.long
@needs_avx2
def test_variables_that_the_user_has_set_win() -> None:
    found = load("on", 2, TF_ENABLE_ONEDNN_OPTS="0", TF_NUM_INTRAOP_THREADS="3")
    assert (found["onednn"], found["threads"], found["set"]) == (False, 3, 0)
    assert found["given_to_children"] == "0"


@pytest.mark.parametrize("name", ["jax", "numpy"])
def test_another_backend_of_keras_is_refused_before_keras_is_imported(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras' import would fail where the backend's package is missing."""
    monkeypatch.setenv("KERAS_BACKEND", name)
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(CnnkitError, match=f"backend `{name}`, but cnnkit needs tensorflow") as caught:
        runtime.load_tensorflow()
    assert "Unset the environment variable KERAS_BACKEND" in str(caught.value.hint)


def test_an_empty_variable_leaves_the_backend_to_cnnkit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "")
    runtime.set_environment()
    assert os.environ["KERAS_BACKEND"] == "tensorflow"


def test_a_limit_that_would_end_the_process_from_within_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (2_000_000_000, resource.RLIM_INFINITY))
    with pytest.raises(CnnkitError, match=r"virtual memory is 2\.0 GB, but TensorFlow needs 3 GB"):
        runtime.load_tensorflow()
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    runtime._check_address_space()


@pytest.mark.parametrize("name", ["TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"])
def test_more_threads_than_any_machine_has_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow takes the variables at their word, and ends with a segmentation fault."""
    monkeypatch.setenv(name, "1000000000")
    with pytest.raises(UsageError, match=f"{name} is 1000000000; expected at most 1,024 threads"):
        runtime.load_tensorflow()
