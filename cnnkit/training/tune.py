"""`cnnkit train --tune`: times the settings that are `auto` on the run's own network and data, and takes the best.

Every setting of what holds for a whole process (oneDNN, threads) is tried in a process of its own, before TensorFlow is
loaded in the one that trains. The others are tried side by side in one process, in turns, so that what else the machine
does meets all of them.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.format.files import STDIN
from cnnkit.machine import processor
from cnnkit.machine.tensorflow import ONEDNN, THREADS, environment_of_user, on_or_off, onednn_helps, set_by_user
from cnnkit.terminal.console import Console, format_duration
from cnnkit.training.settings import TIMED, choose_settings

if TYPE_CHECKING:
    from cnnkit.config.training import TrainingConfig
    from cnnkit.data import DataSets

#: Training steps between two returns to Python that are tried.
STEPS_PER_EXECUTION = (1, 8, 32)
#: Executions longer than this are not tried: a return to Python takes about a millisecond.
LONGEST_EXECUTION_SECONDS = 2.0
#: Each setting is timed that often, for at least that long; the fastest counts, since what disturbs only slows down.
REPEATS = 4
SECONDS_PER_REPEAT = 0.5
#: How much shorter the whole run must become for the rule's choice to be left.
MARGIN = 0.05


@dataclass(frozen=True)
class Measurement:
    """One setting, and how fast it was.

    Attributes:
        settings: The values of `settings.SETTINGS`.
        seconds_per_step: Of the fastest repeat; None where it failed.
        start_seconds: What the first execution took beyond its steps: tracing and compiling.
        error: Why it failed.
    """

    settings: dict[str, Any]
    seconds_per_step: float | None = None
    start_seconds: float | None = None
    error: str | None = None

    def run_seconds(self, steps: int) -> float:
        """The estimate for a run of that many steps; infinite where it failed."""
        if self.seconds_per_step is None or self.start_seconds is None:
            return float("inf")
        return self.start_seconds + steps * self.seconds_per_step


@dataclass
class Tuning:
    """What was measured and chosen.

    Attributes:
        device: `CPU` or `GPU`.
        steps: Training steps of the whole run.
        rule: What the fixed rule would have chosen.
        tried: The fields that were left to it.
        seconds: What the tuning took.
    """

    device: str
    steps: int
    rule: dict[str, Any]
    measurements: list[Measurement] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def best(self) -> Measurement:
        """The fastest; the rule's own choice unless another is faster by more than the noise."""
        ranked = sorted(self.measurements, key=lambda one: one.run_seconds(self.steps))
        # Where the rule's steps per execution are too many to be tried, the rest of its choice stands for it.
        rest = {name: value for name, value in self.rule.items() if name != "steps_per_execution"}
        exactly = [one for one in ranked if one.settings == self.rule]
        for one in exactly or [one for one in ranked if one.settings.items() >= rest.items()]:
            limit = (1 - MARGIN) * one.run_seconds(self.steps)
            return ranked[0] if ranked[0].run_seconds(self.steps) < limit else one
        return ranked[0]

    def add(self, measured: Measurement) -> None:
        """Adds a measurement; of the same setting measured again, the better time counts."""
        for place, before in enumerate(self.measurements):
            if before.settings == measured.settings:
                self.measurements[place] = min(before, measured, key=lambda one: one.run_seconds(self.steps))
                return
        self.measurements.append(measured)

    def as_json(self) -> dict[str, Any]:
        """For environment.json."""
        return {
            "chosen": self.best.settings,
            "rule": self.rule,
            "tried": self.tried,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "measurements": [
                {**asdict(one), "run_seconds": None if one.error else one.run_seconds(self.steps)}
                for one in self.measurements
            ],
        }

    def as_text(self) -> str:
        """A table of the measurements."""
        lines = [
            f"{'oneDNN':8}{'threads':>7}  {'XLA':5}{'steps/execution':>15}  {'dtype policy':16}{'fused':7}{'forward':7}"
        ]
        lines[0] += f"{'ms/step':>10}{'start':>10}{'whole run':>13}"
        best = self.best
        for one in self.measurements:
            settings = one.settings
            row = (
                f"{settings['onednn']:8}{settings['threads']:>7}  {settings['jit']:5}"
                f"{settings['steps_per_execution']:>15}  {settings['dtype_policy']:16}"
                f"{settings['fused_activations']:7}{settings['forward_filter_gradients']:7}"
            )
            if one.seconds_per_step is None or one.start_seconds is None:
                row += f"  failed: {one.error}"
            else:
                row += f"{1000 * one.seconds_per_step:>10.2f}{one.start_seconds:>8.1f} s"
                row += f"{format_duration(one.run_seconds(self.steps)):>13}"
            row += "  chosen" if one is best else ""
            row += "  the rule's choice" if one.settings == self.rule and one is not best else ""
            lines.append(row)
        return "\n".join(f"  {line}" for line in lines)


def tune(loaded: LoadedConfig, overrides: Sequence[str], console: Console) -> tuple[LoadedConfig, Tuning]:
    """Times the settings that the config leaves to `auto`.

    Args:
        loaded: The config.
        overrides: The `--set` texts that it was loaded with.

    Returns:
        The config with the settings that were chosen, and what was measured.

    Raises:
        UsageError: if the config leaves nothing to be chosen.
        CnnkitError: if no setting works, or the data cannot be loaded.
    """
    training = loaded.config.training
    tried = _open_fields(training)
    if not tried:
        raise UsageError(
            "--tune has nothing to choose: the config, or an environment variable, sets them all",
            f"Set one of these to auto: {', '.join(f'training.{name}' for name in TIMED)}",
        )
    begin = time.perf_counter()
    console.line("tuning    times the settings on this network and data; it takes a minute or two")
    tuning = _first(_in_new_process(loaded, overrides))
    tuning.tried = tried
    best = tuning.best
    if best.error is not None:
        raise CnnkitError(f"--tune: no setting works; the first one failed with: {best.error}")
    if tuning.device == "CPU":
        for name, value in _process_candidates(training, best.settings):
            leading = tuning.best.settings
            challenger = leading | {name: value}
            _time_again(tuning, loaded, overrides, [challenger])
            if tuning.best.settings == challenger:
                # The machine may have been busy before, and idle now.
                _time_again(tuning, loaded, overrides, [leading, challenger])
    tuning.seconds = time.perf_counter() - begin
    console.line(tuning.as_text())
    update = {"training": training.model_copy(update=tuning.best.settings)}
    return replace(loaded, config=loaded.config.model_copy(update=update)), tuning


def _open_fields(training: TrainingConfig) -> list[str]:
    """The fields that are neither set by the config nor by the user's variables."""
    decided = {
        "onednn": set_by_user(ONEDNN) or not onednn_helps(),
        "threads": set_by_user(THREADS) or processor.usable_cores() == 1,
    }
    return [name for name in TIMED if getattr(training, name) == "auto" and not decided.get(name)]


def _process_candidates(training: TrainingConfig, settings: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """What else to try of the settings that hold for a whole process, on a CPU."""
    names = _open_fields(training)
    if "onednn" in names:
        yield "onednn", "off" if settings["onednn"] == "on" else "on"
    if "threads" in names:
        # Two hardware threads of one core compute no more than one.
        yield "threads", max(1, settings["threads"] // 2)


def _first(found: dict[str, Any]) -> Tuning:
    measurements = [Measurement(**one) for one in found["measurements"]]
    return Tuning(found["device"], found["steps"], found["rule"], measurements)


def _time_again(
    tuning: Tuning, loaded: LoadedConfig, overrides: Sequence[str], several: Sequence[dict[str, Any]]
) -> None:
    """Measures settings, each in a new process."""
    for settings in several:
        fixed = [f"training.{name}={value}" for name, value in settings.items()]
        try:
            found = _in_new_process(loaded, [*overrides, *fixed])
        except CnnkitError as error:
            tuning.add(Measurement(settings, error=error.message))
            continue
        for one in found["measurements"]:
            # A TensorFlow that cannot do it does something else, which is measured already.
            if one["settings"] == settings:
                tuning.add(Measurement(**one))


# --- The measuring process ----------------------------------------------------------------------------

#: Runs `main`, wherever cnnkit was imported from; -P keeps modules of the working folder out of the way.
_START = "import sys; sys.path.append(sys.argv.pop(1)); from cnnkit.training.tune import main; main(sys.argv[1:])"


def _in_new_process(loaded: LoadedConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """What `measure` returns in a process that has not loaded TensorFlow.

    Raises:
        CnnkitError: if it ends without a result.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        root = str(Path(__file__).parent.parent.parent)
        # What came through a pipe goes through one again.
        file = STDIN if loaded.piped else loaded.file
        done = subprocess.run(
            [sys.executable, "-P", "-c", _START, root, str(result), file, *overrides],
            env=environment_of_user(),
            input=loaded.text if loaded.piped else "",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        if not result.exists():
            lines = done.stderr.strip().splitlines()
            reason = f"signal {-done.returncode}" if done.returncode < 0 else lines[-1] if lines else "no message"
            raise CnnkitError(f"--tune: the process that measures ended: {reason}")
        found: dict[str, Any] = json.loads(result.read_text("utf-8"))
    if "error" in found:
        raise CnnkitError(found["error"], found["hint"])
    return found


def main(arguments: Sequence[str]) -> None:
    """Measures, in a process of its own: RESULT CONFIG OVERRIDE... to a JSON file."""
    result, file, *overrides = arguments
    found: dict[str, Any]
    try:
        found = measure(load_config(file, overrides))
    except CnnkitError as error:
        found = {"error": error.message, "hint": error.hint}
    Path(result).write_text(json.dumps(found), "utf-8")


class _Candidate:
    """A compiled model with one setting, and its times so far.

    Raises:
        Exception: whatever TensorFlow raises where the setting does not work.
    """

    def __init__(self, loaded: LoadedConfig, data: DataSets, changes: dict[str, Any]) -> None:
        from cnnkit.layers.filter_gradient import wide_convolutions
        from cnnkit.layers.fused import fusible
        from cnnkit.training.loop import Position
        from cnnkit.training.preparation import make_loop, prepare

        training = loaded.config.training.model_copy(update=changes)
        config = loaded.config.model_copy(update={"training": training})
        prepared = prepare(replace(loaded, config=config), data)
        used = prepared.runtime
        self.settings = used.as_fields()
        #: What else is worth a try: XLA makes one loop of an activation as it is, and has no oneDNN.
        self.further: list[str] = []
        if used.device == "CPU" and used.devices.replicas == 1 and not used.jit_compile:
            layers = prepared.model.layers
            if next(fusible(layers), None) is not None:
                self.further.append("fused_activations")
            if used.onednn and next(wide_convolutions(layers), None) is not None:
                self.further.append("forward_filter_gradients")
        self.loop = make_loop(prepared)
        self.size = prepared.runtime.steps_per_execution
        self.times: list[float] = []
        begin = time.perf_counter()
        # Of images that grow from epoch to epoch, the last ones take most of the time.
        self.loop.begin(Position(epoch=training.epochs - 1))
        stamps = self._run(1)
        self.start_seconds = stamps[0] - begin
        self.time()
        self.start_seconds = max(0.0, self.start_seconds - self.size * self.seconds_per_step)

    @property
    def seconds_per_step(self) -> float:
        return min(self.times)

    def time(self) -> None:
        """Times one repeat: as many executions as it takes, and one before them."""
        known = self.size * self.seconds_per_step if self.times else SECONDS_PER_REPEAT
        count = max(1, round(SECONDS_PER_REPEAT / max(known, 1e-6)))
        stamps = self._run(1 + count)
        self.times.append((stamps[-1] - stamps[0]) / (count * self.size))

    def _run(self, executions: int) -> list[float]:
        """When each execution ended."""
        stamps: list[float] = []
        for execution in range(executions):
            figures = self.loop.take(self.size)
            if execution in (0, executions - 1):
                # To read a figure is to wait until the device is done; in between, training does not wait either.
                float(figures["loss"])
            stamps.append(time.perf_counter())
        return stamps

    def chosen(self) -> dict[str, Any]:
        """Its settings without those of whole processes and the steps per execution."""
        names = ("jit", "dtype_policy", "fused_activations", "forward_filter_gradients")
        return {name: self.settings[name] for name in names}

    def measurement(self) -> Measurement:
        return Measurement(self.settings, self.seconds_per_step, self.start_seconds)


def measure(loaded: LoadedConfig) -> dict[str, Any]:
    """Times what can be changed within this process: XLA, the dtype policy, activations in one pass, gradients of
    filters forward, and steps per execution. Which dtype policies there are to choose from depends on the device.

    Returns:
        device, steps (of the run), rule (what the fixed rule chooses here) and measurements, as `Tuning` has them.
    """
    from cnnkit.training.preparation import load_data, steps_of

    config, training = loaded.config, loaded.config.training
    data = load_data(loaded)
    steps = steps_of(config, data)
    rule = choose_settings(training, loaded.all_steps, steps)
    jits = [rule.as_fields()["jit"]]
    if training.jit == "auto":
        jits.append(on_or_off(not rule.jit_compile))
    policies = [rule.dtype_policy]
    if training.dtype_policy == "auto":
        policies.append("float32")
        if rule.device == "CPU" and processor.multiplies_bfloat16():
            policies.append("mixed_bfloat16")
    open_steps = training.steps_per_execution == "auto"
    sizes = sorted({min(size, steps) for size in STEPS_PER_EXECUTION} if open_steps else {rule.steps_per_execution})

    candidates: list[_Candidate] = []
    failed: list[Measurement] = []

    def add(changes: dict[str, Any]) -> None:
        try:
            candidates.append(_Candidate(loaded, data, changes))
        except Exception as error:  # a setting that does not work may fail in any way, and is passed over
            settings = rule.as_fields() | changes
            failed.append(Measurement(settings, error=_in_one_line(error)))

    for jit, policy in itertools.product(jits, dict.fromkeys(policies)):
        add({"jit": jit, "dtype_policy": policy, "steps_per_execution": sizes[0]})
    total = config.training.epochs * steps

    def leading() -> _Candidate:
        return min(candidates, key=lambda one: one.measurement().run_seconds(total))

    if candidates:
        fastest = leading()
        for name in fastest.further:
            if getattr(training, name) == "auto" and fastest.settings[name] == "off":
                add({**fastest.chosen(), name: "on", "steps_per_execution": sizes[0]})
                fastest = leading()
        kept = fastest.chosen()
        for size in sizes[1:]:
            if size * fastest.seconds_per_step <= LONGEST_EXECUTION_SECONDS:
                add({**kept, "steps_per_execution": size})
    for _ in range(REPEATS - 1):
        for candidate in candidates:
            candidate.time()
    return {
        "device": rule.device,
        "steps": total,
        "rule": rule.as_fields(),
        "measurements": [asdict(one) for one in [*(one.measurement() for one in candidates), *failed]],
    }


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
