"""What the endpoints answer, for OpenAPI."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ErrorAnswer(BaseModel):
    error: str = Field(description="What is wrong with the request, in words.")


class Health(BaseModel):
    status: str = Field(description="`ok`.")
    runs: list[str] = Field(description="The names of the runs that are served.")


class Stage(BaseModel):
    name: str = Field(description="The layer.")
    rows: int
    columns: int
    channels: int


class Drawing(BaseModel):
    share: float = Field(description="The longer side of what the images show, as a share of their frame, 0..1.")
    bright: bool = Field(description="Whether it is bright on a dark background.")


class Headline(BaseModel):
    name: str = Field(description="As in evaluation.json.")
    label: str
    value: float | None = Field(description="On the test split; null where it has not been evaluated.")
    text: str | None = Field(description="The value as people read it.")


class ServedRun(BaseModel):
    name: str
    task: str = Field(description="What the network has learned, as configs write it.")
    kind: str = Field(description="Of the answers: what the page shows them by.")
    facts: dict[str, Any] = Field(description="Of all answers; of the kind `mask`, the `colours` of its classes.")
    headline: Headline = Field(description="The figure that counts for the task.")
    sample: str = Field(description="What the network is given: `image` or `text`.")
    input_shape: tuple[int, ...] = Field(description="Height, width, channels of images; length of texts.")
    class_names: list[str] = Field(description="Of classes, labels or numbers, in the order of the network's outputs.")
    head: str = Field(description="`softmax`, `logits` or `sigmoid`.")
    accuracy: float | None = Field(description="On the test split, 0..1; null where it has not been measured.")
    parameters: int | None = Field(description="Null where an exported file does not say.")
    stages: list[Stage] = Field(description="The layers whose feature maps /explain shows, low level to high level.")
    gradcam_layer: str | None = Field(description="The layer that Grad-CAM looks at; null where there is none.")
    subjects: list[str] = Field(description="What Grad-CAM can explain: the values of `class` of /explain.")
    note: str | None = Field(description="Why the page shows less of it than of others; null where it does not.")
    drawing: Drawing = Field(
        description="How the data set's images fill their frame, for drawings that should do the same."
    )


class ServedMaker(BaseModel):
    name: str
    task: str = Field(description="What the network has learned, as configs write it.")
    headline: Headline = Field(description="The figure that counts for the task.")
    image_shape: tuple[int, ...] = Field(description="Height, width, channels of what it makes.")
    class_names: list[str] = Field(description="Those that it can be asked for; none where it has learned without.")
    latent: int = Field(description="How many numbers it makes an image of.")
    directions: int = Field(description="How many `amounts` /make takes, at most.")
    parameters: int


class Runs(BaseModel):
    runs: list[ServedRun] = Field(description="The networks that answer for images or texts.")
    makers: list[ServedMaker] = Field(description="The networks that make images.")


class Example(BaseModel):
    """Beside these, what is true of the image, by the kind of the first run's answers: its `class`, for one."""

    model_config = ConfigDict(extra="allow")

    index: int
    url: str
    text: str = Field(description="What a text says; empty for images.")


class ExampleList(BaseModel):
    examples: list[Example] = Field(description="Test images of the first of `runs`.")
    note: str | None = Field(description="Why there are none; null where there are.")


class Predictions(BaseModel):
    run: str
    kind: str = Field(description="Of the answers, as /runs says.")
    predictions: list[dict[str, Any]] = Field(
        description="One for each image, in their order, as `predict --json` has it. Of the kind `classes`: "
        "`class`, the likeliest one, its `probability`, 0..1, and `probabilities` by class, in the order of the "
        "outputs; with `top`, the likeliest ones, the likeliest first."
    )


class GradCamPicture(BaseModel):
    class_: str = Field(serialization_alias="class", description="The one of `subjects` that the places speak for.")
    layer: str
    overlay: str = Field(description="A PNG data URL of the input's proportions, transparent where nothing speaks.")


class StagePicture(Stage):
    shown: list[int] = Field(description="The channels on the sheet, row by row: those with the largest mean.")
    sheet: str = Field(description="A PNG data URL; each channel from its least value (black) to its largest (white).")


class Explanation(BaseModel):
    """Beside these, what the network says, as in /predict."""

    model_config = ConfigDict(extra="allow")

    run: str
    kind: str = Field(description="Of the answer, as /runs says.")
    words: list[tuple[str, float]] = Field(
        default=[], description="Of a text, each word and how strongly it speaks for what Grad-CAM explains, 0..1."
    )
    pictures: dict[str, str] = Field(description="The answer's pictures by name, as PNG data URLs, where it has any.")
    image: str = Field(description="The image as the network sees it, a PNG data URL.")
    gradcam: GradCamPicture | None = Field(
        description="Null where there is nothing to explain, or no layer outputs an image."
    )
    stages: list[StagePicture]
    milliseconds: float = Field(description="From the whole request to the answer.")
