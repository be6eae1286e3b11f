"""What the endpoints answer, for OpenAPI."""

from __future__ import annotations

from pydantic import BaseModel, Field


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


class ServedRun(BaseModel):
    name: str
    input_shape: tuple[int, int, int] = Field(description="Height, width, channels.")
    class_names: list[str] = Field(description="In the order of the network's outputs.")
    head: str = Field(description="`softmax`, `logits` or `sigmoid`.")
    accuracy: float | None = Field(description="On the test split, 0..1; null where it has not been evaluated.")
    parameters: int
    stages: list[Stage] = Field(description="The layers whose feature maps /explain shows, low level to high level.")
    gradcam_layer: str | None = Field(description="The layer that Grad-CAM looks at; null where there is none.")
    drawing: Drawing = Field(
        description="How the data set's images fill their frame, for drawings that should do the same."
    )


class Runs(BaseModel):
    runs: list[ServedRun]


class Example(BaseModel):
    index: int
    class_: str = Field(serialization_alias="class", description="The true class.")
    url: str


class ExampleList(BaseModel):
    examples: list[Example] = Field(description="Test images of the first run's data set.")
    note: str | None = Field(description="Why there are none; null where there are.")


class Prediction(BaseModel):
    class_: str = Field(serialization_alias="class", description="The likeliest class.")
    probability: float = Field(description="Its probability, 0..1.")
    probabilities: dict[str, float] = Field(
        description="By class, in the order of the outputs; with `top`, the likeliest ones, the likeliest first."
    )


class Predictions(BaseModel):
    run: str
    predictions: list[Prediction] = Field(description="One for each image, in their order.")


class GradCamPicture(BaseModel):
    class_: str = Field(serialization_alias="class", description="The class that the places speak for.")
    layer: str
    overlay: str = Field(description="A PNG data URL of the input's proportions, transparent where nothing speaks.")


class StagePicture(Stage):
    shown: list[int] = Field(description="The channels on the sheet, row by row: those with the largest mean.")
    sheet: str = Field(description="A PNG data URL; each channel from its least value (black) to its largest (white).")


class Explanation(Prediction):
    run: str
    image: str = Field(description="The image as the network sees it, a PNG data URL.")
    gradcam: GradCamPicture | None = Field(description="Null where no layer outputs an image.")
    stages: list[StagePicture]
    milliseconds: float = Field(description="From the whole request to the answer.")
