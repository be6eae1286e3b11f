"""The `data` section: which images, which split, which size; and what is known of them without TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from cnnkit.config.box_columns import BoxColumns
from cnnkit.config.class_names import same_for
from cnnkit.config.damage import Damage
from cnnkit.config.sample import IMAGES, Sample, TextSample
from cnnkit.format.base import StrictModel, describe, invalid
from cnnkit.format.fields import (
    LARGEST_SIDE,
    NAME_SCHEMA,
    NonNegativeNumber,
    Number,
    Pair,
    PositiveInteger,
    Rate,
    Text,
    is_whole,
    list_schema,
    not_blank,
    whole_schema,
)
from cnnkit.format.similar import suggestion
from cnnkit.images.formats import MOST_MEGAPIXELS, Resizing


class DataProblem(Exception):
    """The `data` section does not describe a data set that can be used.

    Args:
        message: What was expected, what was found, what to do.
        argument: The field of `data` to blame, such as `name` or `image_size`.
    """

    def __init__(self, message: str, argument: str) -> None:
        super().__init__(message)
        self.message = message
        self.argument = argument


def _shape(value: Any) -> tuple[int, int, int]:
    if isinstance(value, list | tuple) and len(value) == 3 and all(is_whole(one, 1, LARGEST_SIDE) for one in value):
        return (value[0], value[1], value[2])
    raise invalid(
        f"expected a list [height, width, channels] of whole numbers from 1 to {LARGEST_SIDE:,}, got {describe(value)}"
    )


def _one_or_three(value: Any) -> Any:
    # For pydantic, `true` and 1.0 are equal to 1.
    if is_whole(value):
        return value
    raise invalid(f"expected 1 or 3, got {describe(value)}")


def _names(value: Any) -> list[str]:
    """Names that differ, as a list."""
    if not isinstance(value, list | tuple) or not value or not all(isinstance(one, str) and one for one in value):
        is_list = isinstance(value, list | tuple)
        hint = "; put numbers in quotes" if is_list and any(isinstance(one, int | float) for one in value) else ""
        raise invalid(f"expected a list of names, got {describe(value)}{hint}")
    names = [same_for(one) for one in value]
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise invalid(f"`{twice}` is there twice; names must differ")
    return list(value)


def _columns(value: Any) -> str | list[str]:
    return not_blank(value) if isinstance(value, str) else _names(value)


#: What only a table has.
_OF_TABLES = ("image", "target", "boxes", "split", "group")

#: What only images have, and only texts.
_OF_IMAGES = (
    *(
        "image",
        "boxes",
        "image_size",
        "resize",
        "max_megapixels",
        "channels",
        "shape",
        "pad_to",
        "ignore",
        "skip_corrupt",
    ),
)
_OF_TEXTS = ("words", "length")

#: How many numbers of words a network knows, and how many words of a text it takes, where nothing is said.
WORDS = 10_000
LENGTH = 64
#: What only one picture has.
_OF_PICTURES = ("damage", "enlarge", "reference")


class ChannelStatistics(StrictModel):
    """Constants for `Normalization(mean=, variance=)`, per channel, on the scale 0..255."""

    mean: Annotated[list[Number], Field(min_length=1, description="Mean of each channel, 0..255.")]
    variance: Annotated[
        list[NonNegativeNumber], Field(min_length=1, description="Variance of each channel, in 0..255 squared.")
    ]

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len(self.mean) != len(self.variance):
            raise invalid(
                f"`mean` has {len(self.mean)} values and `variance` {len(self.variance)}; "
                "both need one value per channel"
            )
        return self


_NORMALIZATIONS = ("standardize", "scale", "none")


def _normalization(value: Any) -> str | ChannelStatistics:
    if isinstance(value, dict):
        return ChannelStatistics.model_validate(value)
    if isinstance(value, ChannelStatistics) or value in _NORMALIZATIONS:
        return value
    hint = suggestion(value, _NORMALIZATIONS) if isinstance(value, str) else ""
    raise invalid(
        f"expected `standardize`, `scale`, `none` or a mapping {{mean, variance}}, got {describe(value)}{hint}"
    )


class Splits(StrictModel):
    """TFDS slices for each split, such as `train[:90%]`; one that is left out is chosen as described."""

    train: Text | None = Field(default=None, description="Slice to train on; by default `train`.")
    validation: Text | None = Field(
        default=None, description="Slice to validate on; by default a share of the training split."
    )
    test: Text | None = Field(
        default=None,
        description="Slice for `eval`; by default the set's test split, else its validation split, "
        "else a fixed stratified fifth of the training split. Needed where another slice takes of the test split.",
    )


class DataConfig(StrictModel):
    """Which images the network learns from, and how they reach it."""

    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = (("name", "folder", "table"),)
    displaced: ClassVar[Mapping[str, tuple[str, ...]]] = dict.fromkeys(
        ("name", "folder", "table"), ("damage", "enlarge", "reference")
    )

    name: Text | None = Field(
        default=None, description="A TFDS data set name (`cifar10`, `mnist:3.0.1`), or the bundled `digits`."
    )
    folder: Text | None = Field(
        default=None,
        description="A folder of class folders, or one with `train` and `test` folders (`Training`, `seg_test`, `val` "
        "and the like) of class folders. Links are followed; hidden folders, those that systems make, and runs are no "
        "classes. A relative path belongs to the config file.",
    )
    table: Text | None = Field(
        default=None,
        description="A file of comma- or tab-separated values (UTF-8) with a row for each image or text below the "
        "names of the columns. A relative path belongs to the config file; those of the images belong to the folder "
        "of the table. Tabs separate the cells of `.tsv` files; of others, whichever of comma, tab and `;` is most "
        "frequent in the first line. Columns that are not named here do not count, nor does the order of the rows.",
    )
    image: Text | None = Field(
        default=None,
        description="Of a table, the column with the paths of the images; by default `image`. Without a table, the one "
        "picture to restore: a file (a relative path belongs to the config file), or `china` or `flower`, photographs "
        "that come with scikit-learn.",
    )
    damage: Damage | None = Field(
        default=None,
        description="Of a picture, what is done to it before it is restored; by default nothing, as it is damaged.",
    )
    enlarge: Annotated[int, Field(ge=2, le=16)] | None = Field(
        default=None, description="Of a picture, how many times higher and wider it becomes (2..16): super-resolution."
    )
    reference: Text | None = Field(
        default=None,
        description="Of a picture that is damaged already, the file of the undamaged one, of the size of what is "
        "restored, for PSNR and SSIM. A picture that `damage` is done to is its own.",
    )
    text: Text | None = Field(
        default=None,
        description="Where the texts are, if the network learns from texts: of a table, the column that holds them; of "
        "a folder of class folders, the ending of its files, such as `.txt` (UTF-8); of a TFDS set, the feature. "
        "Without it, the data are images.",
    )
    words: Annotated[int, Field(ge=3, le=1_000_000)] | None = Field(
        default=None,
        description="Of texts, how many numbers of words there are, 10,000 by default: 0 is padding, 1 any word that "
        "is not in the vocabulary, and the others are the most frequent words of the training split. A word is a run "
        "of letters, their marks, and digits, which may have apostrophes inside, in lower case; each other visible "
        "character is one by itself. In layers, `words` stands for this number.",
    )
    length: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None,
        description="Of texts, how many words the network takes, 64 by default: the first ones of a longer text; a "
        "shorter one has padding behind it.",
    )
    target: (
        Annotated[
            str | list[str],
            PlainValidator(_columns),
            WithJsonSchema({"anyOf": [NAME_SCHEMA, {**list_schema(NAME_SCHEMA), "uniqueItems": True}]}),
        ]
        | None
    ) = Field(
        default=None,
        description="Of a table, the column, or list of columns, of what is to be learned: the class of each image; "
        "its labels in one cell with `;` between them, where an empty cell means none, or a list of columns of 0 and "
        "1, one for each label; one or several columns of numbers. Of a TFDS set of texts, the feature of the classes, "
        "where the set itself does not say which that is.",
    )
    boxes: BoxColumns | None = Field(
        default=None,
        description="Of a table with a row for each object in an image, the columns of its box: `[left, top, right, "
        "bottom]`, or a mapping such as `{left: x, top: y, width: w, height: h}`. `target` is the column of its class. "
        "In the row of an image without objects, the cells of the box and the class are empty.",
    )
    split: Text | None = Field(
        default=None,
        description="Of a table, the column that says `train`, `validation` (or `val`) or `test`; without it, images "
        "are divided as those of a folder without splits.",
    )
    group: Text | None = Field(
        default=None,
        description="Of a table, the column of groups, such as patients, whose images all stay in the same split.",
    )
    class_names: (
        Annotated[
            list[str],
            PlainValidator(_names),
            WithJsonSchema({**list_schema(NAME_SCHEMA, 2), "uniqueItems": True}),
        ]
        | None
    ) = Field(
        default=None,
        description="Of a table, the classes, or the labels of one column, in the order of the network's outputs; any "
        "other in the table is then an error. By default those in the table, sorted as text. Of a folder with masks, "
        "the classes in the order of their numbers; by default the lines of its `classes.txt`. Of a TFDS set with "
        "masks, likewise; needed unless cnnkit knows the set.",
    )
    validation: Rate = Field(
        default=0.1, description="Share of the training split held out for validation, 0 to below 1."
    )
    batch_size: PositiveInteger = Field(default=128, description="Images per training step.")
    drop_remainder: bool = Field(default=False, description="Leave out the last, smaller batch of an epoch.")
    image_size: Pair | None = Field(
        default=None, description="[height, width] in pixels to resize every image to, before augmentation."
    )
    resize: Resizing = Field(
        default="stretch",
        description="How an image of other proportions reaches `image_size`: `stretch` changes them; `pad` keeps them "
        "and the whole image, centred between black borders; `crop` keeps them and the middle of the image. As "
        "`keras.layers.Resizing` does with `pad_to_aspect_ratio` and `crop_to_aspect_ratio`.",
    )
    max_megapixels: Annotated[float, Field(ge=0.001, le=100_000)] = Field(
        default=MOST_MEGAPIXELS,
        description="Image files of more megapixels are refused before they are decoded; decoding takes up to 12 "
        "bytes of memory per pixel (20 for WebP).",
    )
    channels: Annotated[Literal[1, 3], BeforeValidator(_one_or_three)] | None = Field(
        default=None,
        description="How a folder's images are read: 1 as grayscale, 3 in colour; by default in colour if any of the "
        "files that are looked at (500 at most) has it.",
    )
    shape: (
        Annotated[
            tuple[int, int, int],
            PlainValidator(_shape),
            WithJsonSchema(list_schema(whole_schema(1, LARGEST_SIDE), 3, 3)),
        ]
        | None
    ) = Field(
        default=None,
        description="[height, width, channels] of the images, where cnnkit cannot know it before loading.",
    )
    classes: PositiveInteger | None = Field(
        default=None, description="Number of classes, where cnnkit cannot know it before loading."
    )
    pad_to: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None,
        description="Images with masks, and a picture that is restored, get a border, so that height and width are "
        "multiples of this number: of their outermost pixels around images, ignored around masks. What is predicted "
        "has the border cut off.",
    )
    ignore: Annotated[int, Field(ge=0, le=255)] | None = Field(
        default=None, description="The number in masks of pixels that do not count, 0..255."
    )
    normalization: Annotated[
        Literal["standardize", "scale", "none"] | ChannelStatistics,
        PlainValidator(_normalization),
        WithJsonSchema({"anyOf": [{"enum": list(_NORMALIZATIONS)}, {"type": "object"}]}),
    ] = Field(
        default="standardize",
        description="`standardize` (per channel, measured on the training split), `scale` (0..1), `none`, or "
        "{mean, variance}; part of the saved model. With a `Backbone`, which does it itself, `none` is the default.",
    )
    splits: Splits = Field(default=Splits.with_defaults(), description="TFDS slices instead of the default splits.")
    skip_corrupt: bool = Field(
        default=False, description="Leave out image files that cannot be decoded, instead of stopping."
    )
    memory: Literal["auto", "cache", "stream"] = Field(
        default="auto",
        description="`cache` keeps the decoded images in memory as bytes, and on disk for the next start; `stream` "
        "decodes them again as they are read, in bounded memory; `auto` is `cache` where they fit in a third of the "
        "free memory. The batches are the same bit for bit.",
    )
    download: bool = Field(default=True, description="Whether a missing TFDS data set may be downloaded.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        stated = [name for name in ("name", "folder", "table") if getattr(self, name) is not None]
        if not stated and self.image is not None:
            self._check_picture()
            return self
        if not stated:
            raise invalid(
                "needs `name:` (a TFDS data set, or `digits`), `folder:` (a folder of class folders) or `table:` (a "
                "file with a row for each image); or, to restore one picture, `image:`"
            )
        if len(stated) > 1:
            raise invalid(f"has both `{stated[0]}` and `{stated[1]}`; keep one of them")
        of_pictures = next((name for name in _OF_PICTURES if getattr(self, name) is not None), None)
        if of_pictures is not None:
            raise invalid(
                f"`{of_pictures}` is for one picture that is to be restored (`image:`), not for the images of "
                f"`{stated[0]}: {getattr(self, stated[0])}`; remove it",
                argument=of_pictures,
            )
        if self.table is None:
            # Of a TFDS set of texts, `target` is a feature.
            is_feature = self.name is not None and self.text is not None and not isinstance(self.target, list)
            self._refuse_columns([name for name in _OF_TABLES if not (is_feature and name == "target")])
        elif self.target is None:
            raise invalid(
                "`table` needs `target:`, the column (or list of columns) of what is to be learned", argument="table"
            )
        if self.text is None:
            other = next((name for name in _OF_TEXTS if getattr(self, name) is not None), None)
            if other is not None:
                raise invalid(
                    f"`{other}` is for texts, and the data are images; add `text:`, or remove it", argument=other
                )
        else:
            self._check_texts()
        self._check_resize()
        return self

    def _refuse_columns(self, names: Sequence[str]) -> None:
        other = next((name for name in names if getattr(self, name) is not None), None)
        if other is not None:
            raise invalid(f"`{other}` says how a `table` is read, which is not given; remove it", argument=other)

    def _check_picture(self) -> None:
        """Whether what is said of one picture goes together."""
        self._refuse_columns([name for name in _OF_TABLES if name != "image"])
        other = next((name for name in ("text", *_OF_TEXTS) if getattr(self, name) is not None), None)
        if other is not None:
            raise invalid(f"`{other}` is for texts, and `image` is a picture; remove it", argument=other)
        if self.damage is not None and self.reference is not None and self.damage.is_known:
            raise invalid(
                "a picture that `damage` is done to is what the restored one is compared with; leave out `reference`",
                argument="reference",
            )
        if self.damage is not None and self.damage.scale is not None and self.enlarge is not None:
            raise invalid(
                "`damage: {scale: ...}` makes the picture smaller and restores its size, `enlarge` takes one that is "
                "small already; keep one of them",
                argument="enlarge",
            )
        self._check_resize()

    def _check_resize(self) -> None:
        if self.resize != "stretch" and self.image_size is None:
            raise invalid(
                f"`resize: {self.resize}` says how images reach `image_size`, which is not given; add "
                "`image_size: [height, width]`",
                argument="resize",
            )

    @property
    def picture(self) -> str | None:
        """The one picture that is restored; None where there are many images."""
        return None if self.name or self.folder or self.table else self.image

    def _check_texts(self) -> None:
        """Refuses what is for images."""
        fields = type(self).model_fields
        other = next((name for name in _OF_IMAGES if getattr(self, name) != fields[name].get_default()), None)
        if other is not None:
            raise invalid(f"`{other}` is for images, and the data are texts; remove it", argument=other)
        if "normalization" in self.model_fields_set and self.normalization != "none":
            raise invalid(
                "texts are no numbers that could be normalised; remove `normalization`", argument="normalization"
            )

    @property
    def sample(self) -> Sample:
        """What the network is given of each: an image, or a text whose vocabulary is not known yet."""
        return IMAGES if self.text is None else TextSample(self.words or WORDS)

    @property
    def source(self) -> str:
        """The name, folder, table or picture."""
        source = self.name or self.folder or self.table or self.image
        assert source is not None
        return source

    @property
    def has_files(self) -> bool:
        """Whether the images are files that the user brings, in a folder, in a table, or one."""
        return self.name is None

    @model_validator(mode="after")
    def _one_number_of_channels(self) -> Self:
        if self.channels is not None and self.shape is not None and self.shape[2] != self.channels:
            raise invalid(f"`channels` is {self.channels}, but `shape` says {self.shape[2]} channels; keep one of them")
        return self
