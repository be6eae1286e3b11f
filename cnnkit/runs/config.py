"""The config that a name stands for, whether it is a file's or a run's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.errors import ConfigError, UsageError
from cnnkit.runs.directory import Run
from cnnkit.runs.finding import config_file, is_config, run_of


def config_to_train(run: Run) -> LoadedConfig:
    """The run's config as a training needs it.

    Raises:
        ConfigError: if it is damaged.
        UsageError: if it cannot be trained today, although the run can be used.
    """
    try:
        return load_config(str(run.config))
    except ConfigError as error:
        from cnnkit.runs.trained import open_run, read_recorded

        read_recorded(open_run(run))
        raise UsageError(
            f"the run `{run.path}` cannot go on, because its config cannot be trained today:\n{error}",
            "What it has learned is kept and can be used as it is: `cnnkit eval`, `predict`, `show`, `serve`. To learn "
            f"more, start again with a config that can be trained: a copy of `{run.config}`, corrected.",
        ) from None


def load_named(name: str, overrides: Sequence[str] = (), *, with_images: bool = False) -> LoadedConfig:
    """A config file, or the config of a run (its path, or its name under runs/), to be looked at rather than trained.

    Args:
        overrides: As for `load_config`; with any, a run's config is one that may be trained.
        with_images: Whether its images are looked at, too.

    Raises:
        UsageError: as `config_file`.
        ConfigError: if the config is wrong.
        CnnkitError: as `TrainedRun.data_set`, for a run.
    """
    run = None if is_config(name) else run_of(name)
    if run is None or overrides:
        return load_config(config_file(name), overrides, to_train=with_images)
    from cnnkit.runs.trained import open_run

    run.check()
    trained = open_run(run)
    return replace(trained.loaded, info=trained.data_set) if with_images else trained.loaded
