"""Image files as Python: the functions of a script that read them as training does."""

from __future__ import annotations

from cnnkit.config.data import DataConfig
from cnnkit.data.images import RESIZERS
from cnnkit.eject.text import copied, literal
from cnnkit.images.formats import FORMATS, MEGAPIXEL

_READ = """\
    if not Path(path).is_file():
        raise OSError(f"{path!a} is no file")
    with Image.open(path, formats=FORMATS) as opened:
        if opened.width * opened.height > MOST_PIXELS:
            raise ValueError(f"{path!a} has too many pixels: {opened.width}x{opened.height}")
        _turn(opened)
"""

_READ_IMAGE = '''\
def read_image(path):
    """An image file, uint8 [%(shape)s]."""
%(read)s        image = _convert(opened, %(mode)s)
    %(resize)sreturn np.asarray(image, np.uint8)%(grey)s


'''

_OPEN_IMAGE = '''\
def open_image(path):
    """An image file as an image of Pillow's, in %(colours)s."""
%(read)s        return _convert(opened, %(mode)s)


'''

_LOAD = '''\
def load(paths, %(targets)s):
    """The images of files, uint8 [n, %(shape)s], and their %(targets)s."""
    return np.stack([read_image(path) for path in paths]), %(targets)s
'''

_LOAD_READABLE = '''\
def load(paths, %(targets)s):
    """The images of files, uint8 [n, %(shape)s], and their %(targets)s, without files that cannot be read."""
    images, places = [], []
    for place, path in enumerate(paths):
        try:
            images.append(read_image(path))
        except Exception as error:
            print(f"left out {path!a}: {error!a}")
        else:
            places.append(place)
    return np.stack(images), %(targets)s[places]
'''


def image_constants(config: DataConfig) -> list[str]:
    """The constants that the functions use."""
    return [
        "# Others are not tried: some that Pillow knows start programs.",
        f"FORMATS = {literal(tuple(FORMATS))}",
        f"MOST_PIXELS = {round(config.max_megapixels * MEGAPIXEL)}",
        "Image.MAX_IMAGE_PIXELS = None  # in place of Pillow's own limit",
    ]


def resizer_name(config: DataConfig) -> str | None:
    """The function of `data.images` that resizes; None where all images have one size."""
    return None if config.image_size is None else RESIZERS[config.resize].__name__


def image_reader(config: DataConfig, shape: tuple[int, ...], targets: str = "labels") -> list[str]:
    """Functions that read image files; the last is `load`, for many.

    Args:
        shape: (height, width, channels) of the images.
        targets: What comes with images is called so.
    """
    height, width, channels = shape
    resizer = resizer_name(config)
    resize = f"if image.size != ({width}, {height}):\n        image = {resizer}(image, {width}, {height})\n    "
    names = {
        "read": _READ,
        "shape": f"{height}, {width}, {channels}",
        "mode": _mode(channels),
        "resize": "" if resizer is None else resize,
        "grey": "[..., None]" if channels == 1 else "",
        "targets": targets,
    }
    load = _LOAD_READABLE if config.skip_corrupt else _LOAD
    return [_converters(config), (_READ_IMAGE + load) % names]


def image_opener(config: DataConfig, channels: int) -> list[str]:
    """Functions that open image files; the last is `open_image`."""
    names = {"read": _READ, "mode": _mode(channels), "colours": "grey" if channels == 1 else "colour"}
    return [_converters(config), _OPEN_IMAGE % names]


def _mode(channels: int) -> str:
    return literal("L" if channels == 1 else "RGB")


def _converters(config: DataConfig) -> str:
    resizer = resizer_name(config)
    return copied("cnnkit.data.images", ["_turn", "_convert", *([resizer] if resizer else [])]) + "\n"
