"""What to expect of a large picture: how long its restoration takes, and how much memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cnnkit.machine.memory import reachable_memory
from cnnkit.network.duration import minutes_of_training
from cnnkit.network.footprint import format_bytes
from cnnkit.network.summary import summarize

if TYPE_CHECKING:
    from cnnkit.config.load import LoadedConfig
    from cnnkit.tasks.restoration.settings import Settings

#: What takes longer is warned of, minutes on two cores.
_LONG = 60

#: Bytes that a process with TensorFlow has, and those for each byte of the layers' outputs while gradients are made, as
#: measured with dip_denoise.yaml on pictures from 256x256 to 1200x1600.
_PROCESS = 1 << 30
_PER_BYTE = 1.5

#: Of the time that is not yet long, and of the free memory, the shares that a picture of the advised size takes: there
#: is room for its border.
_TIME_SHARE, _MEMORY_SHARE = 0.8, 0.7

#: Sides that are advised are multiples of this.
_STEP = 8


def warnings(task: Settings, loaded: LoadedConfig) -> list[str]:
    """See `Task.warnings`: of a picture that takes more than an hour, or more memory than there is."""
    picture = loaded.info.picture
    if picture is None:
        return []
    summary, config = summarize(loaded), loaded.config
    minutes = minutes_of_training(summary, task.iterations, config.training.epochs)
    needed, free = _PROCESS + _PER_BYTE * summary.activation_bytes, reachable_memory()
    if minutes <= _LONG and needed <= free:
        return []
    height, width, _ = picture.shape
    iterations = task.iterations * config.training.epochs
    text = f"{iterations:,} iterations at {height}x{width} take about {_in_words(minutes)} on two cores"
    factor = math.sqrt(min(1.0, _TIME_SHARE * _LONG / minutes))
    if needed > free:
        text += (
            f", and about {format_bytes(round(needed))} of memory, of which {format_bytes(free)} are free: the system "
            "may end the process"
        )
        room = max(0.0, _MEMORY_SHARE * free - _PROCESS) / (_PER_BYTE * summary.activation_bytes)
        factor = min(factor, math.sqrt(room))
    scale = config.data.damage.scale if config.data.damage is not None else None
    step, times = math.lcm(_STEP, scale or 1), config.data.enlarge or 1
    size = [max(step, int(side // times * factor) // step * step) for side in (height, width)]
    smaller = minutes * size[0] * size[1] * times**2 / (height * width)
    return [
        f"{text}. A smaller picture takes about {_in_words(smaller)}: --set data.image_size=[{size[0]},{size[1]}]. "
        "Meanwhile, restored.png in the run has the picture after each epoch"
    ]


def _in_words(minutes: float) -> str:
    if minutes < 90:
        return f"{max(1, round(minutes))} minutes"
    return f"{round(minutes / 60)} hours" if minutes < 48 * 60 else f"{round(minutes / 60 / 24)} days"
