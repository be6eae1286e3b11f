"""Where each value of a config was written: a file and its line, or a `--set`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cnnkit.config.run import RunConfig
from cnnkit.errors import Place
from cnnkit.format.document import Node
from cnnkit.format.explain import Path, format_path
from cnnkit.format.schema import Schema, class_schema


def written(root: Node) -> dict[str, Place]:
    """The places of all values that a config's tree holds, `extends` and `--set` merged in.

    Args:
        root: What `load_config` keeps as `tree`.

    Returns:
        The place of each scalar, and of each list of scalars, by its path, such as
        `model.layers[3].Conv2D.filters`, named objects under Keras' own name for them. An `auto` is left out: it leaves
        the choice to cnnkit.
    """
    return {format_path(path): node.place for path, node in _leaves(root, Schema("model", model=RunConfig), ())}


def _leaves(node: Node, schema: Schema | None, path: Path) -> Iterator[tuple[Path, Node]]:
    if isinstance(node.value, dict) and node.value:
        for key, inner in node.value.items():
            name, below = key, schema.field(key) if schema is not None else None
            if schema is not None and schema.kind == "choice" and schema.table is not None:
                name = schema.table.canonical(key)
                cls = schema.table.get(key)
                below = class_schema(cls) if cls is not None else None
            yield from _leaves(inner, below, (*path, name))
    elif isinstance(node.value, list) and any(isinstance(one.value, dict | list) for one in node.value):
        for index, inner in enumerate(node.value):
            yield from _leaves(inner, schema.item if schema is not None else None, (*path, index))
    elif node.value != "auto":
        yield path, node


def as_texts(places: Mapping[str, Place]) -> dict[str, str]:
    """Places as a run records them: `file:line`, or `--set path=value`."""
    return {
        path: str(place) if place.override is not None else f"{place.file}:{place.line}"
        for path, place in places.items()
    }
