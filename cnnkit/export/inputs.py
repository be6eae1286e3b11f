"""What an exported network is given, as its card and its script tell people: images, texts, or latent vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from cnnkit.config.sample import ImageSample, LatentSample, Sample, TextSample
from cnnkit.eject.text import copied
from cnnkit.images.padding import NO_PADDING
from cnnkit.runs.interface import Interface

#: For each `data.resize`: the lines that bring `image` to WIDTH and HEIGHT, as `data.images.RESIZERS` does.
_RESIZING = {
    "stretch": "    image = image.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)",
    "pad": """\
    # A black border on two sides, where its proportions are others.
    across = (max(image.width, image.height * WIDTH // HEIGHT) - image.width) // 2
    down = (max(image.height, image.width * HEIGHT // WIDTH) - image.height) // 2
    size = (image.width, HEIGHT) if across else (WIDTH, image.height)
    image = image.resize(size, Image.Resampling.BILINEAR)
    framed = Image.new(image.mode, (image.width + 2 * across, image.height + 2 * down))
    framed.paste(image, (across, down))
    image = framed.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)""",
    "crop": """\
    # The middle, as much of it as has the network's proportions.
    columns = max(1, min(image.width, image.height * WIDTH // HEIGHT))
    rows = max(1, min(image.height, image.width * HEIGHT // WIDTH))
    left, top = (image.width - columns) // 2, (image.height - rows) // 2
    image = image.crop((left, top, left + columns, top + rows))
    image = image.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)""",
}

#: A function that reads an image file as `data.images.read_image` does, but for values of more than 8 bits.
_READ = """

def read(photo):
    \"\"\"An image file as the network takes it, uint8 [HEIGHT, WIDTH, CHANNELS].\"\"\"
    from PIL import Image, ImageOps

    with Image.open(photo) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith(("I", "F")):
        sys.exit(f"{photo}: its values have more than 8 bits; scale them to 0..255")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("MODE")
RESIZED
    return np.asarray(image).reshape(HEIGHT, WIDTH, CHANNELS)

"""


class Given(ABC):
    """What the network of an interface is given."""

    def __init__(self, interface: Interface) -> None:
        self.interface = interface

    @property
    @abstractmethod
    def card(self) -> Sequence[str]:
        """Lines of the card, beside the input's shape."""

    @property
    @abstractmethod
    def values(self) -> str:
        """What the values of the input are."""

    @property
    def purpose(self) -> str:
        """What the script does."""
        return f"Asks the network beside this script about {self.interface.sample.plural}"

    @property
    @abstractmethod
    def argument(self) -> str:
        """What the script is called with."""

    @property
    @abstractmethod
    def about(self) -> str:
        """What its docstring says of that, after the first line."""

    #: The modules of the standard library that it imports, beside those of every script.
    imports: Sequence[str] = ()

    #: A line that imports what else the script needs, and how `pip` calls that.
    further: tuple[str, str] = ("", "")

    @property
    def functions(self) -> str:
        """What the script defines for `reading`, with a line break before and behind it; nothing by default."""
        return ""

    @property
    @abstractmethod
    def reading(self) -> str:
        """The lines that read `images`, what the network is given, by `facts`, the JSON beside the file."""


class Images(Given):
    @property
    def values(self) -> str:
        return "raw values from 0 to 255"

    @property
    def card(self) -> Sequence[str]:
        interface = self.interface
        lines = [
            f"images of other sizes were resized for training ({interface.resize}); normalisation is inside the network"
        ]
        if any(interface.padding):
            top, bottom, left, right = interface.padding
            lines.append(
                f"images have a border of their outermost pixels: {top} rows above, {bottom} below, {left} columns on "
                f"the left, {right} on the right"
            )
        return lines

    argument = "photo.jpg"
    further = ("", "pillow")

    @property
    def about(self) -> str:
        height, width, channels = self._inner
        return (
            "Any number of image files can be named, or, without Pillow,\n"
            f"one file images.npy with [images, {height}, {width}, {channels}], 0 to 255."
        )

    @property
    def functions(self) -> str:
        height, width, channels = self._inner
        text = _READ.replace("RESIZED", _RESIZING[self.interface.resize]).replace("MODE", _mode(channels))
        return text.replace("HEIGHT", str(height)).replace("WIDTH", str(width)).replace("CHANNELS", str(channels))

    @property
    def reading(self) -> str:
        height, width, channels = self._inner
        line = (
            "names = sys.argv[1:]\n"
            'images = np.load(names[0]) if names[0].endswith(".npy") else np.stack([read(name) for name in names])\n'
            f'images = images.astype("float32").reshape(-1, {height}, {width}, {channels})'
        )
        if self.interface.padding == NO_PADDING:
            return line
        top, bottom, left, right = self.interface.padding
        # The network takes them with a border of their outermost pixels.
        return f'{line}\nimages = np.pad(images, ((0, 0), ({top}, {bottom}), ({left}, {right}), (0, 0)), "edge")'

    @property
    def _inner(self) -> tuple[int, int, int]:
        """Height and width without the border, and channels."""
        top, bottom, left, right = self.interface.padding
        height, width, channels = self.interface.image_shape
        return height - top - bottom, width - left - right, channels


def _mode(channels: int) -> str:
    """Pillow's mode of images as a network takes them."""
    return "L" if channels == 1 else "RGB"


class Texts(Given):
    @property
    def values(self) -> str:
        return f"numbers of words from 0 to {self.interface.sample.largest}"

    @property
    def card(self) -> Sequence[str]:
        return [
            "texts are words in small letters: runs of letters, their marks, and digits with apostrophes inside, and "
            "each other visible character by itself",
            "a word's number is its place among `environment.data.words` in the JSON, from 2 on; 1 is any other word, "
            "and 0 is padding behind a text",
        ]

    argument = '"a text"'
    about = "Any number of texts can be named."
    imports = ("re", "unicodedata")

    @property
    def functions(self) -> str:
        return "\n" + copied("cnnkit.texts.words", ["words_in"]) + "\n\n"

    @property
    def reading(self) -> str:
        (length,) = self.interface.image_shape
        return f"""\
numbers = {{word: number for number, word in enumerate(facts["environment"]["data"]["words"], 2)}}
images = np.zeros((len(sys.argv) - 1, {length}), "int32")
for row, text in zip(images, sys.argv[1:]):
    words = words_in(text)[:{length}]
    row[: len(words)] = [numbers.get(word, 1) for word in words]"""


class Latents(Given):
    @property
    def _sample(self) -> LatentSample:
        sample = self.interface.sample
        assert isinstance(sample, LatentSample)
        return sample

    @property
    def values(self) -> str:
        return "standard normal numbers" + (" and the class as one-hot after them" if self._sample.conditions else "")

    @property
    def card(self) -> Sequence[str]:
        return ["what it outputs are pixels; they are rounded to whole numbers"]

    purpose = "Makes images of latent vectors with the network beside this script"
    argument = "16"
    further = ("from PIL import Image", "pillow")

    @property
    def about(self) -> str:
        classes = ", of the classes in turn" if self._sample.conditions else ""
        return f"That is how many images it makes{classes}; they are written here: made-0000.png, ..."

    @property
    def reading(self) -> str:
        line = (
            "count = int(sys.argv[1])\n"
            f'images = np.random.default_rng(0).standard_normal((count, {self._sample.size})).astype("float32")'
        )
        if not self._sample.conditions:
            return line
        return (
            f'{line}\nof_class = np.eye(len(classes), dtype="float32")[np.arange(count) % len(classes)]\n'
            "images = np.concatenate([images, of_class], axis=1)"
        )


_KINDS: Mapping[type[Sample], type[Given]] = {ImageSample: Images, TextSample: Texts, LatentSample: Latents}


def given_to(interface: Interface) -> Given:
    """What the network of an interface is given."""
    return _KINDS[type(interface.sample)](interface)
