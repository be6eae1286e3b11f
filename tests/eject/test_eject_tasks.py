"""Scripts of tasks: one that has its own parts, and one for which no script can be written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cnnkit.config.load import load_config
from cnnkit.eject import eject
from cnnkit.errors import UsageError
from cnnkit.format.script import Argument, Call
from cnnkit.task import Task
from cnnkit.tasks.classification import Classification

CONFIG = """\
data: {name: digits}
model: {layers: [Flatten, {Dense: {units: classes, activation: softmax}}]}
training: {epochs: 1}
"""


def test_what_a_task_says_stands_in_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.yaml").write_text(CONFIG)
    loaded = load_config(str(tmp_path / "net.yaml"))
    usual = Classification.script

    def script(self: Classification, *arguments: Any) -> Any:
        return replace(
            usual(self, *arguments),
            targets="tf.constant(labels)",
            validation="",
            metrics=[Call("keras.metrics.Mean", (Argument("name", "share"),))],
            functions=["def changed(model):\n    return model\n"],
            before_compiling=["model = changed(model)"],
            weights=["class_weights = 2"],
            of_batch="class_weights * targets",
            result=['print("done")'],
        )

    monkeypatch.setattr(Classification, "script", script)
    text = eject(loaded)
    compile(text, "script.py", "exec")
    for line in (
        "images, labels = tf.constant(images), tf.constant(labels)",
        'metrics=[keras.metrics.Mean(name="share")]',
        "def changed(model):",
        "weights = class_weights * targets",
        "validation_data=validation,",
    ):
        assert line in text
    main = text[text.index("def main") :]
    assert main.index("model = changed(model)") < main.index("model.compile(") < main.index("class_weights = 2")
    assert text.split("\n\n\n")[-2].endswith('    print("done")')
    assert "one_hot" not in text
    assert "CategoricalAccuracy" not in text


def test_a_task_without_a_script_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.yaml").write_text(CONFIG)
    monkeypatch.setattr(Classification, "script", Task.script)
    with pytest.raises(UsageError, match="no script can be written of a config of the task classification"):
        eject(load_config(str(tmp_path / "net.yaml")))
