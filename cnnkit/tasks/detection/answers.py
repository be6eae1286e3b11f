"""Boxes, as `predict`, `serve` and the live page show them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cnnkit.data.boxes import placed_back
from cnnkit.images.colours import COLOURS
from cnnkit.runs.interface import Interface
from cnnkit.task import Answer, AnswerPicture, Answers
from cnnkit.tasks.detection.detecting import threshold_of
from cnnkit.tasks.detection.drawing import with_detections
from cnnkit.tasks.detection.peaks import Detections, detections_of
from cnnkit.tasks.detection.precision import match
from cnnkit.tasks.detection.settings import Settings

_EDGES = ("left", "top", "right", "bottom")

#: Of edges in pixels.
_DECIMALS = 2


@dataclass(frozen=True, eq=False)
class BoxAnswer:
    """The boxes that a network says of an image.

    Attributes:
        class_names: One name per class.
        found: The boxes, the surest first.
        size: (height, width) of the image that their pixels are of.
    """

    class_names: Sequence[str]
    found: Detections
    size: tuple[int, int]

    def cells(self, top: int) -> Sequence[str]:
        counts = Counter(self.class_names[number] for number in self.found.numbers.tolist())
        surest = [
            f"{self.class_names[number]} {score:.1%}"
            for number, score in zip(self.found.numbers[:top].tolist(), self.found.scores[:top].tolist(), strict=True)
        ]
        return [str(sum(counts.values())), ", ".join(surest)]

    def fields(self) -> Sequence[str]:
        return next(iter(self.rows()))

    def rows(self) -> list[list[str]]:
        """The fields of each box; one row of empty ones where there is none."""
        rows = [
            [box["class"], repr(box["score"]), *(f"{box[edge]:g}" for edge in _EDGES)] for box in self.entry()["boxes"]
        ]
        return rows or [[""] * 6]

    def entry(self, top: int | None = None) -> dict[str, Any]:
        """`boxes`: of each, its `class`, its `score`, 0..1, and its edges in pixels of the image."""
        found = self.found
        rows = zip(found.numbers.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
        boxes = [
            {
                "class": self.class_names[number],
                "score": float(f"{score:.6g}"),
                **{name: round(edge, _DECIMALS) for name, edge in zip(_EDGES, edges, strict=True)},
            }
            for number, score, edges in rows
        ]
        height, width = self.size
        return {"boxes": boxes[:top], "width": width, "height": height}


class BoxAnswers(Answers):
    """Boxes with a score above a threshold, which was chosen on the validation images."""

    kind: ClassVar[str] = "boxes"
    has_places: ClassVar[bool] = True
    header = ("objects", "surest")
    alignment = "><"
    columns = ("class", "score", *_EDGES)
    pictures = ("boxes",)

    def __init__(self, settings: Settings, interface: Interface) -> None:
        self.settings = settings
        self.resize = interface.resize
        self.class_names = interface.class_names
        height, width, _ = interface.image_shape
        self.size = (height, width)
        self.threshold = threshold_of(interface)
        colours = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(self.class_names)}
        self.facts = {"colours": colours, "threshold": self.threshold}

    def read(self, outputs: Any) -> Sequence[BoxAnswer]:
        return [BoxAnswer(self.class_names, found, self.size) for found in self._said(outputs)]

    def above(self, threshold: float) -> BoxAnswers:
        chosen = copy(self)
        chosen.threshold = threshold
        chosen.facts = {**self.facts, "threshold": threshold}
        return chosen

    def in_file(self, answer: Answer, size: tuple[int, int]) -> BoxAnswer:
        """Without what lies wholly in a border that was added, and so nowhere in the file."""
        assert isinstance(answer, BoxAnswer)
        found = answer.found
        boxes = placed_back(found.boxes, size, self.size, self.resize)
        sides = np.round(boxes[:, 2:], _DECIMALS) - np.round(boxes[:, :2], _DECIMALS)
        kept = (sides > 0).all(axis=1)
        return BoxAnswer(self.class_names, Detections(boxes[kept], found.scores[kept], found.numbers[kept]), size)

    def draw_in_file(self, answer: Answer, image: Any) -> Sequence[AnswerPicture]:
        placed = self.in_file(answer, image.shape[:2])
        return (AnswerPicture("boxes", with_detections(image, placed.found, self.class_names)),)

    def rows(self, answer: Answer) -> Sequence[Sequence[str]]:
        assert isinstance(answer, BoxAnswer)
        return answer.rows()

    def as_coco(self, answered: Sequence[tuple[str, Answer]]) -> str:
        """Classes count from 1; beside what annotations have, each has the `score` that COCO's evaluator reads."""
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        numbers = {name: number for number, name in enumerate(self.class_names, start=1)}
        for place, (file, answer) in enumerate(answered, start=1):
            said = answer.entry()
            images.append({"id": place, "file_name": file, "height": said["height"], "width": said["width"]})
            for box in said["boxes"]:
                width, height = (
                    round(box[end] - box[start], _DECIMALS) for start, end in (("left", "right"), ("top", "bottom"))
                )
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": place,
                        "category_id": numbers[box["class"]],
                        "bbox": [box["left"], box["top"], width, height],
                        "area": round(width * height, 2),
                        "iscrowd": 0,
                        "score": box["score"],
                    }
                )
        categories = [{"id": number, "name": name} for name, number in numbers.items()]
        return json.dumps({"images": images, "annotations": annotations, "categories": categories})

    def _said(self, outputs: Any) -> list[Detections]:
        every = detections_of(outputs, len(self.class_names), self.settings.stride, self.settings.most)
        return [found.above(self.threshold) for found in every]

    def draw(
        self, images: Any, outputs: Any, sizes: Sequence[tuple[int, int]] | None = None
    ) -> Sequence[Sequence[AnswerPicture]]:
        return [
            (AnswerPicture("boxes", with_detections(image, found, self.class_names)),)
            for image, found in zip(np.asarray(images), self._said(outputs), strict=True)
        ]

    def truth(self, target: Any) -> dict[str, Any]:
        return {"truth": self._true(target).entry()["boxes"]}

    def _true(self, target: Any) -> BoxAnswer:
        """The true boxes as an answer that is sure of them."""
        boxes = np.asarray(target, np.float64)
        boxes = boxes[(boxes[:, 4] >= 0) & (boxes[:, 5] == 0)]
        found = Detections(boxes[:, :4], np.ones(len(boxes)), boxes[:, 4].astype(np.int64))
        return BoxAnswer(self.class_names, found, self.size)

    def are_targets(self, targets: Any) -> bool:
        return targets.dtype == np.float32 and targets.ndim == 3 and targets.shape[2] == 6

    def same(self, kept: Any, others: Any) -> Any:
        """Whether the same boxes are said: as many of each class, each of which overlaps its like by 0.9 at least."""
        return np.array([_alike(*pair) for pair in zip(self._said(kept), self._said(others), strict=True)])

    def guess(self, kept: Any, target: Any) -> dict[str, Any]:
        """The boxes that are said, and the true ones."""
        (answer,) = self.read(np.asarray(kept)[None])
        return {**answer.entry(), **self.truth(target)}


def _alike(one: Detections, other: Detections) -> bool:
    if sorted(one.numbers.tolist()) != sorted(other.numbers.tolist()):
        return False
    truths = np.concatenate([other.boxes, other.numbers[:, None], np.zeros((len(other.boxes), 1))], axis=1)
    return all((match(one, truths, number, np.array([0.9])).matched >= 0).all() for number in set(one.numbers.tolist()))
