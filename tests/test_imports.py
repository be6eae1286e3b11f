"""Rooms import one way; commands that do not compute answer without the heavy packages."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from broken import edited
from image_folders import write_images

from cnnkit.runs.directory import Run
from cnnkit.tasks import TASKS, task_named

PACKAGE = Path(__file__).parent.parent / "cnnkit"
CONFIGS = sorted((PACKAGE.parent / "configs").glob("*.yaml"))

#: The rooms, from the one that all others may import to the one that may import all others.
ROOMS = (
    "terminal",
    "machine",
    "images",
    "texts",
    "format",
    "augmentation",
    "layers",
    "config",
    "network",
    "data",
    "plots",
    "runs",
    "training",
    "proposal",
    "inside",
    "pages",
    "report",
    "tasks",
    "comparing",
    "live",
    "serve",
    "eject",
    "export",
    "launch",
    "cli",
)
#: What stands beside the rooms, and is imported by all of them.
GROUND = ("__init__", "errors", "files")

HEAVY = ("tensorflow", "keras", "matplotlib", "sklearn", "tensorflow_datasets", "rich")

#: Runs commands one after the other and prints each one's exit code and the heavy modules loaded by then.
RUNNER = """
import contextlib, io, json, sys
from cnnkit.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["cnnkit", *arguments]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            main()
        except SystemExit as end:
            code = end.code
    loaded = [name for name in json.loads(sys.stdin.readline()) if name in sys.modules]
    print(json.dumps([arguments, code, loaded]), flush=True)
"""


def run_commands(commands: list[list[str]], folder: Path, unwanted: tuple[str, ...]) -> list[tuple[list[str], int]]:
    """Runs commands in one process, asserting that none loads an unwanted module; their exit codes."""
    import json

    done = subprocess.run(
        [sys.executable, "-c", RUNNER, json.dumps(commands)],
        input=f"{json.dumps(unwanted)}\n" * len(commands),
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == len(commands)
    for arguments, _, loaded in results:
        assert loaded == [], f"cnnkit {' '.join(arguments)} loads {', '.join(loaded)}"
    return [(arguments, code) for arguments, code, _ in results]


def all_commands() -> list[list[str]]:
    import click

    from cnnkit.cli import cli

    found: list[list[str]] = [[]]
    for name, command in cli.commands.items():
        found.append([name])
        if isinstance(command, click.Group):
            found += [[name, below] for below in command.commands]
    return found


def module_name(file: Path) -> str:
    parts = ("cnnkit", *file.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_for_types(statement: ast.stmt) -> bool:
    test = getattr(statement, "test", None)
    return isinstance(statement, ast.If) and isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


@functools.cache
def all_modules() -> frozenset[str]:
    return frozenset(module_name(file) for file in PACKAGE.rglob("*.py"))


@functools.cache
def imports_of(file: Path) -> tuple[frozenset[str], frozenset[str]]:
    """The modules of cnnkit that a file imports anywhere, for types and inside functions, too; and what at its top."""
    known = all_modules()
    found: set[str] = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    at_top = frozenset(imports_at_top(tree.body))
    if file == PACKAGE / "task.py":
        # It says what tasks are handed by those who stand above it, whom it does not need.
        tree.body = [statement for statement in tree.body if not is_for_types(statement)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in full}
    return frozenset(name for name in found if name.split(".")[0] == "cnnkit"), at_top


def imported_modules(file: Path) -> frozenset[str]:
    return imports_of(file)[0]


def rank(module: str) -> int:
    """How high a module stands: rooms by their order, the ground below them, what starts cnnkit above."""
    room = [*module.split("."), "__init__"][1]
    if module in ("cnnkit.task", "cnnkit.tasks"):
        # What a task is, and which there are, is a part of the config; the tasks themselves are not.
        room = "config"
    return -1 if room in GROUND else len(ROOMS) if room == "__main__" else ROOMS.index(room)


def test_rooms_import_one_way() -> None:
    upwards = [
        f"{module_name(file)} imports {other}"
        for file in sorted(PACKAGE.rglob("*.py"))
        for other in sorted(imported_modules(file))
        if rank(other) > rank(module_name(file))
    ]
    assert upwards == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    files = {module_name(file): file for file in PACKAGE.rglob("*.py")}
    ahead = {name: imported_modules(file) - {name} for name, file in files.items()}
    while leaves := [name for name, others in ahead.items() if not others & ahead.keys()]:
        for name in leaves:
            del ahead[name]
    assert sorted(ahead) == []


#: Where a task's name is another word: the title of a paper.
OTHERWISE = "ImageNet Classification with Deep Convolutional Neural Networks"


def test_only_tasks_know_of_tasks_by_name() -> None:
    """Whoever needs one has it from a config or a run, and asks it what cnnkit/task.py says."""
    words = re.compile(rf"\b(?:{'|'.join({*TASKS.names(), *TASKS.aliases})})\b", re.IGNORECASE)
    knowing: list[str] = []
    for file in sorted(PACKAGE.rglob("*.py")):
        name = module_name(file)
        if name.startswith("cnnkit.tasks"):
            continue
        knowing += [f"{name} imports {it}" for it in imported_modules(file) if it.startswith("cnnkit.tasks.")]
        text = file.read_text(encoding="utf-8").replace(OTHERWISE, "")
        knowing += [f"{name} says {word}" for word in words.findall(text)]
    assert knowing == []


def test_help_of_every_command_loads_nothing_heavy(tmp_path: Path) -> None:
    commands = all_commands()
    # The names that the README and the design promise.
    names = "train launch eval predict inspect diff eject export runs show report serve watch new data schema doctor"
    for name in names.split():
        assert [name] in commands
    results = run_commands([[*command, "--help"] for command in commands], tmp_path, (*HEAVY, "numpy", "yaml"))
    assert {code for _, code in results} == {0}


@pytest.mark.parametrize("configs", [CONFIGS[::25], pytest.param(CONFIGS, marks=pytest.mark.long)], ids=["some", "all"])
def test_looking_at_configs_loads_nothing_heavy(configs: list[Path], tmp_path: Path) -> None:
    assert len(CONFIGS) >= 7
    commands = [["inspect", str(file)] for file in configs]
    commands += [["inspect", str(CONFIGS[0]), "--json"], ["new", "--list"], ["new", "digits"], ["runs"]]
    results = run_commands(commands, tmp_path, (*HEAVY, "numpy"))
    assert {code for _, code in results} == {0}


def test_listing_data_sets_and_writing_a_script_load_nothing_heavy(tmp_path: Path) -> None:
    write_images(tmp_path / "photos", ["cat", "dog"])
    commands = [["data", "list"], ["eject", str(CONFIGS[0])], ["new", "--from", "photos"]]
    assert run_commands(commands, tmp_path, HEAVY) == [(command, 0) for command in commands]


def test_mistakes_are_reported_before_anything_heavy_loads(tmp_path: Path) -> None:
    good = CONFIGS[0]
    (tmp_path / "broken.yaml").write_text(edited(("batch_size", "batch_sise"), text=good.read_text()))
    (tmp_path / "impossible.yaml").write_text(
        "data: {name: digits}\nmodel: {layers: [{MaxPooling2D: 9}, Flatten, {Dense: classes}]}\ntraining: {epochs: 1}\n"
    )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    results = run_commands(
        [
            ["train", "broken.yaml"],
            ["train", "impossible.yaml"],
            ["train", "missing.yaml"],
            ["train", str(good), "--set", "training.epochs=none"],
            ["train", str(good), "--run-dir", "full"],
            ["train", "--resume", "nothing"],
            ["train", str(good), "--init-from", "nothing"],
            ["eval", "nothing"],
            ["predict", "nothing", "image.png"],
            ["inspect", "broken.yaml"],
            ["data", "info", "no_such_set"],
            ["data", "info", "missing.yaml"],
        ],
        tmp_path,
        # A run's and an image's module may use numpy; it is the rest that takes seconds.
        HEAVY,
    )
    assert {code for _, code in results} == {2}


def test_weights_that_do_not_fit_are_refused_before_anything_heavy_loads(small_run: Run, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("data: {name: digits}\nmodel: {layers: [Flatten, {Dense: classes}]}\n")
    commands = [["train", "other.yaml", "--init-from", str(small_run.path)]]
    assert run_commands(commands, tmp_path, HEAVY) == [(commands[0], 2)]


def test_an_exported_network_answers_without_anything_heavy(tmp_path: Path) -> None:
    from onnx_files import SHAPE, description, write_network
    from PIL import Image

    names = {"classification": "classes", "multilabel": "labels", "regression": "numbers"}
    names |= {"segmentation": "masks", "detection": "boxes"}
    # Those whose networks can be exported.
    assert set(names) == {name for name in TASKS.aliases if task_named(name).takes_images}
    commands = []
    for task in names:
        config = "task: {detection: {stride: 1}}" if task == "detection" else f"task: {task}"
        per_pixel = task in ("segmentation", "detection")
        weights = np.eye(3, 7) if task == "detection" else None
        metadata = description(config=config, model={"head": "sigmoid"} if task == "multilabel" else {})
        write_network(tmp_path / f"{task}.onnx", metadata, weights=weights, per_pixel=per_pixel)
        commands += [["predict", f"{task}.onnx", "image.png"], ["predict", f"{task}.onnx", "image.png", "--json"]]
    commands += [["predict", "classification.onnx", "image.png", "--csv", "--tta", "flip,shift"]]
    commands += [["predict", "segmentation.onnx", "image.png", "--output", "masks", "--tta", "flip"]]
    Image.new("RGB", (SHAPE[1], SHAPE[0]), "red").save(tmp_path / "image.png")
    assert run_commands(commands, tmp_path, (*HEAVY, "scipy", "pandas", "onnx")) == [
        (command, 0) for command in commands
    ]


def test_training_loads_only_what_it_needs_before_its_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = str(PACKAGE.parent / "configs" / "digits.yaml")
    late = {"matplotlib", "pandas", "scipy", "sklearn", "tensorboard", "tensorflow_datasets"}
    monkeypatch.syspath_prepend(PACKAGE.parent / "scripts")
    from measure_startup import FIRST_STEP

    done = subprocess.run(
        [sys.executable, "-c", FIRST_STEP, "train", digits],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    # Keras shows that the list is looked up where it should be.
    assert "keras" in loaded
    assert not late & loaded


@pytest.mark.long
def test_what_keras_does_not_get_can_be_imported_afterwards() -> None:
    code = (
        "import sys\n"
        "import matplotlib\n"
        "from cnnkit.machine.tensorflow import UNUSED_BY_KERAS, load_tensorflow\n"
        "load_tensorflow()\n"
        "before = [name for name in UNUSED_BY_KERAS if name in sys.modules]\n"
        "import scipy, sklearn\n"
        "print(*before, scipy.__name__, sklearn.__name__, sys.modules['matplotlib'] is matplotlib)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["matplotlib", "scipy", "sklearn", "True"]


#: Modules that only computing commands import, inside functions.
MAY_IMPORT_KERAS = {
    "augmentation/box_layers.py",
    "augmentation/keras_layers.py",
    "augmentation/shares.py",
    "config/objectives/class_numbers.py",
    "config/optimization/muon.py",
    "layers/backbone_model.py",
    "layers/bfloat16.py",
    "layers/functions.py",
    "layers/filter_gradient.py",
    "layers/fused.py",
    "layers/padded_embedding.py",
    "layers/shared_draws.py",
    "layers/keras_initializers.py",
    "tasks/detection/keras_objects.py",
    "tasks/generation/class_watch.py",
    "tasks/generation/keras_objects.py",
    "tasks/generation/watching.py",
    "tasks/multilabel/keras_objects.py",
    "tasks/regression/keras_objects.py",
    "tasks/restoration/keras_objects.py",
    "tasks/segmentation/keras_objects.py",
    "tasks/segmentation/shared_loss.py",
    "training/callbacks.py",
    "training/loop.py",
    "training/event_files.py",
    "training/live_files.py",
    "training/schedules.py",
    "training/smoothing.py",
}


def test_modules_import_heavy_packages_only_inside_functions() -> None:
    heavy: dict[str, set[str]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        found = {*imports_of(file)[1]} & set(HEAVY)
        if found:
            heavy[file.relative_to(PACKAGE).as_posix()] = found
    # The list of exceptions names only modules that are some.
    assert heavy.keys() == MAY_IMPORT_KERAS
    assert {name: found for name, found in heavy.items() if not found <= {"keras", "tensorflow"}} == {}


def imports_at_top(body: list[ast.stmt]) -> list[str]:
    """The packages that importing a module imports; what stands under `if TYPE_CHECKING:` is not run."""
    found: list[str] = []
    for statement in body:
        if isinstance(statement, ast.Import):
            found += [alias.name.partition(".")[0] for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            found.append((statement.module or "").partition(".")[0])
        elif isinstance(statement, ast.If):
            if not is_for_types(statement):
                found += imports_at_top(statement.body)
            found += imports_at_top(statement.orelse)
        elif isinstance(statement, ast.Try | ast.With | ast.ClassDef):
            found += imports_at_top(statement.body)
    return found


def test_all_other_modules_together_import_neither_tensorflow_nor_keras() -> None:
    names = []
    for file in sorted(PACKAGE.rglob("*.py")):
        relative = file.relative_to(PACKAGE)
        if relative.as_posix() not in MAY_IMPORT_KERAS:
            names.append(module_name(file))
    code = "import importlib, sys\nfor name in sys.argv[2:]: importlib.import_module(name)\n"
    code += "print(*(name for name in sys.argv[1].split() if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code, " ".join(HEAVY), *names], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
