"""What the report and the pages in a browser share: one style sheet, light and dark."""

from importlib.resources import files


def style_sheet() -> str:
    """The style sheet, as text."""
    return (files(__name__) / "common.css").read_text(encoding="utf-8")
