"""The page of regions in headless Chromium: what is drawn, strides, cameras."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pointseg.geometry import RegionFile, Sampling, measure_stages
from pointseg.sparse import cubes
from pointseg.visualization.colors import category_colors, hex_rgb
from pointseg.visualization.regions_page import REGIONS_A_SCREEN, write_regions_page
from tests.geometry.shapes import shapes

pytestmark = pytest.mark.browser

ENTRIES = REGIONS_A_SCREEN + 2
TOP = 1.12  # how much brighter the upper side of a voxel is drawn


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    grid, _ = shapes(np.random.default_rng(0))
    few = measure_stages([grid], cubes(2, 1, 3), Sampling((1, 2)))
    many = measure_stages([grid], cubes(*range(1, ENTRIES + 1)), Sampling((4,)))
    file = RegionFile((*few, *many), "<shapes>", "train", 0.05, 1, 0, fitted=False)
    return write_regions_page(tmp_path_factory.mktemp("page") / "regions.html", file)


@pytest.fixture
def tab(browser: Any, page_path: Path) -> Iterator[Any]:
    context = browser.new_context(
        viewport={"width": 1000, "height": 560}, color_scheme="light", offline=True
    )
    page = context.new_page()
    errors: list[str] = []
    requests: list[str] = []
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_path.as_uri())
    page.wait_for_selector("body[data-ready]", timeout=120_000)
    settle(page)
    yield page
    context.close()
    assert errors == []
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [
        page_path.as_uri()
    ]


def settle(page: Any) -> None:
    page.wait_for_timeout(300)
    page.wait_for_function("!document.body.dataset.busy", timeout=60_000)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def count(page: Any, card: int, color: str) -> int:
    """Pixels of the upper sides of a card's voxels."""
    from PIL import Image

    picture = page.locator(".card .plot").nth(card).screenshot()
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).reshape(-1, 3)
    wanted = np.minimum(np.array(hex_rgb(color)) * TOP, 255)
    return int((np.abs(pixels - wanted).max(axis=1) <= 4).sum())


def eyes_agree(page: Any) -> dict[str, float]:
    """Wait until all cards are seen from one eye: that of plotly, not the one asked for."""
    script = """() => {
        const eyes = page.plots.map((plot) => plot._fullLayout.scene._scene.getCamera().eye);
        const near = (a, b) => Math.hypot(a.x - b.x, a.y - b.y, a.z - b.z) < 1e-3;
        return !document.body.dataset.busy && eyes.every((eye) => near(eye, eyes[0])) && eyes[0];
    }"""
    return page.wait_for_function(script, timeout=60_000).json_value()


def test_every_entry_is_drawn_with_its_statistics(tab: Any) -> None:
    colors = category_colors(3)
    assert tab.locator(".card").count() == 3
    for card, color in enumerate(colors):
        assert count(tab, card, color) > 300
        assert count(tab, card, colors[card - 1]) == 0
    first = tab.locator(".card").first.inner_text()
    assert "entry 0" in first
    assert "27 taps of 3³, dilation 2" in first
    assert "preferred by" in first
    assert tab.locator("h1").inner_text() == "Regions measured on <shapes>"


def test_strides_are_chosen_by_buttons(tab: Any) -> None:
    buttons = tab.locator("#stages button")
    assert buttons.all_inner_texts() == ["1", "2", "4 (0–11)", "4 (12–13)"]
    before = tab.locator("#scores").inner_text()
    buttons.nth(1).click()
    settle(tab)
    assert tab.locator("#scores").inner_text() != before
    assert count(tab, 0, category_colors(3)[0]) > 300
    buttons.nth(2).click()
    settle(tab)
    assert tab.locator(".card").count() == REGIONS_A_SCREEN
    buttons.nth(3).click()
    settle(tab)
    assert tab.locator(".card h2").all_inner_texts()[0].startswith("entry 12")
    assert count(tab, 1, category_colors(ENTRIES)[13]) > 100


def test_regions_turn_together(tab: Any) -> None:
    start = eyes_agree(tab)
    box = tab.locator(".card .plot").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    for step in range(1, 6):
        tab.mouse.move(x + 12 * step, y)
        tab.wait_for_timeout(40)
    tab.mouse.up()
    settle(tab)
    assert eyes_agree(tab) != pytest.approx(start, abs=1e-2)
    tab.get_by_role("button", name="reset view").click()
    settle(tab)
    assert eyes_agree(tab) == pytest.approx(start, abs=1e-3)
