"""The tasks, each in a folder of its own. Nothing outside imports what is in these folders; `TASKS` does."""

from __future__ import annotations

from cnnkit.config.target import Target
from cnnkit.format.base import Table
from cnnkit.task import Task

TASKS = Table(
    kind="task",
    package="cnnkit.tasks",
    modules={
        "classification": ("Classification",),
        "multilabel": ("Multilabel",),
        "regression": ("Regression",),
        "segmentation": ("Segmentation",),
        "restoration": ("Restoration",),
        "detection": ("Detection",),
        "generation": ("Generation",),
    },
    aliases={
        "classification": "Classification",
        "multilabel": "Multilabel",
        "regression": "Regression",
        "segmentation": "Segmentation",
        "restoration": "Restoration",
        "detection": "Detection",
        "generation": "Generation",
    },
)

#: What a config means that names none.
DEFAULT = "Classification"


def task_named(name: str) -> Task | None:
    """The task of a name, without arguments; None if there is none."""
    task = TASKS.get(name)
    made = None if task is None else task.with_defaults()
    assert made is None or isinstance(made, Task)
    return made


def task_of(target: type[Target]) -> Task | None:
    """The first task that learns a kind of target of each image, such as a mask; None if there is none."""
    for name in TASKS.aliases:
        made = task_named(name)
        if made is not None and issubclass(made.target, target):
            return made
    return None


def default_task() -> Task:
    """The task of a config that names none."""
    made = task_named(DEFAULT)
    assert made is not None
    return made
