"""A script of about ten lines that runs an exported network without cnnkit."""

from __future__ import annotations

from cnnkit.export.formats import INPUT, OUTPUT
from cnnkit.export.places import Places
from cnnkit.images.padding import NO_PADDING
from cnnkit.runs.trained import TrainedRun

#: For each format: what is imported, and the lines that make `outputs` of `images`.
_RUN = {
    "onnx": (
        "import onnxruntime",
        'network = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])\n'
        f'outputs = network.run(["{OUTPUT}"], {{"{INPUT}": images}})[0]',
    ),
    "saved_model": (
        "import tensorflow as tf",
        "network = tf.saved_model.load(str(file))\n"
        f'outputs = network.signatures["serving_default"]({INPUT}=tf.constant(images))["{OUTPUT}"].numpy()',
    ),
    "litert": (
        "from ai_edge_litert.interpreter import Interpreter",
        f'network = Interpreter(str(file)).get_signature_runner()\noutputs = network({INPUT}=images)["{OUTPUT}"]',
    ),
    "openvino": (
        "import openvino",
        "# Without the hint, some processors compute in bfloat16.\n"
        'network = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})\n'
        f'outputs = network({{"{INPUT}": images}})["{OUTPUT}"]',
    ),
}

#: Pillow's mode for as many channels.
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def script_for(places: Places, trained: TrainedRun) -> str:
    """The script's text; it finds the network beside itself.

    Args:
        places: Where the files will lie.
    """
    format_ = places.format_
    top, bottom, left, right = padding = trained.interface.padding
    height, width, channels = trained.interface.image_shape
    height, width = height - top - bottom, width - left - right
    imported, run = _RUN[format_.name]
    lines = [run, *trained.task.answers(trained.interface).script_lines]
    if padding != NO_PADDING:
        # The network takes them with a border of their outermost pixels.
        lines.insert(0, f'images = np.pad(images, ((0, 0), ({top}, {bottom}), ({left}, {right}), (0, 0)), "edge")')
    code = "\n".join(lines)
    image = f'Image.open("photo.jpg").convert("{_MODES.get(channels, "RGB")}").resize(({width}, {height}))'
    shape = f"[images, {height}, {width}, {channels}]"
    return f'''\
"""Asks the network beside this script about images, raw values from 0 to 255: python SCRIPT images.npy

It needs `pip install {format_.installed}`. images.npy holds {shape}, such as with Pillow:
np.save("images.npy", [np.asarray({image})])
"""
import json
import pathlib
import sys

import numpy as np
{imported}

file = pathlib.Path(__file__).with_name({places.main.name!r})
classes = json.loads(pathlib.Path(f"{{file}}.json").read_text("utf-8"))["classes"]
images = np.load(sys.argv[1]).astype("float32").reshape(-1, {height}, {width}, {channels})
{code}
'''
