"""The documents say what the code does."""

from __future__ import annotations

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from broken import edited

from cnnkit.config.load import load_config
from cnnkit.errors import ConfigError

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.long
def test_the_reference_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_reference.py"), "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def blocks(language: str) -> list[str]:
    """The README's code blocks of one language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


def test_the_config_in_the_readme_is_valid(tmp_path: Path) -> None:
    whole = [text for text in blocks("yaml") if "model:" in text]
    assert whole
    for text in whole:
        (tmp_path / "readme.yaml").write_text(text)
        load_config(str(tmp_path / "readme.yaml"))


def test_the_mistakes_in_the_readme_read_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two mistakes made in the README's own config give the report that it shows."""
    shown = next(text for text in blocks("") if "kernal_size" in text).split("\n", 1)[1].rstrip()
    text = next(text for text in blocks("yaml") if "model:" in text)
    text = edited(("kernel_size", "kernal_size"), ("MaxPooling2D: 2", "MaxPooling2D: 40"), text=text)
    monkeypatch.chdir(tmp_path)
    Path("typo.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config("typo.yaml")
    assert str(caught.value) == shown


def test_every_command_is_in_the_readme() -> None:
    from cnnkit.cli import cli

    for name in cli.commands:
        assert f"`cnnkit {name}" in README or f"cnnkit {name}" in README, name


def test_documents_link_to_files_that_exist() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


#: The modules that docs/adding_a_layer.md and docs/adding_a_task.md have their readers write.
INVENTED = {
    "cnnkit/layers/squared_relu.py",
    "detect_digits.py",
    *(f"cnnkit/tasks/grades/{name}.py" for name in ("__init__", "learning", "answers")),
}


def test_modules_that_the_documents_name_are_there() -> None:
    folders = ("cnnkit", "tests", "scripts")
    modules = [file.relative_to(ROOT).as_posix() for folder in folders for file in (ROOT / folder).rglob("*.py")]
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        names = re.findall(r"(?<![\w*/.])[a-z_][a-z_/]*\.py\b", document.read_text(encoding="utf-8"))
        for name in {*names} - INVENTED:
            assert any(module == name or module.endswith(f"/{name}") for module in modules), f"{document.name}: {name}"


def test_tests_that_the_documents_name_are_there() -> None:
    documents = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", documents)
    assert named
    for file, name in named:
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{name}"


@pytest.mark.parametrize(
    "name", ["format.expressions.evaluate", "config.load.load_config", "network.summary.summarize", "data.loading.load"]
)
def test_examples_in_docstrings_give_what_they_say(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    module = importlib.import_module(f"cnnkit.{name.rpartition('.')[0]}")
    function = getattr(module, name.rpartition(".")[2])
    examples = list(doctest.DocTestFinder(recurse=False).find(function, globs=vars(module).copy()))
    assert sum(len(test.examples) for test in examples) >= 2
    for test in examples:
        assert doctest.DocTestRunner().run(test).failed == 0


def test_the_manifest_for_kubernetes_is_valid() -> None:
    """Against Kubernetes' own schemas, in which no unknown field passes."""
    documents = list(yaml.safe_load_all((ROOT / "docs" / "kubernetes.yaml").read_text("utf-8")))
    assert [document["kind"] for document in documents] == ["Service", "Job"]
    for document in documents:
        kubernetes_validate.validate(document, "1.31", strict=True)
    job = documents[1]["spec"]
    (worker,) = job["template"]["spec"]["containers"]
    # As many names as there are workers, each that of a pod.
    hosts = next(variable["value"] for variable in worker["env"] if variable["name"] == "HOSTS").split(",")
    assert hosts == [f"cnnkit-{index}.{documents[0]['metadata']['name']}:2222" for index in range(job["completions"])]
    assert job["parallelism"] == job["completions"]
