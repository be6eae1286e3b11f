"""What the headers of image files say of the images that a data set has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.image_folder import image_header
from cnnkit.images.boxes import other_size
from cnnkit.images.formats import CorruptImage

#: Image headers read to learn the sizes and modes of files; more would make a config check slow.
HEADER_SAMPLE = 500


def look_at_headers(
    root: Path, files: Sequence[str], config: DataConfig, stated: Mapping[str, tuple[int, int]] | None = None
) -> tuple[tuple[int | None, int | None, int], str | None]:
    """Height, width and channels of image files, of which some are looked at; and what the user should know of them.

    Args:
        files: Relative to `root`.
        stated: (height, width) of each as its annotations state it, where there are such.

    Returns:
        The shape; None for height and width where they differ and `data.image_size` says what becomes of them.

    Raises:
        DataProblem: if none can be read, or they differ in size.
    """
    source = f"{'folder' if config.table is None else 'table'} `{config.source}`"
    step = max(1, -(-len(files) // HEADER_SAMPLE))
    headers, problems, unlike = [], [], []
    for file in files[::step]:
        try:
            headers.append(image_header(root / file, config.max_megapixels))
            if stated is not None and stated[file] != headers[-1][:2]:
                unlike.append(other_size(file, headers[-1][:2], stated[file]))
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
    if unlike:
        # What stops a training need not keep a network from being looked at.
        note = (
            f"{len(unlike):,} of the {len(headers):,} images looked at have another size than their annotations say, "
            f"and cannot be learned from: {unlike[0].message}; `cnnkit data check` names all"
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
