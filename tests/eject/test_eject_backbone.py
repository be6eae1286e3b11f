"""Scripts of configs with a backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ejected import as_module, figures, run_script

from cnnkit.config.load import load_config
from cnnkit.eject import eject
from cnnkit.errors import UsageError
from cnnkit.training.model import build_model

CONFIG = """
data: {{name: digits}}
model:
  layers:
    - Branches: {{paths: [[], [], []]}}
    - UpSampling2D: 4
    - Backbone: {{{backbone}}}
    - GlobalAveragePooling2D
    - Dense: {{units: classes, activation: softmax}}
"""


def written(folder: Path, backbone: str) -> Path:
    file = folder / "net.yaml"
    file.write_text(CONFIG.format(backbone=backbone))
    return file


@pytest.mark.long
@pytest.mark.parametrize(
    "backbone",
    [
        "name: MobileNetV2, weights: null, until: block_3_project_BN",
        "name: VGG16, weights: null, trainable: false, until: block2_pool",
        "name: MobileNetV3Small, weights: null, until: multiply_1",
        "name: EfficientNetB0, weights: null, until: block2a_expand_activation",
        "name: ConvNeXtTiny, weights: null, until: convnext_tiny_stage_0_block_0_gelu",
    ],
)
def test_a_script_computes_what_cnnkit_does(backbone: str, tmp_path: Path) -> None:
    loaded = load_config(str(written(tmp_path, backbone)), ["training.dtype_policy=float32"])
    module = as_module(eject(loaded))
    first = build_model(loaded.config, loaded.steps, loaded.info.target, None)
    second = module.build_model()
    module.draw_weights(second)
    assert first.count_params() == second.count_params()
    assert [w.shape for w in first.trainable_weights] == [w.shape for w in second.trainable_weights]
    images = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 1)).astype("float32")
    for training in (False, True):
        np.testing.assert_allclose(first(images, training=training), second(images, training=training), rtol=1e-4)


def test_a_script_calls_keras_applications_and_its_preprocessing(tmp_path: Path) -> None:
    script = eject(load_config(str(written(tmp_path, "name: MobileNetV2, until: block_2_add"))))
    call = script[script.index("x = backbone(") :].split("GlobalAverage")[0]
    for part in (
        "keras.applications.MobileNetV2",
        "keras.applications.mobilenet_v2.preprocess_input",
        'weights="imagenet"',
        'until="block_2_add"',
        "keeps_statistics=True",
    ):
        assert part in call
    compile(script, "script.py", "exec")
    # What Keras numbers by what was built before is told by its place.
    other = eject(load_config(str(written(tmp_path, "name: MobileNetV3Small, until: activation_3, weights: null"))))
    assert "until=-" in other


def test_weights_that_no_script_reads_are_refused(tmp_path: Path) -> None:
    for weights in ("own.keras", "run"):
        file = written(tmp_path, f"name: MobileNetV2, weights: {weights}")
        with pytest.raises(UsageError, match="a script cannot begin MobileNetV2 with the weights in"):
            eject(load_config(str(file)))
    with pytest.raises(UsageError, match="EfficientNet"):
        eject(load_config(str(written(tmp_path, "name: EfficientNetB0, weights: own.h5"))))
    script = eject(load_config(str(written(tmp_path, "name: MobileNetV2, weights: own.h5"))))
    assert f'weights="{tmp_path / "own.h5"}"' in script


@pytest.mark.long
def test_stages_train_some_of_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first freezes all of it; then its last two convolutions learn, the earlier of them at half the rate."""
    file = written(tmp_path, "name: VGG16, weights: null, until: block2_pool")
    stages = (
        "[{epochs: 1, freeze: Backbone}, {epochs: 2, unfreeze: [block2]},"
        " {epochs: 1, unfreeze: all, learning_rate: 1.0e-3}]"
    )
    settings = [
        f"training.stages={stages}",
        "training.layer_decay=0.5",
        "training.optimizer={SGD: {learning_rate: 0.01, momentum: 0.9}}",
        "training.tensorboard=false",
        "training.dtype_policy=float32",
    ]
    loaded = load_config(str(file), settings)
    expected = figures(loaded, tmp_path)
    measured, _ = run_script(eject(loaded), tmp_path, monkeypatch)
    assert len(expected["loss"]) == 4
    for name in ("loss", "val_loss"):
        assert measured[name] == pytest.approx(expected[name], rel=1e-3), name
