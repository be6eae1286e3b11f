"""The slider of `serve`'s page for the score from which on objects are said, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from browser import PageAt, browser, page_at, wait_until
from serving import served
from shapes import CONFIG, write_shapes

from cnnkit.config.load import load_config
from cnnkit.runs.evaluation import evaluate_run
from cnnkit.runs.trained import open_run
from cnnkit.terminal.console import Console
from cnnkit.training.train import train

__all__ = ["browser", "page_at"]


def test_the_slider_asks_for_surer_objects(page_at: PageAt, tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason='needs the extra: pip install "cnnkit[serve]"')
    from cnnkit.serve import create_app

    write_shapes(tmp_path / "shapes", {"train": 32, "val": 8, "test": 8})
    (tmp_path / "detect.yaml").write_text(yaml.safe_dump(CONFIG))
    loaded = load_config(str(tmp_path / "detect.yaml"), ["training.epochs=2"])
    trained = train(loaded, Console(), str(tmp_path / "run"))
    evaluate_run(trained)
    with served(create_app([open_run(trained.run)], threshold=0.01)) as address:
        page = page_at(address)
        page.locator("#examples button").first.click()
        slider, rows = page.get_by_label("At least as sure as"), page.locator(".legend tbody tr")
        rows.first.wait_for()
        many = rows.count()
        assert slider.input_value() == "1"
        surest = float(rows.first.locator("td").text_content().rstrip("%").strip())
        slider.fill(str(min(99, int(surest) + 1)))
        wait_until(page, "count => document.querySelectorAll('.legend tbody tr').length < count", many)
        assert rows.count() == 0
        assert "no object" in page.locator(".answer").text_content()
