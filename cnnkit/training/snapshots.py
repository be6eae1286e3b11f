"""What the live page shows of the network itself: its first kernels, and what it says of a few test images."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.errors import CnnkitError
from cnnkit.files import replacing
from cnnkit.runs.directory import Run
from cnnkit.runs.progress import Reporter
from cnnkit.runs.samples import SAMPLES, write_samples

if TYPE_CHECKING:
    from cnnkit.config.dataset import DataSetInfo
    from cnnkit.config.run import RunConfig
    from cnnkit.task import Answers, Watched

log = logging.getLogger("cnnkit")

#: Kernels on the live page.
MOST_KERNELS = 128

#: There is no snapshot before: in a run that is over so soon nobody sees one, and the first takes a tenth of a second.
FIRST_SECONDS = 2.0

#: Training takes at least so many times as long as the snapshots. The first, for which TensorFlow builds a graph, and
#: the last do not count.
SHARE = 250


class Snapshots:
    """Writes a snapshot after an epoch, unless it would take more of the run's time than it may.

    Neither the forward pass nor the reading of the images changes anything that training depends on. What goes wrong
    here is a warning and the end of the snapshots, never of the training.

    Args:
        run: The run.
        reporter: Gets told what there is to show.
        config: The run's.
        info: What is known of its data set.
        answers: What is kept of the network's outputs.
        network: From uint8 images [n, height, width, channels] to outputs [n, ...], as the network is now.
        kernel: The first convolution's kernel as it is now, [height, width, channels, filters]; None without one.
        watched: What is shown in the place of test images, see `Task.watched`.
        is_resumed: Whether the run has begun in another process, so that FIRST_SECONDS are over.
    """

    def __init__(
        self,
        run: Run,
        reporter: Reporter,
        config: RunConfig,
        info: DataSetInfo,
        answers: Answers,
        network: Callable[[Any], Any],
        kernel: Callable[[], np.ndarray | None],
        watched: Watched | None = None,
        *,
        is_resumed: bool = False,
    ) -> None:
        self.run = run
        self.reporter = reporter
        self.config = config
        self.info = info
        self.answers = answers
        self.network = network
        self.kernel = kernel
        self.watched = watched
        self._images: np.ndarray | None = None
        self._is_ready = False
        self._works = True
        self._first = time.perf_counter() + (0.0 if is_resumed else FIRST_SECONDS)
        self._taken = 0.0
        #: Seconds that the last one took; None before the second.
        self._cost: float | None = None

    def take(self, epoch: int, is_last: bool) -> None:
        """Writes what the network is after an epoch, numbered from 1."""
        if not self._works or time.perf_counter() < self._first:
            return
        is_first = not self._is_ready
        if is_first:
            self._is_ready = True
            self._prepare()
        begin = time.perf_counter()
        if self._cost is not None and begin - self._taken < SHARE * self._cost and not is_last:
            return
        try:
            self._write(epoch)
        # A page that shows less is no reason to lose a training, whatever the reason.
        except Exception as error:
            self._works = False
            log.warning("the live page shows no more kernels and guesses: %s", str(error) or type(error).__name__)
        self._taken = time.perf_counter()
        if not is_first:
            self._cost = self._taken - begin

    def _prepare(self) -> None:
        """Reads the test images: after the first epoch, so that it starts no later for them."""
        from cnnkit.data import sample_test_images

        try:
            config, shown = self.config, self.watched
            samples = shown or sample_test_images(config.data, config.seed, SAMPLES, config.task, self.info)
            self._images = samples.images
            write_samples(self.run, samples.images, samples.targets)
        # As above; and the test images may lie where the training images do not.
        except Exception as error:
            self._images = None
            message = error.message if isinstance(error, CnnkitError) else str(error) or type(error).__name__
            log.warning("the live page shows no test images: %s", message)
            self.reporter.note(images_problem=message)

    def _write(self, epoch: int) -> None:
        arrays: dict[str, Any] = {}
        kernel = self.kernel()
        if kernel is not None:
            arrays["kernel"] = kernel[..., :MOST_KERNELS]
        if self._images is not None:
            arrays[self.answers.kept] = self.answers.keep(self.network(self._images))
        with replacing(self.run.live_snapshot) as temporary, temporary.open("wb") as stream:
            np.savez(stream, epoch=epoch, **arrays)
        self.reporter.note(
            snapshot_epoch=epoch,
            filters=0 if kernel is None else kernel.shape[-1],
            images=0 if self._images is None else len(self._images),
        )
