"""The reports in a real browser: offline, at the widths of a phone and of a desk, light and dark."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import PageAt, browser, overflow, page_at, serious_findings
from report_runs import written
from sharing import copied

from cnnkit.comparing.report import compare_report
from cnnkit.report.single import write_report
from cnnkit.runs.directory import Run
from cnnkit.runs.trained import open_run

__all__ = ["browser", "page_at"]


@pytest.fixture(scope="module")
def files(resumed_run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A whole report, one of a run with forty classes and no images, and a comparison."""
    folder = tmp_path_factory.mktemp("pages")
    run = copied(resumed_run, folder)
    names = [f"a rather long name of the class number {number}" for number in range(40)]
    labels = list(range(40)) * 2
    many = written(folder / "many", names, labels, [*labels[:60], *([0] * 20)])
    return {
        "run": write_report(open_run(run)),
        "many": write_report(open_run(many)),
        "comparison": compare_report([open_run(run), open_run(many)], folder / "comparison.html"),
    }


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1440, "light")])
@pytest.mark.parametrize("name", ["run", "many", "comparison"])
def test_a_report_can_be_read(page_at: PageAt, files: dict[str, Path], name: str, width: int, scheme: str) -> None:
    page = page_at(files[name].as_uri(), width, color_scheme=scheme, offline=True)
    for fold in page.query_selector_all("details"):
        fold.evaluate("fold => { fold.open = true }")
    assert overflow(page) <= 0
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    # Every line of the contents leads somewhere.
    assert page.evaluate("[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))")
    assert serious_findings(page) == []


def test_what_is_folded_is_printed(page_at: PageAt, files: dict[str, Path]) -> None:
    page = page_at(files["many"].as_uri())
    page.emulate_media(media="print")
    visible = "element => element.getBoundingClientRect().height > 0 && getComputedStyle(element).display !== 'none'"
    assert page.query_selector("details table").evaluate(visible)
    assert not page.query_selector("nav").evaluate(visible)
