"""From a request's body to the bytes of images, or to what is wanted, with limits that hold while it is read."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from cnnkit.serve.load import Share
from cnnkit.serve.refusals import BAD_REQUEST, TIMEOUT, TOO_LARGE, UNPROCESSABLE, UNSUPPORTED, Refused

MEGABYTE = 1 << 20
#: A telephone's picture of 50 megapixels has up to 25 MB.
MOST_IMAGE_BYTES = 32 * MEGABYTE
MOST_BODY_BYTES = 64 * MEGABYTE
MOST_TEXT_BYTES = MEGABYTE
#: What says of an image to be made what it should be.
MOST_WANTED_BYTES = 1 << 16
MOST_IMAGES = 256

#: How long a body may take to arrive.
READ_SECONDS = 60.0
#: Clients read no answer while they send: what comes after a refusal is dropped, up to this much and this long.
DROPPED_BYTES = 1 << 30
DROPPED_SECONDS = 5.0

#: A message quotes no more of what it was sent.
_MOST_QUOTED = 80

_HINT = (
    "send an image file as the body with its type (image/png), as multipart/form-data, or base64 in JSON; or a text as "
    'text/plain, or {"texts": ["...", ...]} in JSON'
)


Answer = TypeVar("Answer")
Received = TypeVar("Received")

#: How far an image may be moved in a direction: standard deviations of what the network has learned from.
MOST_AMOUNT = 10.0


@dataclass(frozen=True, eq=False)
class Upload:
    """The bytes of one image.

    Attributes:
        name: What messages call it.
        content: The file, not decoded.
    """

    name: str
    content: bytes


class Texts(BaseModel):
    """A request in JSON for a network that takes texts."""

    model_config = ConfigDict(extra="forbid")

    texts: list[str] = Field(min_length=1, max_length=MOST_IMAGES)


class EncodedImages(BaseModel):
    """A request in JSON."""

    model_config = ConfigDict(extra="forbid")

    images: list[str] = Field(
        min_length=1, max_length=MOST_IMAGES, description="Image files in base64; a data URL is one too."
    )


class Wanted(BaseModel):
    """A request for an image that a network makes."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Another one, another image: that of `generate`.")
    of_class: str | None = Field(
        default=None, alias="class", description="Of a network that knows classes; by default the first of them."
    )
    amounts: list[Annotated[float, Field(ge=-MOST_AMOUNT, le=MOST_AMOUNT, allow_inf_nan=False)]] = Field(
        default=[],
        description="How far the image is moved along the run's directions, in their order, in standard deviations of "
        "the latent vectors; not at all along those that are left out.",
    )


def wanted_body() -> dict[str, Any]:
    """The description of what `read_wanted` reads, for OpenAPI."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": Wanted.model_json_schema()}}}}


def request_body(several: bool) -> dict[str, Any]:
    """The body's description for OpenAPI."""
    binary = {"type": "string", "format": "binary"}
    files = {"type": "array", "items": binary} if several else binary
    name = "images" if several else "image"
    form = {"type": "object", "properties": {name: files}, "required": [name]}
    image_types = ("image/png", "image/jpeg", "image/gif", "image/bmp", "image/webp", "application/octet-stream")
    content: dict[str, Any] = {media_type: {"schema": binary} for media_type in image_types}
    content["multipart/form-data"] = {"schema": form}
    content["text/plain"] = {"schema": {"type": "string"}}
    content["application/json"] = {"schema": {"anyOf": [one.model_json_schema() for one in (EncodedImages, Texts)]}}
    return {"requestBody": {"required": True, "content": content}}


async def read_uploads(request: Request, share: Share, most_images: int = MOST_IMAGES) -> list[Upload]:
    """The images of a request.

    Args:
        request: Its body is an image, a form of files, or JSON (`EncodedImages`).
        share: Takes on the bytes while they arrive, and the images.
        most_images: How many are accepted.

    Raises:
        Refused: if the body is too large, too slow, of another type, or broken.
    """
    uploads = await _received(request, share, _read)
    if len(uploads) > most_images:
        limit = "one image" if most_images == 1 else f"at most {most_images} images"
        raise Refused(TOO_LARGE, f"expected {limit} in a request, got {len(uploads)}")
    share.add(images=len(uploads))
    return uploads


async def read_wanted(request: Request, share: Share) -> Wanted:
    """What a request wants to be made, which is one image more that waits.

    Args:
        request, share: As for `read_uploads`, which has the same errors.
    """
    wanted = await _received(request, share, _read_wanted)
    share.add(images=1)
    return wanted


async def _received(request: Request, share: Share, read: Callable[[Request, _Body], Awaitable[Received]]) -> Received:
    """What `read` makes of a body that arrives in time.

    Raises:
        Refused: if it does not, or `read` refuses it.
    """
    body = _Body(request, share)
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await read(request, body)
    except TimeoutError:
        raise Refused(TIMEOUT, f"the request did not arrive within {READ_SECONDS:.0f} seconds") from None
    except Refused:
        await body.drop_the_rest()
        raise


async def while_connected(request: Request, work: Coroutine[Any, Any, Answer]) -> Answer:
    """What the work for a request returns; it is cancelled once the client has gone.

    Args:
        request: Its body has been read.
        work: What is done for it.

    Raises:
        ClientDisconnect: if the client has gone before the work was done.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        leaving.cancel()
        working.cancel()


async def _disconnect(request: Request) -> None:
    """Returns when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Body:
    """A request's body as it arrives."""

    def __init__(self, request: Request, share: Share) -> None:
        self.request = request
        self.share = share
        self._has_ended = False

    async def chunks(self, limit: int, what: str) -> AsyncIterator[bytes]:
        """The body in parts.

        Raises:
            Refused: once it is larger than the limit, or says that it will be.
        """
        shown = f"{limit // MEGABYTE} MB" if limit >= MEGABYTE else f"{limit // 1024} KB"
        most = f"{shown}, which is the most that is accepted"
        too_large = Refused(TOO_LARGE, f"{what} is larger than {most}")
        announced = self.request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise too_large
        size = 0
        while not self._has_ended:
            chunk = await self._receive()
            size += len(chunk)
            if size > limit:
                raise too_large
            self.share.add(bytes=len(chunk))
            yield chunk

    async def read(self, limit: int, what: str) -> bytes:
        return b"".join([chunk async for chunk in self.chunks(limit, what)])

    async def _receive(self) -> bytes:
        message = await self.request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self._has_ended = not message.get("more_body", False)
        return bytes(message.get("body", b""))

    async def drop_the_rest(self) -> None:
        """Receives what is still sent and keeps none of it."""
        dropped = 0
        with contextlib.suppress(TimeoutError, ClientDisconnect):
            async with asyncio.timeout(DROPPED_SECONDS):
                while not self._has_ended and dropped < DROPPED_BYTES:
                    dropped += len(await self._receive())


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _read_wanted(request: Request, body: _Body) -> Wanted:
    media_type = _media_type(request)
    if media_type != "application/json":
        raise Refused(UNSUPPORTED, f'expected JSON (application/json) such as {{"seed": 1}}, got `{media_type}`')
    content = await body.read(MOST_WANTED_BYTES, "the request")
    try:
        return Wanted.model_validate_json(content)
    except ValidationError as error:
        raise Refused(UNPROCESSABLE, f'expected JSON such as {{"seed": 1}}, but{_problem(error)}') from None


async def _read(request: Request, body: _Body) -> list[Upload]:
    media_type = _media_type(request)
    if media_type == "multipart/form-data":
        return await _read_form(request, body)
    if media_type == "application/json":
        return await asyncio.to_thread(_from_json, await body.read(MOST_BODY_BYTES, "the request"))
    if media_type == "text/plain":
        return [Upload("", await body.read(MOST_TEXT_BYTES, "the text"))]
    if media_type.startswith("image/") or media_type in ("application/octet-stream", ""):
        return [Upload("", await body.read(MOST_IMAGE_BYTES, "the image"))]
    raise Refused(UNSUPPORTED, f"the content type `{media_type}` is not one that can be read; {_HINT}")


def _problem(error: ValidationError) -> str:
    """Where the first of its problems is, and what."""
    problem = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, problem["loc"]))[:_MOST_QUOTED]
    return (f" at `{place}`" if place else "") + f": {problem['msg']}"


def _from_json(body: bytes) -> list[Upload]:
    if _is_of_texts(body):
        return _texts_of(body)
    # Parsed, many small values take a hundred times their bytes. Base64 has no comma, the head of a data URL has one.
    if body.count(b",") > 2 * MOST_IMAGES:
        raise Refused(TOO_LARGE, f"expected at most {MOST_IMAGES} images in a request, got more values than that")
    try:
        encoded = EncodedImages.model_validate_json(body).images
    except ValidationError as error:
        raise Refused(UNPROCESSABLE, f'expected {{"images": ["<base64>", ...]}}, but{_problem(error)}') from None
    uploads = []
    for number, text in enumerate(encoded, 1):
        name = f"image {number}" if len(encoded) > 1 else ""
        if text.startswith("data:"):
            text = text.partition(",")[2]
        try:
            content = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise Refused(UNPROCESSABLE, f"{name or 'the image'} is not base64") from None
        uploads.append(_checked(Upload(name, content)))
    return uploads


def _is_of_texts(body: bytes) -> bool:
    """Whether JSON is meant as that of texts, which are short; images are looked at without parsing them."""
    return re.match(rb'\s*\{\s*"texts"', body) is not None


def _texts_of(body: bytes) -> list[Upload]:
    if len(body) > MOST_TEXT_BYTES:
        raise Refused(TOO_LARGE, "the texts are larger than 1 MB, which is the most that is accepted")
    try:
        texts = Texts.model_validate_json(body).texts
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise Refused(UNPROCESSABLE, f'expected {{"texts": ["...", ...]}}: {problem["msg"]}') from None
    numbered = [f"text {number}" if len(texts) > 1 else "" for number in range(1, len(texts) + 1)]
    return [Upload(name, text.encode("utf-8", "replace")) for name, text in zip(numbered, texts, strict=True)]


def _checked(upload: Upload) -> Upload:
    if len(upload.content) > MOST_IMAGE_BYTES:
        raise Refused(TOO_LARGE, f"{upload.name or 'the image'} is larger than {MOST_IMAGE_BYTES // MEGABYTE} MB")
    return upload


class _FormParser(MultiPartParser):
    """Starlette's parser, with a limit on each file, and all of them in memory."""

    spool_max_size = MOST_IMAGE_BYTES + 1

    parts = size = 0
    is_complete = False

    def on_part_begin(self) -> None:
        super().on_part_begin()
        self.parts += 1
        self.size = 0

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.size += end - start
        if self.size > MOST_IMAGE_BYTES:
            raise Refused(TOO_LARGE, f"image {self.parts} is larger than {MOST_IMAGE_BYTES // MEGABYTE} MB")
        super().on_part_data(data, start, end)

    def on_end(self) -> None:
        super().on_end()
        self.is_complete = True


async def _read_form(request: Request, body: _Body) -> list[Upload]:
    async def chunks() -> AsyncGenerator[bytes, None]:
        async for chunk in body.chunks(MOST_BODY_BYTES, "the request"):
            yield chunk
        if not parser.is_complete:
            raise MultiPartException("it is cut off, its last boundary is missing")

    parser = _FormParser(request.headers, chunks(), max_files=MOST_IMAGES, max_fields=16)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        status = TOO_LARGE if "Maximum number" in error.message else BAD_REQUEST
        raise Refused(status, f"the form cannot be read: {error.message}") from None
    except UnicodeError as error:  # from the encoding that the client names
        raise Refused(BAD_REQUEST, f"the form cannot be read: {error}") from None
    try:
        return await _files(form)
    finally:
        await form.close()


async def _files(form: FormData) -> list[Upload]:
    items = form.multi_items()
    if not items:
        raise Refused(BAD_REQUEST, "the form holds no image file")
    uploads = []
    for number, (field, value) in enumerate(items, 1):
        if not isinstance(value, UploadFile):
            raise Refused(BAD_REQUEST, f"expected image files in the form, but the field `{field}` is not one")
        name = f"image {number} (`{value.filename}`)" if len(items) > 1 else ""
        uploads.append(Upload(name, await value.read()))
    return uploads
