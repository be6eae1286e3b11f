"""What the headers of image files say of the images that a data set has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.image_folder import image_header
from cnnkit.images.formats import CorruptImage

#: Image headers read to learn the sizes and modes of files; more would make a config check slow.
HEADER_SAMPLE = 500


def look_at_headers(
    root: Path, files: Sequence[str], config: DataConfig
) -> tuple[tuple[int | None, int | None, int], str | None]:
    """Height, width and channels of image files, of which some are looked at; and what the user should know of them.

    Args:
        files: Relative to `root`.

    Returns:
        The shape; None for height and width where they differ and `data.image_size` says what becomes of them.

    Raises:
        DataProblem: if none can be read, or they differ in size.
    """
    source = f"{'folder' if config.table is None else 'table'} `{config.source}`"
    step = max(1, -(-len(files) // HEADER_SAMPLE))
    headers, problems = [], []
    for file in files[::step]:
        try:
            headers.append(image_header(root / file, config.max_megapixels))
        except CorruptImage as problem:
            problems.append(problem)
    if not headers:
        argument = "folder" if config.table is None else "table"
        raise DataProblem(f"none of the image files in the {source} can be read: {problems[0]}", argument)
    coloured = sum(channels == 3 for _, _, channels in headers)
    note = None
    if 0 < coloured < len(headers) / 2:
        note = (
            f"{coloured:,} of the {len(headers):,} images looked at have colour, so that all are read in colour; "
            "`data.channels: 1` reads them as grayscale"
        )
    sizes = Counter((height, width) for height, width, _ in headers)
    height, width = next(iter(sizes)) if len(sizes) == 1 else (None, None)
    if height is None and config.image_size is None:
        (most, count), other = sizes.most_common(1)[0], sizes.most_common(2)[1][0]
        raise DataProblem(
            f"the images in the {source} differ in size ({count} of {len(headers)} looked at are "
            f"{most[0]}x{most[1]}, others such as {other[0]}x{other[1]}); set "
            "`data.image_size: [height, width]` to resize them",
            "image_size",
        )
    return (height, width, 3 if coloured else 1), note
