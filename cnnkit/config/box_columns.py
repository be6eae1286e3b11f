"""Which columns of a table say where a box lies."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from cnnkit.format.base import StrictModel, describe, invalid
from cnnkit.format.fields import Text, list_schema


class BoxColumns(StrictModel):
    """The columns of a box, in a table with a row for each; a list of four names is left, top, right and bottom.

    What is counted in pixels has the upper left corner of the image at 0, 0, and the whole image ends at its width and
    height.
    """

    left: Text = Field(description="The column of the left edge.")
    top: Text = Field(description="The column of the upper edge.")
    right: Text | None = Field(default=None, description="The column of the right edge; or `width`.")
    bottom: Text | None = Field(default=None, description="The column of the lower edge; or `height`.")
    width: Text | None = Field(default=None, description="The column of the width, in place of `right`.")
    height: Text | None = Field(default=None, description="The column of the height, in place of `bottom`.")
    crowd: Text | None = Field(
        default=None,
        description="The column of 0 and 1 that marks crowds and what is hard to see: neither learned nor counted.",
    )
    unit: Literal["pixels", "shares"] = Field(
        default="pixels", description="`pixels` of the image file, or `shares` of its width and height (0..1)."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        if isinstance(value, BoxColumns | Mapping):
            return value
        if isinstance(value, list | tuple) and len(value) == 4 and all(isinstance(one, str) and one for one in value):
            return dict(zip(("left", "top", "right", "bottom"), value, strict=True))
        raise invalid(
            "expected the columns of the edges, `[left, top, right, bottom]`, or a mapping such as "
            f"`{{left: x, top: y, width: w, height: h}}`, got {describe(value)}"
        )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for edge, side in (("right", "width"), ("bottom", "height")):
            stated = [name for name in (edge, side) if getattr(self, name) is not None]
            if len(stated) != 1:
                raise invalid(f"needs {'one of' if stated else 'either'} `{edge}` and `{side}`")
        return self

    @property
    def names(self) -> tuple[str, str, str, str]:
        """The columns of left, top, right or width, bottom or height."""
        across, down = self.right or self.width, self.bottom or self.height
        assert across is not None
        assert down is not None
        return self.left, self.top, across, down

    def as_written(self) -> list[str] | dict[str, str]:
        """As a person writes it: a list where that says all, else a mapping of what is not the default."""
        stated = {name: value for name, value in self.to_plain().items() if value is not None}
        if stated["unit"] == "pixels":
            del stated["unit"]
        return list(stated.values()) if list(stated) == ["left", "top", "right", "bottom"] else stated

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        columns = list_schema({"type": "string", "minLength": 1}, 4, 4)
        return {"anyOf": [handler(schema), columns]}
