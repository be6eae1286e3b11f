"""The application: its routes, and the files of its page."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response

from cnnkit import __version__
from cnnkit.pages import style_sheet
from cnnkit.pages.security import Protected
from cnnkit.runs.predictor import Predictor
from cnnkit.serve import answers, decoding, uploads
from cnnkit.serve.examples import NO_EXAMPLES
from cnnkit.serve.refusals import NOT_FOUND, Refused, add_handlers
from cnnkit.serve.served import Served, ServedMaker, serve_networks
from cnnkit.serve.service import Service, stage_fields

MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}

#: With a place for the megapixels.
DESCRIPTION = f"""\
Asks trained networks about images, or texts, or for images.

An image is a {", ".join(decoding.FORMATS[:-1])} or {decoding.FORMATS[-1]} file of at most
{uploads.MOST_IMAGE_BYTES >> 20} MB and {{:g}} megapixels; a request takes up to
{uploads.MOST_IMAGES} of them and {uploads.MOST_BODY_BYTES >> 20} MB. If one image of a request cannot be read, the
whole request is refused, and the message says which. When too many requests wait, the answer is 503 with `Retry-After`.
"""

#: What OpenAPI says of refusals.
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": answers.ErrorAnswer, "description": description}
    for status, description in {
        400: "The body is broken.",
        404: "No such run or class.",
        408: "The body arrives too slowly.",
        413: "An image or the body is too large.",
        415: "The body's type cannot be read.",
        422: "An image cannot be decoded, or a parameter is wrong.",
        503: "The server is busy; try again after the seconds in `Retry-After`.",
    }.items()
}

#: The parameter of a request for other than the threshold that the server was started with.
Threshold = Annotated[
    float | None, Query(ge=0, le=1, description="Of objects, say those with at least this score, 0 to 1.")
]

RunName = Annotated[
    str | None, Query(description="A run's name; by default the first of those that can be asked this.")
]


def create_app(
    predictors: Sequence[Predictor], names: frozenset[str], max_megapixels: float | None, threshold: float | None
) -> FastAPI:
    """See `cnnkit.serve.create_app`."""
    most = decoding.MOST_MEGAPIXELS if max_megapixels is None else max_megapixels
    service = Service(serve_networks(predictors, threshold), most)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    # FastAPI's pages of documentation load scripts from other servers.
    app = FastAPI(
        title="cnnkit serve",
        version=__version__,
        description=DESCRIPTION.format(most),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    add_handlers(app)
    _add_page(app)
    _add_facts(app, service)
    _add_examples(app, next(iter(service.served.values()), None))
    _add_predictions(app, service)
    _add_making(app, service)
    app.add_middleware(Protected, names=names)
    return app


def _add_page(app: FastAPI) -> None:
    assets = {
        entry.name: entry.read_bytes()
        for entry in (files("cnnkit.serve") / "static").iterdir()
        if entry.name.endswith(tuple(MEDIA_TYPES))
    }
    assets["common.css"] = style_sheet().encode()

    def respond(name: str) -> Response:
        media_type = MEDIA_TYPES["." + name.rpartition(".")[2]]
        return Response(assets[name], media_type=media_type, headers={"Cache-Control": "no-cache"})

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return respond("index.html")

    @app.get("/static/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        if name not in assets:
            raise Refused(NOT_FOUND, f"there is no file `{name}`")
        return respond(name)

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return Response(status_code=204)


def _add_facts(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", summary="Whether the server answers")
    async def health() -> answers.Health:
        return answers.Health(status="ok", runs=service.names)

    @app.get("/runs", summary="The networks that are served")
    async def runs() -> answers.Runs:
        return answers.Runs(
            runs=[_described(one) for one in service.served.values()],
            makers=[_described_maker(one) for one in service.makers.values()],
        )


def _headline(network: Predictor) -> answers.Headline:
    figure = network.task.headline
    value = network.measured(figure)
    text = None if value is None else figure.text(value)
    return answers.Headline(name=figure.name, label=figure.label, value=value, text=text)


def _described_maker(served: ServedMaker) -> answers.ServedMaker:
    return answers.ServedMaker(
        name=served.name,
        task=served.predictor.task.name,
        headline=_headline(served.predictor),
        image_shape=served.interface.data_shape,
        class_names=list(served.maker.class_names),
        latent=served.maker.latent,
        directions=len(served.directions),
        parameters=served.parameters,
    )


def _described(served: Served) -> answers.ServedRun:
    interface, task, inside = served.interface, served.predictor.task, served.inside
    headline = _headline(served.predictor)
    return answers.ServedRun(
        name=served.name,
        task=task.name,
        kind=served.answers.kind,
        facts=dict(served.answers.facts),
        headline=headline,
        sample=interface.sample.singular,
        input_shape=interface.image_shape,
        class_names=list(interface.class_names),
        head=interface.head,
        accuracy=headline.value if headline.name == "accuracy" else None,
        parameters=served.parameters,
        stages=[answers.Stage(**stage_fields(place)) for place in inside.stages],
        gradcam_layer=inside.gradcam_layer.name if inside.gradcam_layer else None,
        subjects=list(inside.subjects),
        note=inside.note,
        drawing=answers.Drawing(share=served.examples.frame.share, bright=served.examples.frame.bright),
    )


def _add_examples(app: FastAPI, served: Served | None) -> None:
    examples = NO_EXAMPLES if served is None else served.examples
    listed = [
        answers.Example(index=index, url=f"/examples/{index}.png", text=text, **truth)
        for index, (text, truth) in enumerate(zip(examples.texts, examples.truths, strict=True))
    ]

    @app.get("/examples", summary="Test images to try")
    async def list_examples() -> answers.ExampleList:
        return answers.ExampleList(examples=listed, note=examples.note)

    @app.get(
        "/examples/{index}.png",
        summary="One of the test images",
        response_class=Response,
        responses={200: {"content": {"image/png": {}}}, 404: ERRORS[404]},
    )
    async def example(index: int) -> Response:
        if not 0 <= index < len(examples.images):
            raise Refused(NOT_FOUND, f"there is no example {index}; there are {len(examples.images)}, from 0")
        return Response(examples.images[index], media_type="image/png")


def _add_predictions(app: FastAPI, service: Service) -> None:
    @app.post(
        "/predict", summary="Ask a network about images", responses=ERRORS, openapi_extra=uploads.request_body(True)
    )
    async def predict(
        request: Request,
        run: RunName = None,
        top: Annotated[
            int | None, Query(ge=1, description="List only so many of the likeliest classes or labels.")
        ] = None,
        threshold: Threshold = None,
    ) -> answers.Predictions:
        """What the network says of each image, such as its class, and the probabilities of all classes.

        The body is an image file, a form with image files, or JSON with image files in base64. A broken image makes the
        whole request fail, with a message that says which one it is.
        """
        return await service.predict(request, run, top, threshold)

    @app.post("/explain", summary="Look inside a network", responses=ERRORS, openapi_extra=uploads.request_body(False))
    async def explain(
        request: Request,
        run: RunName = None,
        wanted: Annotated[
            str | None,
            Query(alias="class", description="What Grad-CAM explains, such as a class; by default what is predicted."),
        ] = None,
        threshold: Threshold = None,
    ) -> answers.Explanation:
        """What the network says of one image, what in it speaks for that, and what each stage makes of the image."""
        return await service.explain(request, run, wanted, threshold)


def _add_making(app: FastAPI, service: Service) -> None:
    @app.post(
        "/make",
        summary="Ask a network for an image",
        response_class=Response,
        responses={**ERRORS, 200: {"content": {"image/png": {}}}},
        openapi_extra=uploads.wanted_body(),
    )
    async def make(request: Request, run: RunName = None) -> Response:
        """An image that a network makes, a PNG file.

        It is the first one of `cnnkit generate RUN --seed N`, moved along directions of the latent space: those along
        which the network's images change most.
        """
        return Response(await service.make(request, run), media_type="image/png")
