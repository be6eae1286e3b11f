"""`cnnkit doctor`: what it says of this machine, and which problems it sees."""

from __future__ import annotations

import json
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import pytest

from cnnkit.cli import diagnosis, main
from cnnkit.machine import environment, processor
from cnnkit.training import settings


@pytest.fixture(autouse=True)
def _healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty data folder, an empty working folder, and no settings of the developer's own."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    # Whatever processor tests run on, this one has AVX2.
    monkeypatch.setattr(processor, "vector_flags", lambda: ("avx", "avx2", "fma"))
    monkeypatch.setattr(processor, "is_x86", lambda: True)
    monkeypatch.chdir(tmp_path)


def test_a_healthy_machine_has_no_problems(tmp_path: Path) -> None:
    report = diagnosis.examine()
    assert report["problems"] == []
    import keras
    import tensorflow

    assert report["versions"]["tensorflow"] == tensorflow.__version__
    assert report["versions"]["keras"] == keras.__version__
    assert report["python"] == platform.python_version()
    assert report["processor"]["cores"] == os.cpu_count()
    assert report["processor"]["schedulable_cores"] == len(os.sched_getaffinity(0))
    assert any(":CPU:" in device for device in report["devices"])
    assert report["data"]["folder"] == str(tmp_path / "data")
    assert report["data"]["prepared"] == []
    assert report["variables"]["KERAS_BACKEND"].startswith("tensorflow")
    assert {"device", "xla", "onednn", "threads", "steps_per_execution", "dtype_policy"} <= set(report["settings"])


@pytest.mark.parametrize(
    ("flags", "said"), [(("avx2",), "has no instructions"), (("avx512_bf16",), "has instructions"), (None, "may have")]
)
def test_it_says_whether_the_processor_has_bfloat16(
    monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...] | None, said: str
) -> None:
    monkeypatch.setattr(processor, "vector_flags", lambda: flags)
    assert said in diagnosis.examine()["settings"]["dtype_policy"]


def test_the_cache_is_shown_with_its_size_and_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNKIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("CNNKIT_CACHE_BYTES", str(2**30))
    assert diagnosis.examine()["cache"] == {"folder": str(tmp_path / "cache"), "size_gib": 0.0, "limit_gib": 1.0}
    entry = tmp_path / "cache" / "decoded" / "one.cnnkit-cache"
    entry.parent.mkdir(parents=True)
    entry.write_bytes(bytes(2**26))
    report = diagnosis.examine()
    assert report["cache"]["size_gib"] == 0.06
    assert "limit_gib" in diagnosis.as_text(report)
    monkeypatch.setenv("CNNKIT_CACHE_BYTES", "much")
    (problem,) = diagnosis.examine()["problems"]
    assert "CNNKIT_CACHE_BYTES" in problem


def problems_with(monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[str]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found: list[str] = diagnosis.examine()["problems"]
    return found


def test_onednn_turned_off_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    (problem,) = problems_with(monkeypatch, TF_ENABLE_ONEDNN_OPTS="0")
    assert "TF_ENABLE_ONEDNN_OPTS" in problem


def test_onednn_turned_off_is_no_problem_where_it_does_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "vector_flags", lambda: ("avx",))
    assert problems_with(monkeypatch, TF_ENABLE_ONEDNN_OPTS="0") == []


def test_fewer_threads_than_cores_by_the_users_variable_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "usable_cores", lambda: 4)
    monkeypatch.setattr(settings, "threads_in_use", lambda tensorflow: 1)
    (problem,) = problems_with(monkeypatch, TF_NUM_INTRAOP_THREADS="1")
    assert "leaves 3 of 4 cores idle" in problem


def test_a_quota_below_one_core_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "cpu_quota", lambda: 0.5)
    (problem,) = problems_with(monkeypatch)
    assert "0.50 of a core" in problem


def test_who_set_a_variable_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    diagnosis.examine()
    assert diagnosis.examine()["variables"]["TF_ENABLE_ONEDNN_OPTS"] == "1 (set by cnnkit)"
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert diagnosis.examine()["variables"]["TF_ENABLE_ONEDNN_OPTS"] == "0 (set by you)"


def test_a_data_folder_that_is_not_there_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (problem,) = problems_with(monkeypatch, TFDS_DATA_DIR=str(tmp_path / "nowhere"))
    assert str(tmp_path / "nowhere") in problem


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "PACKAGES", (*diagnosis.PACKAGES, "no-such-package-here"))
    report = diagnosis.examine()
    assert report["versions"]["no-such-package-here"] is None
    (problem,) = report["problems"]
    assert "pip install no-such-package-here" in problem


def test_a_tensorflow_that_does_not_load_is_a_problem_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Any:
        raise ImportError("libtensorflow_framework.so.2: cannot open shared object file")

    monkeypatch.setattr(environment, "load_tensorflow", fail)
    report = diagnosis.examine()
    (problem,) = report["problems"]
    assert "libtensorflow_framework" in problem
    assert report["devices"] == []
    assert "libtensorflow_framework" in diagnosis.as_text(report)


def test_a_full_disk_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.disk_usage

    def nearly_full(path: Any) -> Any:
        return real(path)._replace(free=300 * 2**20)

    monkeypatch.setattr(shutil, "disk_usage", nearly_full)
    (problem,) = diagnosis.examine()["problems"]
    assert "0.3 GiB" in problem


def test_prepared_data_sets_are_listed(tfds_folder_of_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_folder_of_mnist))
    assert diagnosis.examine()["data"]["prepared"] == ["mnist"]


@pytest.fixture
def tfds_folder_of_mnist(tmp_path: Path) -> Path:
    folder = tmp_path / "prepared"
    version = folder / "mnist" / "3.0.1"
    version.mkdir(parents=True)
    for name in ("dataset_info.json", "features.json"):
        (version / name).write_text("{}")
    return folder


@pytest.mark.parametrize(("onednn", "code"), [("1", 0), ("0", 1)])
def test_the_command_exits_with_1_where_something_is_wrong(
    onednn: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", onednn)
    for arguments in ([], ["--json"]):
        monkeypatch.setattr("sys.argv", ["cnnkit", "doctor", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == code
        output, errors = capsys.readouterr()
        assert errors == ""
        if arguments:
            assert len(json.loads(output)["problems"]) == code
        else:
            assert ("no problems found" in output) == (code == 0)
            assert ("problem: " in output) == (code == 1)
