"""What the endpoints do: read requests, let the networks compute, and put the answers together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import Request
from numpy.typing import NDArray

from cnnkit.errors import UsageError
from cnnkit.images.pictures import data_url, encoded, picture_of
from cnnkit.machine.processor import usable_cores
from cnnkit.serve import answers, pictures
from cnnkit.serve.decoding import decode, sizes_of
from cnnkit.serve.inside import Seen, Stage
from cnnkit.serve.load import Load
from cnnkit.serve.refusals import NOT_FOUND, UNPROCESSABLE, Refused
from cnnkit.serve.served import Served, ServedMaker
from cnnkit.serve.uploads import MOST_IMAGES, Upload, Wanted, read_uploads, read_wanted, while_connected
from cnnkit.serve.worker import Worker
from cnnkit.task import Answers

log = logging.getLogger("cnnkit")

Found = TypeVar("Found", Served, ServedMaker)

#: (height, width) of the file of each image; None where nobody needs them.
Sizes = Sequence[tuple[int, int]] | None

#: Threads that decode images and draw pictures; `open_image` lets no more be decoded at once than memory allows.
MOST_THREADS = 4


class Service:
    """The networks, the thread that computes with them, and the threads that decode images and draw pictures.

    Args:
        served: At least one run.
        max_megapixels: Images with more are refused.
    """

    def __init__(self, served: Sequence[Served | ServedMaker], max_megapixels: float) -> None:
        self.max_megapixels = max_megapixels
        self.names = [one.name for one in served]
        self.served = {one.name: one for one in served if isinstance(one, Served)}
        self.makers = {one.name: one for one in served if isinstance(one, ServedMaker)}
        self.load = Load()
        self._worker = Worker()
        self._threads = ThreadPoolExecutor(min(usable_cores(), MOST_THREADS), "cnnkit-images")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The threads run inside the block."""
        self._worker.start()
        preparing = asyncio.create_task(self._warm_up())
        try:
            yield
        finally:
            preparing.cancel()
            await asyncio.to_thread(self._worker.stop)
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _warm_up(self) -> None:
        networks: list[Served | ServedMaker] = [*self.served.values(), *self.makers.values()]
        for one in networks:
            try:
                await self._worker.call(one.warm_up)
            except Exception as error:  # the requests that need it will say so again
                log.warning("the run `%s` cannot be prepared: %s", one.name, error)

    def find(self, name: str | None) -> Served:
        """The run of a name that answers for images; without one, the first.

        Raises:
            Refused: if there is none.
        """
        if name in self.makers or (name is None and not self.served):
            raise Refused(UNPROCESSABLE, f"`{name or self.names[0]}` takes no images, it makes them: POST /make")
        return self._named(name, self.served)

    def find_maker(self, name: str | None) -> ServedMaker:
        """The run of a name that makes images; without one, the first.

        Raises:
            Refused: if there is none.
        """
        if name in self.served or (name is None and not self.makers):
            raise Refused(UNPROCESSABLE, f"`{name or self.names[0]}` makes no images, it takes them: POST /predict")
        return self._named(name, self.makers)

    def _named(self, name: str | None, networks: Mapping[str, Found]) -> Found:
        if name is None:
            return next(iter(networks.values()))
        if name not in networks:
            known = ", ".join(f"`{one}`" for one in self.names)
            raise Refused(NOT_FOUND, f"there is no run `{name}` here; there is {known}")
        return networks[name]

    async def predict(
        self, request: Request, run: str | None, top: int | None, threshold: float | None
    ) -> answers.Predictions:
        """What a network says of the images that a request holds."""
        served = self.find(run)
        said = _above(served, threshold)
        with self.load.request() as share:
            uploads = await read_uploads(request, share, MOST_IMAGES)
            outputs, sizes = await while_connected(request, self._outputs(served, uploads))
        answered = said.read(outputs)
        if sizes is not None:
            answered = [said.counted(answer, size) for answer, size in zip(answered, sizes, strict=True)]
        entries = [answer.entry(top) for answer in answered]
        return answers.Predictions(run=served.name, kind=served.answers.kind, predictions=entries)

    async def explain(
        self, request: Request, run: str | None, wanted: str | None, threshold: float | None
    ) -> answers.Explanation:
        """What a network sees in the one image that a request holds.

        Args:
            wanted: The one of its subjects that Grad-CAM explains; None for what it says.
        """
        served = self.find(run)
        names = served.inside.subjects
        if wanted is not None and served.inside.note is not None:
            raise Refused(UNPROCESSABLE, f"`{served.name}` cannot explain `{wanted}`. {served.inside.note}")
        if wanted is not None and wanted not in names:
            raise Refused(NOT_FOUND, f"the run `{served.name}` knows no class `{wanted}`")
        index = None if wanted is None else names.index(wanted)
        said = _above(served, threshold)
        with self.load.request() as share:
            uploads = await read_uploads(request, share, 1)
            start = time.perf_counter()
            drawn = await while_connected(request, self._explained(served, said, uploads, index))
        return answers.Explanation(run=served.name, milliseconds=1000 * (time.perf_counter() - start), **drawn)

    async def make(self, request: Request, run: str | None) -> bytes:
        """The image that a request wants, as a PNG file."""
        maker = self.find_maker(run)
        with self.load.request() as share:
            wanted = await read_wanted(request, share)
            vector = _vector(maker, wanted)
            return await while_connected(request, self._made(maker, vector))

    async def _made(self, maker: ServedMaker, vector: NDArray[Any]) -> bytes:
        outputs = await self._worker.compute(maker.network, vector[None], maker.batch_size)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _as_file, maker, outputs)

    async def _outputs(self, served: Served, uploads: Sequence[Upload]) -> tuple[Any, Sizes]:
        """The network's outputs for images, [images, ...], and the sizes of these."""
        images, sizes = await self._decoded(served, uploads)
        return await self._worker.compute(served.network, images, served.batch_size), sizes

    async def _decoded(self, served: Served, uploads: Sequence[Upload]) -> tuple[NDArray[Any], Sizes]:
        """The images as the network takes them, [images, ...], and their sizes where the answers need these."""
        images = await decode(uploads, served.interface, self.max_megapixels, self._threads)
        return images, await sizes_of(uploads, self._threads) if served.answers.has_places else None

    async def _explained(
        self, served: Served, said: Answers, uploads: Sequence[Upload], index: int | None
    ) -> dict[str, Any]:
        """The fields of `answers.Explanation` that come from the network, for one image and a subject."""
        image, sizes = await self._decoded(served, uploads)
        size = None if sizes is None else sizes[0]
        seen = await self._worker.call(lambda: served.inside.look(image, index, size))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _drawn, served, said, image[0], sizes, seen)


def _vector(maker: ServedMaker, wanted: Wanted) -> NDArray[Any]:
    """What a network takes to make what is wanted.

    Raises:
        Refused: if there is no such class, or no such direction.
    """
    names, most = maker.maker.class_names, len(maker.directions)
    if wanted.of_class is not None and not names:
        raise Refused(UNPROCESSABLE, f"`{maker.name}` cannot be asked for a class: it was trained without")
    if wanted.of_class is not None and wanted.of_class not in names:
        raise Refused(NOT_FOUND, f"the run `{maker.name}` knows no class `{wanted.of_class}`")
    if len(wanted.amounts) > most:
        raise Refused(
            UNPROCESSABLE, f"`{maker.name}` has {most} directions, but there are {len(wanted.amounts)} amounts"
        )
    return maker.vector(wanted.seed, wanted.of_class, wanted.amounts)


def _as_file(maker: ServedMaker, outputs: Any) -> bytes:
    (image,) = maker.maker.read(outputs)
    return encoded(picture_of(image), compress_level=pictures.COMPRESSION)


def _above(served: Served, threshold: float | None) -> Answers:
    """The answers of a network, where only what has at least a score is said.

    Raises:
        Refused: if what it says has no scores.
    """
    if threshold is None:
        return served.answers
    try:
        return served.answers.above(threshold)
    except UsageError as error:
        raise Refused(UNPROCESSABLE, f"`{served.name}` takes no threshold: {error.message}") from None


def _drawn(served: Served, said: Answers, image: NDArray[Any], sizes: Sizes, seen: Seen) -> dict[str, Any]:
    """The fields of `answers.Explanation` that come from the network."""
    inside = served.inside
    (answer,) = said.read(seen.outputs)
    fields: dict[str, Any] = (answer if sizes is None else said.counted(answer, sizes[0])).entry()
    fields["kind"] = said.kind
    sample = served.interface.sample
    drawn = said.draw(image[None], seen.outputs, sizes)[0]
    fields["pictures"] = {one.name: data_url(one.picture(), compress_level=pictures.COMPRESSION) for one in drawn}
    (picture,) = sample.pictures(image[None])
    fields["image"] = pictures.input_picture(picture)
    fields["gradcam"] = None
    if seen.heat is not None and seen.subject is not None and inside.gradcam_layer is not None:
        ((marked, heat),) = sample.marked(image[None], seen.heat[None])
        fields["gradcam"] = answers.GradCamPicture(
            class_=inside.subjects[seen.subject],
            layer=inside.gradcam_layer.name,
            overlay=pictures.input_picture(marked)
            if heat is None
            else pictures.overlay_picture(heat, marked.shape[:2]),
        )
        if parts := sample.parts(image):
            fields["words"] = list(zip(parts, seen.heat.reshape(-1).round(4).tolist(), strict=False))
    fields["stages"] = []
    for place, stage_maps in zip(inside.stages, seen.maps, strict=True):
        sheet, shown = pictures.sheet_picture(stage_maps)
        fields["stages"].append(answers.StagePicture(**stage_fields(place), shown=shown, sheet=sheet))
    return fields


def stage_fields(place: Stage) -> dict[str, Any]:
    """The fields of `answers.Stage`."""
    rows, columns = place.size
    return {"name": place.name, "rows": rows, "columns": columns, "channels": place.channels}
