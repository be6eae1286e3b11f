"""A short script that runs an exported network without cnnkit."""

from __future__ import annotations

from cnnkit.export.formats import OUTPUT
from cnnkit.export.inputs import given_to
from cnnkit.export.places import Places
from cnnkit.runs.trained import TrainedRun

#: Stands for the name of the network's input.
_INPUT = "INPUT"

#: For each format: what is imported, and the lines that make `outputs` of `images`.
_RUN = {
    "onnx": (
        "import onnxruntime",
        'network = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])\n'
        f'outputs = network.run(["{OUTPUT}"], {{"{_INPUT}": images}})[0]',
    ),
    "saved_model": (
        "import tensorflow as tf",
        "network = tf.saved_model.load(str(file))\n"
        f'outputs = network.signatures["serving_default"]({_INPUT}=tf.constant(images))["{OUTPUT}"].numpy()',
    ),
    "litert": (
        "from ai_edge_litert.interpreter import Interpreter",
        f'network = Interpreter(str(file)).get_signature_runner()\noutputs = network({_INPUT}=images)["{OUTPUT}"]',
    ),
    "openvino": (
        "import openvino",
        "# Without the hint, some processors compute in bfloat16.\n"
        'network = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})\n'
        f'outputs = network({{"{_INPUT}": images}})["{OUTPUT}"]',
    ),
}


def script_for(places: Places, trained: TrainedRun) -> str:
    """The script's text; it finds the network beside itself.

    Args:
        places: Where the files will lie.
    """
    format_, sample = places.format_, trained.interface.sample
    given = given_to(trained.interface)
    imported, run = (text.replace(_INPUT, sample.input_name) for text in _RUN[format_.name])
    code = "\n".join([run, *trained.task.answers(trained.interface).script_lines])
    further, package = given.further
    imported = "\n".join(line for line in (imported, further) if line)
    installed = f"{format_.installed} {package}".strip()
    modules = "\n".join(f"import {name}" for name in sorted(("json", "pathlib", "sys", *given.imports)))
    return f'''\
"""{given.purpose}, {given.values}: python SCRIPT {given.argument}

It needs `pip install {installed}`. {given.about}
"""
{modules}

import numpy as np
{imported}
{given.functions}
if not sys.argv[1:]:
    sys.exit(__doc__.replace("SCRIPT", sys.argv[0]))
file = pathlib.Path(__file__).with_name({places.main.name!r})
facts = json.loads(pathlib.Path(f"{{file}}.json").read_text("utf-8"))
classes = facts["classes"]
{given.reading}
{code}
'''
