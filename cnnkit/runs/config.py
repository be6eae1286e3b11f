"""The config of a run: for whatever does not train it, and for what does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache

from cnnkit.config.dataset import DataProblem, RecordedImages, describe_data_set
from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.config.recorded import load_recorded
from cnnkit.config.run import RunConfig
from cnnkit.errors import CnnkitError, ConfigError, UsageError
from cnnkit.runs.directory import Run
from cnnkit.runs.finding import config_file, is_config, run_of

log = logging.getLogger("cnnkit")

#: Fields of `data` that do not decide which images a split has, or how they reach the network.
_DECIDES_NOTHING = {"batch_size", "drop_remainder", "normalization", "memory", "download"}


def read_config(run: Run) -> LoadedConfig:
    """The run's config, with the images' shape and the classes that the run has noted; its data set may be gone.

    What it holds that is refused today, and that only training needs, is left out; a warning says so once.

    Raises:
        ConfigError: if the config is wrong otherwise.
        CnnkitError: if neither the run nor the data set says what the images are.
    """
    loaded = _read(run)
    if loaded.left_out:
        _tell(run, tuple(f"{problem.path}: {problem.message}" for problem in loaded.left_out))
    return loaded


def _read(run: Run) -> LoadedConfig:
    file = str(run.config)
    try:
        task = run.read_task()
    except CnnkitError as error:
        # An untrained or damaged run may have its data set.
        try:
            return load_recorded(file)
        except ConfigError as refused:
            if all(problem.path.startswith("data") for problem in refused.problems):
                raise error from None
            raise
    return load_recorded(file, RecordedImages(task.image_shape, task.class_names))


@cache
def _tell(run: Run, refused: tuple[str, ...]) -> None:
    listed = "\n".join(f"  {line}" for line in refused)
    log.warning("the config of the run `%s` holds what is refused today, and is used without it:\n%s", run.path, listed)


def config_of_images(run: Run) -> RunConfig:
    """The run's config, where it tells which images are in which split, and they are here.

    Raises:
        ConfigError: if the config is wrong.
        CnnkitError: if they are not here, or what tells the splits apart is refused today: others could be measured.
    """
    loaded = read_config(run)
    for problem in loaded.left_out:
        if _decides_images(problem.keys):
            raise _splits_unknown(run, problem.message)
    try:
        missing = describe_data_set(loaded.config.data, loaded.config.task).missing
    except DataProblem as problem:
        if problem.argument == "splits":
            raise _splits_unknown(run, problem.message) from None
        missing = problem.message
    if missing is not None:
        raise CnnkitError(
            f"the images of the run `{run.path}` are not here: {missing}",
            "Bring them back, or measure others with `cnnkit eval --data FOLDER`.",
        )
    return loaded.config


def _decides_images(keys: tuple[str | int, ...]) -> bool:
    return keys[0] == "seed" or (keys[0] == "data" and not set(keys[1:2]) & _DECIDES_NOTHING)


def _splits_unknown(run: Run, reason: str) -> CnnkitError:
    return CnnkitError(
        f"it cannot be told any more which images the run `{run.path}` has learned from and which test it: {reason}",
        "Measure a folder of other images with `cnnkit eval --data FOLDER`.",
    )


def config_to_train(run: Run) -> LoadedConfig:
    """The run's config as a training needs it.

    Raises:
        ConfigError: if it is damaged.
        UsageError: if it cannot be trained today, although the run can be used.
    """
    try:
        return load_config(str(run.config))
    except ConfigError as error:
        _read(run)
        raise UsageError(
            f"the run `{run.path}` cannot go on, because its config cannot be trained today:\n{error}",
            "What it has learned is kept and can be used as it is: `cnnkit eval`, `predict`, `show`, `serve`. To learn "
            f"more, begin anew with a config that can be trained: a copy of `{run.config}`, corrected.",
        ) from None


def load_named(name: str, overrides: Sequence[str] = (), *, with_images: bool = False) -> LoadedConfig:
    """A config file, or the config of a run (its path, or its name under runs/), to be looked at rather than trained.

    Args:
        overrides: As for `load_config`; with any, a run's config is one that may be trained.
        with_images: Whether its images are looked at, too.

    Raises:
        UsageError: as `config_file`.
        ConfigError: if the config is wrong.
        CnnkitError: as `config_of_images`, for a run.
    """
    run = None if is_config(name) else run_of(name)
    if run is None or overrides:
        return load_config(config_file(name), overrides, to_train=with_images)
    run.check()
    if with_images:
        config_of_images(run)
    return read_config(run)
