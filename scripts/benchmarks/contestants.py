"""What a contestant's process does: the table of kinds."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from benchmarks.gate import Gate


def main() -> None:
    """Reads what to do from standard input, and does it until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # What Keras and TensorFlow print must not come between the answers.
    os.dup2(2, 1)
    spec = json.loads(sys.stdin.readline())
    gate = Gate(sys.stdin, answers)
    _kinds()[spec.pop("kind")](gate, **spec)


def _kinds() -> dict[str, Any]:
    from benchmarks import cnnkit_side, keras_side, keras_unet, products, torch_recipe, torch_side

    return {
        "images": cnnkit_side.images,
        "trained-run": cnnkit_side.trained,
        "cnnkit": cnnkit_side.training,
        "cnnkit-pipeline": cnnkit_side.pipeline,
        "cnnkit-evaluation": cnnkit_side.evaluation,
        "keras": keras_side.tutorial_script,
        "keras-config": keras_side.config_script,
        "keras-unet": keras_unet.script,
        "keras-predict": keras_side.predict_script,
        "torch": torch_side.training_loop,
        "torch-recipe": torch_recipe.training_loop,
        "numpy-product": products.numpy_products,
        "tensorflow-product": products.tensorflow_products,
        "torch-product": products.torch_products,
    }
