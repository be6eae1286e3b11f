"""Pages in a real browser, for tests: import the fixtures `browser` and `page_at`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

#: What Linux distributions call it.
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

#: axe's names for findings that keep people from using a page.
SERIOUS = ("serious", "critical")

#: How long a test waits for what a page should come to, on a busy machine too.
PATIENCE_SECONDS = 180

PageAt = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; skips the test where it, or Playwright, is missing.

    For one module, because Playwright's event loop would be in the way of other modules' own.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    executable = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if executable is None:
        pytest.skip(f"needs one of {', '.join(CHROMIUM)}: apt-get install chromium")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page_at(browser: Any) -> Iterator[PageAt]:
    """Opens pages, `page_at(url, width=1440, **options)`; afterwards none of them may have reported an error.

    Options are those of Playwright's `new_context`, such as `color_scheme="dark"` and `offline=True`. A failed request
    that a test provokes is taken out of `page.reports`.
    """
    opened = []

    def open_page(url: str, width: int = 1440, height: int = 900, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        page = context.new_page()
        page.reports = []
        page.on("console", lambda message: page.reports.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: page.reports.append(f"exception: {error}"))
        page.on("requestfailed", lambda request: page.reports.append(f"failed: {request.url}"))
        # A network that compiles with XLA takes its time for the first answer, on a busy machine most of all.
        page.set_default_timeout(1000 * PATIENCE_SECONDS)
        opened.append(page)
        page.goto(url)
        return page

    yield open_page
    reports = [report for page in opened for report in page.reports]
    for page in opened:
        page.context.close()
    assert not reports, reports


def wait_until(page: Any, expression: str, argument: Any = None) -> None:
    """Waits until a JavaScript expression, or function of an argument, is true in the page.

    Playwright's own wait_for_function evaluates text inside the page where the first look is not the last, which the
    pages' policy forbids.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while not page.evaluate(expression, argument):
        assert time.monotonic() < end, f"in vain: {expression}"
        page.wait_for_timeout(50)


def overflow(page: Any) -> int:
    """How many pixels of the page are to the right of the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


def serious_findings(page: Any) -> list[str]:
    """What axe finds that keeps people from using the page, with the elements."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    violations = axe.Axe().run(page).response["violations"]
    return [
        f"{found['id']}: {[node['html'][:120] for node in found['nodes']]}"
        for found in violations
        if found["impact"] in SERIOUS
    ]
