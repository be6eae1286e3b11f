"""`cnnkit launch`: groups of stand-in workers that die, hang, leave, and are started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from cnnkit.errors import CnnkitError
from cnnkit.launch.cluster import Cluster
from cnnkit.launch.launching import Command, launch
from cnnkit.launch.supervisor import Limits

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="`launch` needs POSIX")

#: What nobody has to wait for in these tests may take long, for other tests may keep the machine busy.
FAST = Limits(between_looks=0.02, silence=30, saving=2, leaving=5, of_a_request=0.1)

#: What each stand-in begins with; `run` is that to go on with, or None.
BEGIN = """
import json, os, signal, sys, time
from pathlib import Path
from cnnkit.training import heartbeat

rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
run = json.loads(sys.argv[1])
heartbeat.SECONDS_BETWEEN_BEATS = 0.05
heartbeat.beat()

def send(number, process):
    os.kill(process, getattr(signal, number))

def wait_for(name):
    while not Path(name).exists():
        time.sleep(0.01)

Path(f"pid-{rank}").write_text(str(os.getpid()))
"""
FOREVER = "time.sleep(60)"


def command(codes: Mapping[int, str], config: bytes | None = None) -> Command:
    """Workers that run Python: by rank, or `-1` for the others."""
    text = f"{BEGIN}\nexec(({codes!r}).get(rank, ({codes!r}).get(-1)))"
    return Command(lambda run: ["-c", text, json.dumps(run)], config, (sys.executable,))


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # A launcher that is killed leaves its files behind.
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def is_gone(rank: int) -> bool:
    pid = int(Path(f"pid-{rank}").read_text())
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_workers_know_their_cluster_and_share_the_cores(capfd: pytest.CaptureFixture[str]) -> None:
    code = """
from cnnkit.machine import processor
processor.schedulable_cores, processor.cpu_quota = (lambda: 7), (lambda: None)
Path(f"told-{rank}").write_text(json.dumps([json.loads(os.environ["TF_CONFIG"]), processor.usable_cores()]))
print("said by", rank)
"""
    assert launch(Cluster(3), command({-1: code}), limits=FAST) == 0
    told = [json.loads(Path(f"told-{rank}").read_text()) for rank in range(3)]
    (addresses,) = {tuple(config["cluster"]["worker"]) for config, _ in told}
    assert len(set(addresses)) == 3
    assert {address.split(":")[0] for address in addresses} == {"127.0.0.1"}
    assert [config["task"] for config, _ in told] == [{"type": "worker", "index": rank} for rank in range(3)]
    assert [cores for _, cores in told] == [2, 2, 2]
    assert capfd.readouterr().out == "said by 0\n"


def test_a_killed_worker_ends_the_group_which_says_who_and_why(capfd: pytest.CaptureFixture[str]) -> None:
    codes = {
        0: f"heartbeat.announce(Path('runs/digits-1')); {FOREVER}",
        1: "wait_for('pid-0'); time.sleep(0.2); print('epoch 3'); sys.stdout.flush(); send('SIGKILL', os.getpid())",
        2: f"signal.signal(signal.SIGTERM, signal.SIG_IGN); {FOREVER}",
    }
    begin = time.monotonic()
    with pytest.raises(CnnkitError, match=r"^worker 1 was killed by signal 9 \(SIGKILL\)") as caught:
        launch(Cluster(3), command(codes), limits=replace(FAST, saving=0.3))
    assert time.monotonic() - begin < 10
    assert is_gone(0)
    assert is_gone(2)
    assert caught.value.hint == "Continue with: cnnkit launch --workers 3 train --resume runs/digits-1"
    assert "cnnkit: the last lines of worker 1:\n  epoch 3\n" in capfd.readouterr().err


def test_a_worker_that_fails_takes_the_others_down_without_being_blamed_for_them() -> None:
    """Those that wait for a killed one may fail before anybody looks."""
    codes = {
        0: "wait_for('pid-1'); wait_for('dead'); sys.exit(1)",
        1: "wait_for('pid-0'); Path('dead').touch(); send('SIGKILL', os.getpid())",
    }
    with pytest.raises(CnnkitError, match=r"^worker 1 was killed by signal 9 .*; worker 0 ended with exit code 1$"):
        launch(Cluster(2), command(codes), limits=Limits(between_looks=2))


@pytest.mark.long
def test_a_stopped_worker_is_noticed_by_its_silence() -> None:
    codes = {0: FOREVER, 1: "wait_for('pid-0'); time.sleep(0.2); send('SIGSTOP', os.getpid())"}
    with pytest.raises(CnnkitError, match=r"^worker 1 has not answered for 2 s$"):
        launch(Cluster(2), command(codes), limits=replace(FAST, silence=2, saving=0.2))
    assert is_gone(0)
    assert is_gone(1)


@pytest.mark.long
def test_a_stopped_worker_is_named_though_another_fails_of_it_first() -> None:
    codes = {0: "wait_for('stopped'); time.sleep(1.5); sys.exit(1)"}
    codes[1] = "wait_for('pid-0'); time.sleep(0.2); Path('stopped').touch(); send('SIGSTOP', os.getpid())"
    with pytest.raises(CnnkitError, match=r"^worker 1 has not answered for [12] s; worker 0 ended with exit code 1$"):
        launch(Cluster(2), command(codes), limits=replace(FAST, suspicious=0.5, saving=0.2))


def test_a_worker_that_never_begins_is_noticed() -> None:
    stuck = Command(lambda run: ["-c", "import time; time.sleep(60)"], None, (sys.executable,))
    with pytest.raises(CnnkitError, match=r"^worker 0 has given no sign of life for 0\.5 s after its start; worker 1"):
        launch(Cluster(2), stuck, limits=Limits(between_looks=0.02, start=0.5, silence=0.1))


def test_a_failed_group_starts_again_from_its_run(capfd: pytest.CaptureFixture[str]) -> None:
    """First before there is a run, then in the run, and at last it goes through."""
    codes = {
        0: f"""
attempt = len(list(Path().glob("attempt-*")))
Path(f"attempt-{{attempt}}").write_text(f"{{run}} {{sys.stdin.read()}}")
if attempt == 1: heartbeat.announce(Path("runs/a b"))
if attempt < 2: {FOREVER}
""",
        1: """
wait_for(f"attempt-{(0, 1, 2)[len(list(Path().glob('failed-*')))]}")
failed = len(list(Path().glob("failed-*")))
if failed < 2:
    Path(f"failed-{failed}").touch()
    time.sleep(0.3)
    sys.exit(3)
""",
    }
    assert launch(Cluster(2), command(codes, b"text"), 2, FAST) == 0
    begun = [Path(f"attempt-{attempt}").read_text() for attempt in range(3)]
    assert begun == ["None text", "None text", "runs/a b "]
    said = capfd.readouterr().err.splitlines()
    assert [line for line in said if "start" in line] == [
        "cnnkit: no run had begun; starting again (1 of 2)",
        "cnnkit: restarting from runs/a b (2 of 2)",
    ]
    assert said.count("cnnkit: worker 1 ended with exit code 3") == 2


@pytest.mark.long
def test_restarts_are_used_up(capfd: pytest.CaptureFixture[str]) -> None:
    codes = {0: "Path('begun').open('a').write('.'); time.sleep(0.1); sys.exit(1)", 1: FOREVER}
    with pytest.raises(CnnkitError, match=r"^worker 0 ended with exit code 1$") as caught:
        launch(Cluster(2), command(codes), 2, FAST)
    assert Path("begun").read_text() == "..."
    assert caught.value.hint is None
    assert "last lines" not in capfd.readouterr().err


@pytest.mark.parametrize("first", [0, 1])
def test_a_wrong_command_is_said_once_and_not_tried_again(first: int, capfd: pytest.CaptureFixture[str]) -> None:
    later = f"wait_for('pid-{first}'); time.sleep(0.1); "
    wrong = "print('wrong', file=sys.stderr); sys.exit(2)"
    codes = {rank: wrong if rank == first else later + wrong for rank in (0, 1)}
    assert launch(Cluster(2), command(codes), 3, FAST) == 2
    assert capfd.readouterr().err == "wrong\n"


def test_a_command_that_is_wrong_for_one_worker_shows_what_that_said(capfd: pytest.CaptureFixture[str]) -> None:
    codes = {0: FOREVER, 1: "print('no such folder'); sys.exit(2)"}
    with pytest.raises(CnnkitError, match=r"^worker 1 ended with exit code 2$") as caught:
        launch(Cluster(2), command(codes), 3, replace(FAST, saving=0.3))
    assert caught.value.exit_code == 2
    assert "no such folder" in capfd.readouterr().err


def test_others_have_to_leave_after_worker_0(capfd: pytest.CaptureFixture[str]) -> None:
    codes = {0: "wait_for('pid-1')", 1: FOREVER}
    assert launch(Cluster(2), command(codes), limits=replace(FAST, leaving=0.3)) == 0
    assert is_gone(1)
    assert capfd.readouterr().err == "cnnkit: worker 1 did not leave and was killed\n"


def test_what_others_come_to_after_worker_0_spoils_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever is connected to worker 0 may fail when that leaves."""
    codes = {0: "wait_for('pid-1')", 1: "wait_for('pid-0'); time.sleep(0.3); sys.exit(1)"}
    assert launch(Cluster(2), command(codes), 3, FAST) == 0
    assert capfd.readouterr().err == "cnnkit: worker 1 ended with exit code 1, when worker 0 had finished\n"


def test_worker_0_may_stay_long_after_the_others() -> None:
    codes = {0: "time.sleep(0.5); Path('reported').touch()", 1: ""}
    assert launch(Cluster(2), command(codes), limits=replace(FAST, leaving=0.1)) == 0
    assert Path("reported").exists()


LEAVE = """
def leave(number, frame):
    Path(f"left-{rank}").write_text(signal.Signals(number).name)
    sys.exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, leave)
Path(f"ready-{rank}").touch()
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_what_ends_this_process_is_passed_on(name: str, code: int, capfd: pytest.CaptureFixture[str]) -> None:
    before = {each: signal.signal(getattr(signal, each), signal.SIG_DFL) for each in ("SIGTERM", "SIGHUP")}
    try:
        tell = f"heartbeat.announce(Path('run')); wait_for('ready-1'); send({name!r}, os.getppid())"
        codes = {0: f"{LEAVE}\n{tell}; {FOREVER}", 1: f"{LEAVE}\n{FOREVER}"}
        assert launch(Cluster(2), command(codes), 3, FAST) == code
    finally:
        for each, handler in before.items():
            signal.signal(getattr(signal, each), handler)
    assert [Path(f"left-{rank}").read_text() for rank in (0, 1)] == [name, name]
    assert capfd.readouterr().err == ""


def test_the_second_ctrl_c_kills_at_once() -> None:
    stay = "signal.signal(signal.SIGINT, signal.SIG_IGN); Path(f'ready-{rank}').touch(); "
    tell = "wait_for('ready-1'); send('SIGINT', os.getppid()); time.sleep(0.2); send('SIGINT', os.getppid()); "
    codes = {0: stay + tell + FOREVER, 1: stay + FOREVER}
    begin = time.monotonic()
    assert launch(Cluster(2), command(codes), limits=Limits(between_looks=0.02, of_a_request=0.1)) == 130
    assert time.monotonic() - begin < 10
    assert is_gone(0)
    assert is_gone(1)


def test_a_signal_that_comes_twice_at_once_is_one() -> None:
    """As from `timeout`, or from a scheduler that sends it to every process."""
    tell = "wait_for('ready-1'); send('SIGINT', os.getppid()); time.sleep(0.1); send('SIGINT', os.getppid()); "
    slow = LEAVE.replace("    Path", "    time.sleep(0.3)\n    Path")
    codes = {0: f"{slow}\n{tell}{FOREVER}", 1: f"{slow}\n{FOREVER}"}
    assert launch(Cluster(2), command(codes), limits=Limits(between_looks=0.02)) == 130
    assert [Path(f"left-{rank}").read_text() for rank in (0, 1)] == ["SIGINT", "SIGINT"]


def test_ctrl_c_while_a_group_is_being_ended_starts_nothing_again(capfd: pytest.CaptureFixture[str]) -> None:
    # The launcher hands it the Ctrl-C, as it does to every worker; Python would say so by a traceback.
    quiet = "signal.signal(signal.SIGINT, lambda *_: os._exit(130)); "
    tell = "signal.signal(signal.SIGTERM, lambda *_: send('SIGINT', os.getppid())); Path('ready').touch(); "
    codes = {0: quiet + tell + FOREVER, 1: "wait_for('ready'); sys.exit(1)"}
    assert launch(Cluster(2), command(codes), 3, FAST) == 130
    assert is_gone(0)
    assert capfd.readouterr().err == "cnnkit: worker 1 ended with exit code 1\n"


def test_a_process_that_got_the_number_of_an_ended_worker_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda number, signal: killed.append(number))
    assert launch(Cluster(2), command({-1: ""}), limits=FAST) == 0
    assert killed == []


def test_one_that_does_not_leave_after_ctrl_c_is_killed(capfd: pytest.CaptureFixture[str]) -> None:
    codes = {
        0: f"{LEAVE}\nwait_for('ready-1'); send('SIGINT', os.getppid()); {FOREVER}",
        1: f"signal.signal(signal.SIGINT, signal.SIG_IGN); Path('ready-1').touch(); {FOREVER}",
    }
    assert launch(Cluster(2), command(codes), limits=replace(FAST, leaving=0.3)) == 130
    assert "worker 1 did not leave and was killed" in capfd.readouterr().err


def test_of_several_machines_one_worker_is_started(capfd: pytest.CaptureFixture[str]) -> None:
    code = """
assert os.environ.get("CNNKIT_SHARING_WORKERS") is None
print(json.loads(os.environ["TF_CONFIG"]))
if run is None:
    heartbeat.announce(Path("/runs/a"))
    sys.exit(1)
"""
    cluster = Cluster(2, ("node1:2222", "node2:2222"), 1)
    assert launch(cluster, command({-1: code}), 1, FAST) == 0
    config = {"cluster": {"worker": ["node1:2222", "node2:2222"]}, "task": {"type": "worker", "index": 1}}
    said = capfd.readouterr()
    assert said.out == f"{config}\n" * 2
    assert "cnnkit: restarting from /runs/a (1 of 1)\n" in said.err


#: `launch` in a process of its own, with stand-ins.
LAUNCHER = """
import json, sys
from cnnkit.launch.cluster import Cluster
from cnnkit.launch.launching import Command, launch
from cnnkit.launch.supervisor import Limits
text = sys.argv[1]
command = Command(lambda run: ["-c", text, json.dumps(run)], None, (sys.executable,))
sys.exit(launch(Cluster(2), command, 0, Limits(between_looks=0.02, leaving=5)))
"""


def start_launcher(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", LAUNCHER, BEGIN + code])


def wait_until(is_true: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.long
def test_workers_leave_when_their_launcher_is_killed() -> None:
    with start_launcher(f"{LEAVE}\n{FOREVER}") as launcher:
        wait_until(lambda: Path("ready-0").exists() and Path("ready-1").exists())
        launcher.kill()
    wait_until(lambda: is_gone(0) and is_gone(1))
    assert [Path(f"left-{rank}").read_text() for rank in (0, 1)] == ["SIGTERM", "SIGTERM"]


@pytest.mark.long
def test_workers_that_do_not_leave_then_are_killed() -> None:
    stay = "heartbeat.SECONDS_TO_LEAVE = 0.2; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    with start_launcher(f"{stay}Path(f'ready-{{rank}}').touch(); {FOREVER}") as launcher:
        wait_until(lambda: Path("ready-0").exists() and Path("ready-1").exists())
        launcher.kill()
    wait_until(lambda: is_gone(0) and is_gone(1))


#: Makes the terminal on its standard input its own, then becomes a program.
ON_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_ctrl_c_at_a_terminal_reaches_each_worker_once() -> None:
    """A terminal sends it to the processes in its foreground; worker 0 writes there as if it was run directly."""
    import pty

    count = "signal.signal(signal.SIGINT, lambda *_: Path(f'ctrl-c-{rank}').open('a').write('.'))"
    code = f"""
{count}
Path(f"ready-{{rank}}").write_text(f"{{sys.stdout.isatty()}}")
wait_for(f"ctrl-c-{{rank}}")
time.sleep(0.3)
sys.exit(130)
"""
    ours, theirs = pty.openpty()
    arguments = [sys.executable, "-c", ON_TERMINAL, "-c", LAUNCHER, BEGIN + code]
    try:
        with subprocess.Popen(
            arguments, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        ) as launcher:
            wait_until(lambda: Path("ready-0").exists() and Path("ready-1").exists())
            os.write(ours, b"\x03")
        assert launcher.returncode == 130
    finally:
        os.close(ours)
        os.close(theirs)
    assert [Path(f"ready-{rank}").read_text() for rank in (0, 1)] == ["True", "False"]
    assert [Path(f"ctrl-c-{rank}").read_text() for rank in (0, 1)] == [".", "."]


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ctrl_z_stops_the_workers_and_fg_continues_them() -> None:
    with start_launcher("Path(f'ready-{rank}').touch(); wait_for('go')") as launcher:
        wait_until(lambda: Path("ready-0").exists() and Path("ready-1").exists())
        processes = [launcher.pid, *(int(Path(f"pid-{rank}").read_text()) for rank in (0, 1))]
        launcher.send_signal(signal.SIGTSTP)
        wait_until(lambda: [state(pid) for pid in processes] == ["T"] * 3)
        launcher.send_signal(signal.SIGCONT)
        wait_until(lambda: "T" not in [state(pid) for pid in processes])
        Path("go").touch()
    assert launcher.returncode == 0
