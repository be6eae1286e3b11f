"""A config as one plain Keras script: data, augmentation, network and training, without cnnkit.

The script draws the same initial weights, visits the samples in the same order and changes them in the same way, so
that it learns what `cnnkit train` learns, up to rounding: cnnkit computes with faster forms of some of Keras' layers.
It differs in one thing: all images or texts are held in memory.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnkit.config.script_parts import ScriptParts
from cnnkit.config.staged import StagePlan, stage_plans
from cnnkit.eject.data import DataText, steps_text, write_batches, write_data
from cnnkit.eject.network import NetworkText, write_network
from cnnkit.eject.targets import target_text
from cnnkit.eject.text import IMPORTS, copied, defined_names, import_lines, literal, wrapped
from cnnkit.eject.training import TrainingText, write_trained, write_training
from cnnkit.errors import UsageError
from cnnkit.format.shapes import Shape
from cnnkit.layers.backbone import IMAGENET, Backbone
from cnnkit.layers.resolved import leaves
from cnnkit.layers.stack import Step
from cnnkit.layers.stack import head as head_of

if TYPE_CHECKING:
    from cnnkit.config.load import LoadedConfig
    from cnnkit.config.run import RunConfig
    from cnnkit.config.training import TrainingConfig

#: Names that a script may use beside those of its layers: what it defines itself, imports or copies.
_RESERVED = {
    "AUGMENTATION", "BATCH_SIZE", "BEST", "CLASSES", "CLASS_NAMES", "COLUMNS", "DATA", "EPOCHS", "FORMATS", "IGNORE",
    "IMAGE_SUFFIXES", "LEARNED", "LENGTH", "MASK_SUFFIXES", "MOST_PIXELS", "NAMED", "PADDING", "SEED", "SPLIT_WORDS",
    "SYSTEM_FOLDERS", "WORDS", "BadBox", "BadMask", "BestModel", "annotated_images", "as_array", "as_numbers",
    "augment", "best_model", "build_model", "divide", "done", "draw_weights", "image_pairs", "image_paths", "images_in",
    "inside", "learn_words", "load", "load_test", "main", "marks", "mean", "mean_ap", "measure_kernels", "moments",
    "named_layers", "normal", "on_class_numbers", "open_image", "open_mask", "order", "print_objects", "read_annotated",
    "read_image", "read_pair", "read_texts", "resized", "seed_of", "seeded", "smooth_training", "sorted_arrays",
    "text_files", "train_only", "training_batches", "variance", "vocabulary",
    *IMPORTS,
}  # fmt: skip
_COPIED_FROM = (
    "cnnkit.augmentation.box_layers",
    "cnnkit.augmentation.keras_layers",
    "cnnkit.images.boxes",
    "cnnkit.images.files",
    "cnnkit.data.boxes",
    "cnnkit.data.division",
    "cnnkit.data.images",
    "cnnkit.layers.functions",
    "cnnkit.layers.keras_initializers",
    "cnnkit.texts.words",
    "cnnkit.config.optimization.muon",
    "cnnkit.training.schedules",
    "cnnkit.training.smoothing",
)

_MOMENTS = '''\
def moments(images):
    """Mean and variance of each channel."""
    values = np.arange(256)
    found = []
    for channel in range(images.shape[-1]):
        counts = np.bincount(images[..., channel].ravel(), minlength=256)
        mean = counts @ values / counts.sum()
        found.append((mean, counts @ (values - mean) ** 2 / counts.sum()))
    means, variances = zip(*found)
    return list(means), list(variances)
'''

_DRAW = '''\
def draw_weights(model):
    """Draws all initial weights, each from a seed of its own, and gives dropout its seeds.

    A layer's seed follows from its kind, its sizes and how many of the same came before it, so that changing one layer
    leaves the others' weights as they are. Without this, Keras draws them one after another.
    """

    def made(layer):
        # Keras numbers the layers of a kind in the order in which they are made.
        number = layer.name.rpartition("_")[2]
        return int(number) if number.isdigit() else 0

    def draw(layer, *key):
        for name, initializer in list(vars(layer).items()):
            if not name.endswith("_initializer") or not hasattr(initializer, "seed"):
                continue
            part = name.removesuffix("_initializer")
            # A depthwise kernel is called so in one of Keras' layers and `kernel` in another.
            names = [f"{part}_kernel", part, *(["kernel"] if part == "depthwise" else [])]
            weight = next((getattr(layer, one) for one in names if hasattr(layer, one)), None)
            if weight is not None:
                seed = seed_of("weights", *key, name)
                drawn = type(initializer).from_config({**initializer.get_config(), "seed": seed})
                weight.assign(drawn(weight.shape, dtype=weight.dtype))
        if hasattr(layer, "seed_generator"):
            seed = seed_of("dropout", *key)
            layer.seed_generator.state.assign(keras.random.SeedGenerator(seed).state)
%(padding)s%(parts)s
    counts = collections.Counter()
    for layer in sorted(model.layers, key=made):
        if not layer.weights and not hasattr(layer, "seed"):
            continue
        sizes = [tuple(weight.shape) for weight in layer.weights] or [tuple(layer.input.shape[1:])]
        kind = f"{type(layer).__name__}{sizes}"
%(key)s
        draw(layer, key)
%(inside)s'''

#: For embeddings.
_PADDING = """\
        if hasattr(layer, "padding_idx"):
            vectors = np.array(layer.embeddings)
            vectors[layer.padding_idx] = 0
            layer.embeddings.assign(vectors)
"""

#: For layers that are made of layers.
_PARTS = """\
        if isinstance(layer, layers.SpectralNormalization):
            start = keras.initializers.TruncatedNormal(stddev=0.02, seed=seed_of("weights", *key, "vector_u"))
            layer.vector_u.assign(start(layer.vector_u.shape, dtype=layer.vector_u.dtype))
        for part in vars(layer).values() if not isinstance(layer, keras.Model) else []:
            if isinstance(part, layers.Layer):
                projects = isinstance(part, layers.EinsumDense)
                draw(part, *key, *([part.name] if projects else []))
"""

_KEY = """\
        key = f"{kind}#{counts[kind]}"
        counts[kind] += 1"""

_KEY_WITH_NAMES = """\
        key = NAMED.get(layer.name)
        if key is None:
            key = f"{kind}#{counts[kind]}"
            counts[kind] += 1"""

#: For networks that are one layer.
_INSIDE = """\
        for inner in inside(layer) if isinstance(layer, keras.Model) else []:
            # What was learned stays.
            learned = inner.get_weights() if layer.name in LEARNED else None
            draw(inner, key, inner.name)
            if learned is not None:
                inner.set_weights(learned)
"""

_LAYERS_INSIDE = '''\
def inside(network):
    """The layers of a network, those of networks in it instead of these."""
    for layer in network.layers:
        yield from inside(layer) if isinstance(layer, keras.Model) else [layer]
'''

_MEASURE = '''\
def measure_kernels(model, images):
    """Sets the kernels that whiten patches, from the patches of images."""
    for layer in model.layers:
        initializer = getattr(layer, "kernel_initializer", None)
        if isinstance(initializer, PatchWhitening):
            before = keras.Model(model.inputs[0], layer.input)
            arrived = np.asarray(before(images.astype(np.float32)))
            kernel = whitening_kernel(arrived, layer.kernel_size, layer.filters, initializer.epsilon)
            layer.kernel.assign(kernel)
'''


def eject(loaded: LoadedConfig) -> str:
    """The config's script.

    Raises:
        UsageError: if the script cannot hold what the config asks for.
    """
    config, info = loaded.config, loaded.info
    training = config.training
    _check_learned(loaded.steps)
    policy = "float32" if training.dtype_policy == "auto" else training.dtype_policy
    steps = config.steps_to_build(loaded.steps, info.values)
    resolved = [step.layer for step in steps]
    parts = config.task.script(training, head_of(resolved), info.target, config.mixes_labels)
    front, measured = _front(config, info.shape)
    reserved = _RESERVED | defined_names([*_COPIED_FROM, *parts.copied])
    network = write_network(steps, info.shape, policy, front, reserved, config.data.sample.input_dtype)
    data = write_data(config.data, info)
    jit = _jit(training, steps, policy)
    plans: list[StagePlan | None] = [None]
    if training.stages or training.layer_decay != 1:
        plans = [*stage_plans(training, loaded.steps)]
    written = [
        write_training(
            training if plan is None else plan.training, config.task, parts, jit, data.validated, network.leaves, plan
        )
        for plan in plans
    ]
    for plan, stage in zip(plans, written, strict=True):
        if plan is not None and training.stages:
            write_trained(plan, stage, network.leaves)
    functions = dict.fromkeys(function for stage in written for function in stage.functions)
    batches = write_batches(config.data, config.augmentation_in_training, info.target, parts)
    model = _model_functions(network, measured)
    main = _main(config, network, written, data, parts, measured, target_text(info.target).batch)
    texts = [*data.functions, *batches, *model, *functions, main, 'if __name__ == "__main__":\n    main()\n']
    body = "\n\n".join(text.rstrip("\n") + "\n" for text in texts)
    constants = [
        f"SEED = {config.seed}",
        f"BATCH_SIZE = {config.data.batch_size}",
        *([] if training.stages else [f"EPOCHS = {training.epochs}"]),
        *([] if config.data.has_files else [f"CLASSES = {info.classes}"]),
        f"BEST = {literal(_plain_name(loaded) + '.keras')}  # the best epoch's model",
        *data.constants,
        *([f"NAMED = {literal(network.explicit)}"] if network.explicit else []),
        *([f"LEARNED = {literal(network.learned)}"] if network.has_networks else []),
    ]
    environment = [
        "# Both are read while TensorFlow loads.",
        'os.environ.setdefault("KERAS_BACKEND", "tensorflow")',
        f'os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "{0 if training.onednn == "off" else 1}")',
    ]
    standard, others = import_lines("\n".join([*environment, *constants, body]))
    # What is copied has annotations.
    future = ["from __future__ import annotations", ""] if ": Any" in body else []
    top = [_docstring(loaded), *future, *standard, "", *environment, "", *others, "", *constants, "", ""]
    return "\n".join([*top, body])


def _check_learned(steps: Sequence[Step]) -> None:
    """Raises UsageError where weights come from what keras.applications does not read."""
    for layer in leaves([step.layer for step in steps]):
        if not isinstance(layer, Backbone) or layer.weights in (None, IMAGENET):
            continue
        # Of EfficientNet's, only those of ImageNet tell keras.applications which network to build.
        if not layer.weights.endswith(".h5") or layer.network.module == "efficientnet":
            raise UsageError(
                f"a script cannot begin {layer.name} with the weights in `{layer.weights}`: keras.applications reads "
                f"`{IMAGENET}` and files of weights (.h5, none for EfficientNet)",
                "With others, it is written: --set 'model.layers[0].Backbone.weights=imagenet'.",
            )


def _plain_name(loaded: LoadedConfig) -> str:
    """The config's name without what could not stand in a docstring, or in the name of a file anywhere."""
    return re.sub(r"[^\w .-]", "_", loaded.name)


def _docstring(loaded: LoadedConfig) -> str:
    data = loaded.config.data
    needs = ["tensorflow", "keras", "numpy"]
    if not data.has_files:
        needs.append("scikit-learn" if data.name == "digits" else "tensorflow-datasets")
    elif data.text is None:
        needs.append("Pillow")
    return (
        f'"""{_plain_name(loaded)}: a convolutional network in plain Keras, written by `cnnkit eject`.\n\n'
        f"Needs {', '.join(needs[:-1])} and {needs[-1]}. All {data.sample.plural} are held in memory.\n"
        '"""\n'
    )


def _front(config: RunConfig, input_shape: Shape) -> tuple[str | None, bool]:
    """The layer that normalizes images, and whether its constants are measured."""
    wanted = config.data.normalization
    if wanted == "none" or config.data.text is not None:
        return None, False
    dtype = "" if config.training.dtype_policy in ("auto", "float32") else ', dtype="float32"'
    if wanted == "scale":
        return f"layers.Rescaling(1 / 255{dtype})", False
    if wanted == "standardize":
        return f"layers.Normalization(mean=mean, variance=variance{dtype})", True
    spread = [list(one) * input_shape[-1] if len(one) == 1 else list(one) for one in (wanted.mean, wanted.variance)]
    return f"layers.Normalization(mean={literal(spread[0])}, variance={literal(spread[1])}{dtype})", False


def _jit(training: TrainingConfig, stack: Sequence[Step], policy: str) -> str:
    """Whether XLA compiles, as an expression, by the rules of `cnnkit.training.settings.choose`."""
    from cnnkit.network.xla import needing_xla

    if training.jit != "auto":
        return str(training.jit == "on")
    if needing_xla(stack, policy, training.onednn != "off") is not None:
        return "True"
    return 'bool(tf.config.list_physical_devices("GPU"))'


def _model_functions(network: NetworkText, measured: bool) -> list[str]:
    parts = []
    if network.initializers:
        measuring = ["whitening_kernel"] if network.whitens else []
        parts.append(copied("cnnkit.layers.keras_initializers", [*network.initializers, *measuring]))
    parts += [copied(module, names) for module, names in network.helpers.items()]
    parts += network.functions
    if measured:
        parts.append(_MOMENTS)
    given = "mean, variance" if measured else ""
    parts.append("\n".join([f"def build_model({given}):", *("    " + line for line in network.lines)]))
    if network.has_networks:
        parts.append(_LAYERS_INSIDE)
    key, inside = _KEY_WITH_NAMES if network.explicit else _KEY, _INSIDE if network.has_networks else ""
    drawn = {"padding": _PADDING if network.has_padding else "", "parts": _PARTS if network.has_parts else ""}
    parts.append(_DRAW % {"key": key, "inside": inside, **drawn})
    if network.whitens:
        parts.append(_MEASURE)
    return parts


def _compiling(written: TrainingText, changing: Sequence[str] = ()) -> list[str]:
    """Everything from the rate to the built optimizer.

    Args:
        changing: The lines before `compile` that change the model.
    """
    lines = [line for one in (*written.rate, *written.optimizer) for line in wrapped(one)]
    lines += [*changing, *wrapped(f"model.compile({', '.join(['optimizer', *written.compiled])})")]
    # Optimizers that copy the weights do so when they are built.
    lines.append("optimizer.build(model.trainable_variables)")
    return lines + [line for one in written.scaled for line in wrapped(one)]


def _callbacks(written: TrainingText, best: str) -> list[str]:
    """The list of the callbacks, whose first tells the batches which epoch it is."""
    clock = "keras.callbacks.LambdaCallback(on_epoch_begin=lambda number, logs: epoch.assign(number))"
    several = [clock, *written.callbacks, best]
    return ["callbacks = [", *(line for one in several for line in wrapped(one + ",", 4)), "]"]


def _main(
    config: RunConfig,
    network: NetworkText,
    written: Sequence[TrainingText],
    data: DataText,
    parts: ScriptParts,
    measured: bool,
    batch: str,
) -> str:
    """The function that runs it all."""
    training = config.training
    model = "build_model(*moments(train[0]))" if measured else "build_model()"
    counts_layers = any(stage.counts_layers for stage in written)
    body = ["keras.utils.clear_session()  # Keras counts the layers from here."] if counts_layers else []
    body.append("keras.utils.set_random_seed(SEED)")
    if training.dtype_policy not in ("auto", "float32"):
        if training.dtype_policy == "mixed_bfloat16":
            body.append(
                "# On a CPU, TensorFlow adds up gradients of biases in bfloat16; `cnnkit train` does in float32."
            )
        body.append(f"keras.config.set_dtype_policy({literal(training.dtype_policy)})")
    body += [*(line for one in data.lines for line in wrapped(one)), "", f"model = {model}", "draw_weights(model)"]
    if network.whitens:
        body.append("measure_kernels(model, train[0][:5000])")
    body += ["", f"steps = {steps_text(config.data, 'len(train[0])')}"]
    batches = "training_batches(*train, epoch" + (", class_weights)" if parts.weights else ")")
    pair = f"(validation[0], {parts.validation})" if parts.validation else "validation"
    validation = f"validation_data={pair}, validation_batch_size={batch}, " if data.validated else ""
    fit = f"model.fit({batches}, {validation}%s, callbacks=callbacks, shuffle=False, verbose=2)"
    epoch = ["", 'epoch = tf.Variable(0, dtype=tf.int64, trainable=False, name="epoch")']
    weights = [line for one in parts.weights for line in wrapped(one)]
    if not training.stages:
        (only,) = written
        body += [*_compiling(only, parts.before_compiling), "model.summary()", *epoch]
        body += [*_callbacks(only, only.best), *weights, *wrapped(fit % "epochs=EPOCHS")]
    else:
        body += [
            *parts.before_compiling,
            "model.summary()",
            *epoch,
            *weights,
            f"best_model = {written[0].best}",
            "done = 0",
        ]
        for stage, text in zip(training.stages, written, strict=True):
            body += ["", *(line for one in text.trained for line in wrapped(one)), *_compiling(text)]
            body += _callbacks(text, "best_model")
            body += wrapped("history = " + fit % f"initial_epoch=done, epochs=done + {stage.epochs}")
            body.append("done = history.epoch[-1] + 1")
    own = ", ".join(f"{literal(name)}: {name}" for name in sorted(network.initializers))
    ours = f", custom_objects={{{own}}}" if own else ""
    body += ["", *wrapped(f"best = keras.models.load_model(BEST, compile=False{ours})")]
    body += [*(parts.concluded if data.validated else ()), *parts.result]
    return "\n".join(["def main():", *(("    " + line) if line else "" for line in body)])
