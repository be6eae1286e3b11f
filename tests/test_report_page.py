"""The reports in a real browser: offline, at the widths of a phone and of a desk, light and dark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_runs import trained, written

from cnnkit.report import compare_report, write_report

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
axe_playwright = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium, or CHROMIUM=<path>")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A whole report, one of a run with forty classes and no images, and a comparison."""
    folder = tmp_path_factory.mktemp("pages")
    run = trained(tmp_path_factory.mktemp("trained"))
    names = [f"a rather long name of the class number {number}" for number in range(40)]
    labels = list(range(40)) * 2
    many = written(folder / "many", names, labels, [*labels[:60], *([0] * 20)])
    return {
        "run": write_report(run),
        "many": write_report(many),
        "comparison": compare_report([run, many], folder / "comparison.html"),
    }


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1440, "light")])
@pytest.mark.parametrize("name", ["run", "many", "comparison"])
def test_a_report_can_be_read(browser: Any, files: dict[str, Path], name: str, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_offline(True)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(files[name].as_uri())
    for fold in page.query_selector_all("details"):
        fold.evaluate("fold => { fold.open = true }")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    # Every line of the contents leads somewhere.
    assert page.evaluate("[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))")
    serious = [
        (violation["id"], [node["html"][:120] for node in violation["nodes"]][:3])
        for violation in axe_playwright.Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    context.close()


def test_what_is_folded_is_printed(browser: Any, files: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(files["many"].as_uri())
    page.emulate_media(media="print")
    visible = "element => element.getBoundingClientRect().height > 0 && getComputedStyle(element).display !== 'none'"
    assert page.query_selector("details table").evaluate(visible)
    assert not page.query_selector("nav").evaluate(visible)
    page.close()
