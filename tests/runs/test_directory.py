"""The run directory: numbers, atomic writes, finding runs, and what broken files say."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cnnkit.errors import CnnkitError, UsageError
from cnnkit.files import append_line, replacing, to_csv, write_atomically
from cnnkit.format.run_folders import check_outside
from cnnkit.runs.directory import Run
from cnnkit.runs.finding import create_run, find_run, list_runs
from cnnkit.runs.trained import open_run
from cnnkit.training.ending import failed_write


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def finished(name: str, age: int) -> Run:
    """A run with a config, made `age` seconds ago."""
    path = Path("runs", name)
    path.mkdir(parents=True)
    run = Run(path)
    run.config.write_text("training: {epochs: 3}\n")
    now = run.config.stat().st_mtime
    os.utime(run.config, (now - age, now - age))
    return run


class TestNumbers:
    def test_runs_count_up_from_1(self) -> None:
        assert [create_run("digits").path for _ in range(3)] == [Path(f"runs/digits-{n}") for n in (1, 2, 3)]

    def test_the_number_after_the_highest_is_taken_even_where_lower_ones_are_free(self) -> None:
        Path("runs/digits-7").mkdir(parents=True)
        assert create_run("digits").name == "digits-8"

    def test_numbers_are_compared_as_numbers(self) -> None:
        for number in (9, 10):
            Path(f"runs/digits-{number}").mkdir(parents=True)
        assert create_run("digits").name == "digits-11"

    @pytest.mark.parametrize("other", ["digits-x", "digits-2-3", "mydigits-8", "digits", "digits.-4", ".digits-9"])
    def test_other_names_do_not_count(self, other: str) -> None:
        Path("runs", other).mkdir(parents=True)
        assert create_run("digits").name == "digits-1"

    def test_names_with_the_marks_of_patterns_are_taken_literally(self) -> None:
        Path("runs/aXb-5").mkdir(parents=True)
        assert [create_run("a.b").name, create_run("a.b").name] == ["a.b-1", "a.b-2"]

    def test_a_file_with_a_run_s_name_is_not_overwritten(self) -> None:
        Path("runs").mkdir()
        Path("runs/digits-1").write_text("mine")
        assert create_run("digits").name == "digits-2"
        assert Path("runs/digits-1").read_text() == "mine"

    def test_threads_get_different_directories(self) -> None:
        with ThreadPoolExecutor(8) as pool:
            names = list(pool.map(lambda _: create_run("digits").name, range(40)))
        assert sorted(names) == sorted(f"digits-{number}" for number in range(1, 41))

    def test_processes_get_different_directories(self) -> None:
        code = "from cnnkit.runs.finding import create_run\nfor _ in range(30): print(create_run('digits').name)"
        children = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
        names = [name for child in children for name in child.communicate(timeout=60)[0].split()]
        assert sorted(names) == sorted(f"digits-{number}" for number in range(1, 91))

    def test_a_config_name_that_is_not_utf_8_gives_a_name_that_is(self) -> None:
        create_run(os.fsdecode(b"caf\xe9")).name.encode("utf-8")


class TestNamedDirectory:
    def test_is_made_with_its_parents(self) -> None:
        run = create_run("digits", "new/folder with space/ü/")
        assert run.path.is_dir()
        assert run.checkpoint.parent.is_dir()

    def test_may_be_there_and_empty(self) -> None:
        Path("mine").mkdir()
        assert create_run("digits", "mine").path == Path("mine")

    def test_is_never_overwritten(self) -> None:
        Path("mine").mkdir()
        Path("mine/notes.txt").write_text("keep")
        with pytest.raises(UsageError, match="not empty") as caught:
            create_run("digits", "mine")
        assert "--resume" in str(caught.value)
        assert os.listdir("mine") == ["notes.txt"]

    def test_may_not_be_a_file_or_below_one(self) -> None:
        Path("file").write_text("x")
        for path in ("file", "file/run"):
            with pytest.raises(UsageError, match="file"):
                create_run("digits", path)
        assert Path("file").read_text() == "x"


def test_a_folder_that_cannot_be_written_is_named_with_a_way_out() -> None:
    # A file in the place of runs/ stops the superuser too, whom permissions do not.
    Path("runs").write_text("not a folder")
    with pytest.raises(CnnkitError, match="cannot make a run directory") as caught:
        create_run("digits")
    assert str(Path("runs").resolve()) in str(caught.value)
    assert "--run-dir" in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_folder_is_named_with_a_way_out(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(CnnkitError, match="Permission denied"):
            create_run("digits")
        with pytest.raises(UsageError, match="Permission denied"):
            create_run("digits", str(tmp_path / "x"))
    finally:
        tmp_path.chmod(0o700)


class TestAtomicWrites:
    def test_an_exception_leaves_the_old_file_and_no_other(self) -> None:
        path = Path("metrics.csv")
        path.write_text("old")

        def fail() -> None:
            with replacing(path) as temporary:
                temporary.write_text("half")
                raise RuntimeError("stop")

        with pytest.raises(RuntimeError, match="stop"):
            fail()
        assert path.read_text() == "old"
        assert os.listdir() == ["metrics.csv"]

    def test_ctrl_c_leaves_the_old_file_and_no_other(self) -> None:
        path = Path("model.keras")

        def interrupt() -> None:
            with replacing(path):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupt()
        assert os.listdir() == []

    def test_the_old_file_is_there_until_the_block_ends(self) -> None:
        path = Path("model.keras")
        path.write_text("old")
        with replacing(path) as temporary:
            temporary.write_text("new")
            assert path.read_text() == "old"
            # Keras looks at the ending; matplotlib too.
            assert (temporary.suffix, temporary.parent.resolve()) == (".keras", path.parent.resolve())
        assert path.read_text() == "new"
        assert os.listdir() == ["model.keras"]

    def test_the_file_has_the_permissions_of_any_new_file(self) -> None:
        Path("usual").write_text("")
        write_atomically(Path("ours"), "x")
        assert stat.S_IMODE(Path("ours").stat().st_mode) == stat.S_IMODE(Path("usual").stat().st_mode)

    def test_what_cannot_be_written_is_named_by_its_own_name(self) -> None:
        with pytest.raises(OSError, match=r"'missing/metrics\.csv'"):
            write_atomically(Path("missing/metrics.csv"), "x")

    def test_json_survives_a_name_that_is_not_utf_8(self) -> None:
        name = os.fsdecode(b"caf\xe9.yaml")
        run = Run(Path())
        run.write_json(run.environment, {"command": [name, "ü"]})
        assert json.loads(run.environment.read_text(encoding="utf-8")) == {"command": [name, "ü"]}
        assert run.read_json(run.environment) == {"command": [name, "ü"]}


class TestFindingRuns:
    def test_by_path_with_and_without_a_slash_and_by_name(self) -> None:
        finished("digits-1", 10)
        for text in (
            "runs/digits-1",
            "runs/digits-1/",
            "./runs/digits-1",
            "digits-1",
            str(Path("runs/digits-1").resolve()),
        ):
            assert find_run(text).path.resolve() == Path("runs/digits-1").resolve(), text

    def test_the_latest_is_the_one_made_last_whatever_its_name(self) -> None:
        finished("z-1", 30)
        finished("a-10", 10)
        finished("m-2", 20)
        assert find_run(None).name == "a-10"
        assert [run.name for run in list_runs()] == ["z-1", "m-2", "a-10"]

    def test_no_run_at_all(self) -> None:
        with pytest.raises(UsageError, match="there are no runs") as caught:
            find_run(None)
        assert str(Path("runs").resolve()) in str(caught.value)
        assert list_runs() == []

    def test_a_folder_without_a_config_is_no_run(self) -> None:
        Path("runs/half-1").mkdir(parents=True)
        Path("runs/notes.txt").write_text("x")
        finished("digits-1", 10)
        assert [run.name for run in list_runs()] == ["digits-1"]
        with pytest.raises(UsageError, match="half-1` is no run") as caught:
            find_run("half-1")
        assert "digits-1" in str(caught.value)


class TestMetrics:
    def test_float32_values_come_back_digit_for_digit(self) -> None:
        numpy = pytest.importorskip("numpy")
        random = numpy.random.default_rng(0)
        bits = random.integers(0, 2**32, 3000, dtype=numpy.uint32).view(numpy.float32)
        values = [float(value) for value in bits[numpy.isfinite(bits)]]
        run = Run(Path())
        run.write_metrics([{"epoch": number, "loss": value} for number, value in enumerate(values)])
        read = run.read_metrics()
        assert [numpy.float32(row["loss"]) for row in read] == [numpy.float32(value) for value in values]
        assert [row["epoch"] for row in read] == list(range(len(values)))

    def test_writing_what_was_read_gives_the_same_file(self) -> None:
        run = Run(Path())
        run.write_metrics([{"epoch": 1, "loss": 1 / 3, "seconds": 0.125}, {"epoch": 2, "loss": 1e-12, "seconds": 3.0}])
        first = run.metrics.read_text()
        run.write_metrics([{**row, "epoch": int(row["epoch"])} for row in run.read_metrics()])
        assert run.metrics.read_text() == first

    def test_later_epochs_may_have_been_measured_by_more(self) -> None:
        run = Run(Path())
        run.write_metrics([{"epoch": 1, "loss": 1.0}, {"epoch": 2, "accepted": 0.5, "loss": 0.25}])
        assert run.read_metrics() == [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.25}]

    def test_no_epoch_yet_is_no_row(self) -> None:
        assert Run(Path()).read_metrics() == []

    @pytest.mark.parametrize("text", ["epoch,loss\n1\n", "epoch,loss\n1,abc\n", "epoch,loss\n1,\n", "\xff\xfe\n1\n"])
    def test_a_broken_file_is_named(self, text: str) -> None:
        run = Run(Path())
        run.metrics.write_bytes(text.encode("latin-1"))
        with pytest.raises(CnnkitError, match=r"metrics\.csv"):
            run.read_metrics()

    def test_csv_quotes_what_needs_it(self) -> None:
        assert to_csv(["a,b", "c"], [['say "x"', 0.1], ["y", 2]]) == '"a,b",c\n"say ""x""",0.1\ny,2\n'


class TestBrokenJson:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (None, "has no environment.json"),
            ("{", "not valid JSON"),
            ("[1]", "JSON object"),
            ("\xff", "is not UTF-8"),
        ],
    )
    def test_is_named(self, text: str | None, message: str) -> None:
        run = Run(Path())
        if text is not None:
            run.environment.write_bytes(text.encode("latin-1"))
        with pytest.raises(CnnkitError, match=message):
            run.read_json(run.environment)

    @pytest.mark.parametrize(
        "value",
        [
            {},
            {"data": [], "model": {}},
            {"data": {"image_shape": [8, 8], "class_names": ["a"]}, "model": {"head": "softmax"}},
            {"data": {"image_shape": [8, 8, "x"], "class_names": ["a"]}, "model": {"head": "softmax"}},
            {"data": {"image_shape": [8, 8, 1], "class_names": None}, "model": {"head": "softmax"}},
        ],
    )
    def test_an_environment_that_lacks_something_is_named(self, value: object) -> None:
        run = Run(Path())
        run.write_json(run.environment, value)
        with pytest.raises(CnnkitError, match=r"environment\.json"):
            _ = open_run(run).interface


@pytest.mark.parametrize(
    ("directory", "folder", "inside"),
    [
        (None, ".", True),
        (None, "..", True),
        (None, "photos", False),
        ("photos/cat/run", "photos", True),
        ("photos", "photos", True),
        ("photos2/run", "photos", False),
        ("photos/../run", "photos", False),
        ("linked/run", "photos", True),
        ("photos/run", "linked", True),
        (None, None, False),
    ],
)
def test_a_run_is_not_made_inside_the_folder_of_its_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directory: str | None, folder: str | None, inside: bool
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "linked").symlink_to("photos")
    monkeypatch.chdir(tmp_path)
    if inside:
        with pytest.raises(UsageError, match="would lie inside the folder of the images"):
            check_outside(directory, folder)
    else:
        check_outside(directory, folder)


class TestFullDisks:
    def test_a_file_that_cannot_be_finished_is_named_and_the_old_one_kept(self) -> None:
        """A limit on the size of files stops a write in its midst, as a full disk does."""
        resource = pytest.importorskip("resource")
        path = Path("metrics.csv")
        path.write_text("old")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            with pytest.raises(OSError, match="File too large") as caught:
                write_atomically(path, "x" * 5000)
            assert caught.value.filename == "metrics.csv"
            with pytest.raises(OSError, match="File too large") as caught:
                append_line(Path("log.txt"), "x" * 5000)
            assert caught.value.filename == "log.txt"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert path.read_text() == "old"
        assert sorted(os.listdir()) == ["log.txt", "metrics.csv"]

    @pytest.mark.parametrize(
        ("epochs", "way_on"),
        [
            (None, "Free some space there, then start again with `cnnkit train`."),
            (0, "Free some space there, then: cnnkit train --resume 'a run'"),
            (1, "What was learned is kept. Free some space there, then: cnnkit train --resume 'a run'"),
            (2, "The trained network is kept. Free some space there, then: cnnkit train --resume 'a run'"),
        ],
    )
    def test_training_says_how_to_go_on(self, epochs: int | None, way_on: str) -> None:
        """A disk may be full after the last checkpoint has become the one before; with a config, there is a run."""
        run = Run(Path("a run"))
        run.checkpoint.parent.mkdir(parents=True)
        if epochs is not None:
            run.config.write_text("")
        if epochs:
            run.previous_checkpoint.write_text("")
            run.write_metrics([{"epoch": number, "loss": 1.0} for number in range(1, epochs + 1)])
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(run.model))
        told = failed_write(error, run, 2)
        assert (told.message, told.hint) == ("`a run/model.keras`: No space left on device", way_on)
        assert told.exit_code == 1


def test_a_folder_of_runs_that_is_a_loop_of_links_is_none() -> None:
    Path("runs").symlink_to("runs")
    assert list_runs() == []
    with pytest.raises(UsageError, match="there are no runs"):
        find_run(None)
    with pytest.raises(CnnkitError, match="cannot make a run directory in"):
        create_run("digits")
