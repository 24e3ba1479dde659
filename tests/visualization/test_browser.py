"""Pages in headless Chromium: what is on the screen, and what clicking and dragging do to it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pointseg.evaluation import SCANNET_RULE
from pointseg.visualization import write_scene_page
from pointseg.visualization.colors import (
    CORRECT_COLOR,
    IGNORED_COLOR,
    WRONG_COLOR,
    category_colors,
    hex_rgb,
)
from tests.visualization.rooms import (
    FLOOR,
    LABEL_MAP,
    TABLE,
    flawed_predictions,
    room,
    some_choices,
)

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
PALETTE = [tuple(color) for color in LABEL_MAP.palette.tolist()]


class Tab:
    """A page under test: what it logged and asked for, its pixels, and the ways to act on it."""

    def __init__(self, browser: Any, path: Path) -> None:
        # Scrollbars, fonts and the theme are the same everywhere.
        self.context = browser.new_context(
            viewport={"width": 1000, "height": 480}, color_scheme="light", offline=True
        )
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("body[data-ready]", timeout=120_000)
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is being drawn and two frames have been shown."""
        self.page.wait_for_timeout(500)  # longer than the pause after which marker sizes follow
        self.page.wait_for_function("!document.body.dataset.busy", timeout=60_000)
        self.page.evaluate(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def pixels(self, pane: int = 0) -> np.ndarray:
        """uint8 [height * width, 3] of the drawing in a pane, without the select box over it."""
        from PIL import Image

        box = self.page.locator(".pane").nth(pane).bounding_box()
        top = 50
        clip = {**box, "y": box["y"] + top, "height": box["height"] - top}
        picture = Image.open(io.BytesIO(self.page.screenshot(clip=clip))).convert("RGB")
        return np.asarray(picture).reshape(-1, 3)

    def count(self, color: tuple[int, ...], pane: int = 0, tolerance: int = 3) -> int:
        distance = np.abs(self.pixels(pane).astype(int) - np.array(color)).max(axis=1)
        return int((distance <= tolerance).sum())

    def click_class(self, name: str, section: str = "classes", double: bool = False) -> None:
        row = self.page.locator(f'[data-legend="{section}"] .row[data-name="{name}"]')
        row.dblclick() if double else row.click()
        self.settle()

    def click_button(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()
        self.settle()

    def color_by(self, key: str, pane: int = 0) -> None:
        self.page.locator(".pane select").nth(pane).select_option(key)
        self.settle()

    def camera(self, pane: int) -> dict[str, Any]:
        """The camera that plotly draws a pane with, not the one that the page asked for."""
        script = "(i) => page.views[i].element._fullLayout.scene._scene.getCamera()"
        return self.page.evaluate(script, pane)

    def drag(self, pane: int, pixels: int) -> None:
        """Turn the scene, sideways only: seen from straight above all cameras would look alike."""
        box = self.page.locator(".pane").nth(pane).bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        for step in range(1, 6):
            self.page.mouse.move(x + pixels * step / 5, y)
            self.page.wait_for_timeout(40)
        self.page.mouse.up()
        self.settle()
        before = None
        while before != (before := self.camera(pane)):  # a slow machine turns on for a while
            self.settle()


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Without normals class colours are on the screen exactly as they are in the palette.
    cloud = room().replace(normal=None)
    path = tmp_path_factory.mktemp("page") / "room.html"
    rng = np.random.default_rng(0)
    arrays = {
        "confidence": rng.random(cloud.num_points).astype(np.float32),
        "segment": np.arange(cloud.num_points) % 3,
    }
    write_scene_page(
        path,
        cloud,
        LABEL_MAP,
        flawed_predictions(cloud),
        arrays,
        max_points=6000,
        choices=some_choices(cloud),
        rule=SCANNET_RULE,
    )
    return path


@pytest.fixture
def tab(browser: Any, page_path: Path) -> Iterator[Tab]:
    tab = Tab(browser, page_path)
    yield tab
    tab.context.close()
    assert tab.errors == []


def test_page_opens_offline_and_draws_both_views(tab: Tab, page_path: Path) -> None:
    assert [url for url in tab.requests if not url.startswith(("data:", "blob:"))] == [
        page_path.as_uri()
    ]
    for pane in (0, 1):
        assert len(np.unique(tab.pixels(pane), axis=0)) > 4, "the canvas is blank"
        for color in PALETTE[:3]:
            assert tab.count(color, pane) > 300
    # Half of the table is predicted as floor.
    assert 0.3 < tab.count(PALETTE[TABLE], 1) / tab.count(PALETTE[TABLE], 0) < 0.7
    text = tab.page.locator("header").inner_text()
    assert "shown" in text
    assert "of 8,506 points" in text
    assert "mIoU" in text


def test_ceiling_is_hidden_until_the_cut_is_lifted(tab: Tab) -> None:
    ceiling = hex_rgb(IGNORED_COLOR)
    assert tab.count(ceiling) == 0
    tab.page.locator("#clip").focus()
    tab.page.keyboard.press("End")
    tab.settle()
    assert tab.page.locator("#clip-value").inner_text() == "off"
    assert tab.count(ceiling) > 5000
    tab.page.keyboard.press("Home")
    tab.settle()
    assert tab.count(PALETTE[TABLE]) == 0


def test_legend_hides_and_shows_classes(tab: Tab) -> None:
    before = tab.count(PALETTE[TABLE])
    tab.click_class("table")
    assert tab.count(PALETTE[TABLE], 0) == tab.count(PALETTE[TABLE], 1) == 0
    assert tab.count(PALETTE[FLOOR], 1) > 300, "other classes stay"
    tab.click_class("table")
    assert tab.count(PALETTE[TABLE]) == pytest.approx(before, rel=0.02)
    tab.click_class("floor", double=True)
    assert tab.count(PALETTE[0]) == 0
    assert tab.count(PALETTE[FLOOR]) > 300
    tab.click_button("none")
    assert len(np.unique(tab.pixels(), axis=0)) < 4
    tab.click_button("all")
    assert tab.count(PALETTE[TABLE]) == pytest.approx(before, rel=0.02)


def test_legend_lists_counts_and_iou_of_the_whole_scene(tab: Tab) -> None:
    rows = tab.page.locator('[data-legend="classes"] .row')
    texts = [text.split("\n") for text in rows.all_inner_texts()]
    names = [row[0] for row in texts]
    assert names == ["wall", "floor", "table", "ignored"], "<lamp> does not occur"
    assert "1 of 4 classes do not occur" in tab.page.locator("#legend").inner_text()
    cloud = room()
    assert int(texts[2][1].replace(",", "")) == (cloud.labels == TABLE).sum()
    assert texts[2][2].startswith("0.")


def test_color_modes_change_what_is_shown(tab: Tab) -> None:
    label = tab.pixels()
    tab.color_by("rgb")
    rgb = tab.pixels()
    assert (rgb != label).any(axis=1).mean() > 0.1
    assert tab.count((80, 50, 30)) > 300
    tab.color_by("error")
    assert tab.count(hex_rgb(WRONG_COLOR)) > 200
    assert tab.count(hex_rgb(CORRECT_COLOR)) > 3000
    tab.click_class("correct", section="error")
    assert tab.count(hex_rgb(CORRECT_COLOR)) == 0
    assert tab.count(hex_rgb(WRONG_COLOR)) > 200
    tab.color_by("height")
    assert tab.page.locator(".colorbar").first.is_visible()
    assert "m" in tab.page.locator(".colorbar").first.inner_text()
    assert len(np.unique(tab.pixels(), axis=0)) > 25
    tab.color_by("confidence")
    assert len(np.unique(tab.pixels(), axis=0)) > 200
    tab.color_by("segment")
    assert not tab.page.locator(".colorbar").first.is_visible()
    assert tab.page.locator('[data-legend="segment"] .row').count() == 3


def test_chosen_entries_have_a_legend_and_entropies_a_scale(tab: Tab) -> None:
    groups = tab.page.locator(".pane select").first.locator("optgroup")
    labels = [group.get_attribute("label") for group in groups.all()]
    assert labels == ["chosen entry", "choice entropy"]
    tab.color_by("encoder.1/entry")
    colors = [hex_rgb(color) for color in category_colors(3)]
    assert all(tab.count(color) > 300 for color in colors)
    rows = tab.page.locator('[data-legend="encoder.1/entry"] .row')
    names = [text.split("\n")[0] for text in rows.all_inner_texts()]
    assert names == ["0: cube 3", "1: cube 3, dilation 2", "2: cross 3"]
    tab.click_class("1: cube 3, dilation 2", section="encoder.1/entry")
    assert tab.count(colors[1]) == 0
    assert tab.count(colors[0]) > 300
    # what is hidden in one view stays in the others
    assert tab.count(PALETTE[FLOOR], pane=1) > 300
    tab.color_by("decoder.0/entry")
    assert tab.count(colors[1]) > 3000, "another stage has a legend of its own"
    tab.color_by("encoder.1/entropy")
    bar = tab.page.locator(".colorbar").first
    assert bar.inner_text().split() == ["0", "nat", "1.1", "nat"]
    assert len(np.unique(tab.pixels(), axis=0)) > 25


def test_cameras_are_linked_until_unlinked(tab: Tab) -> None:
    start = tab.camera(0)
    assert start["up"] == {"x": 0, "y": 0, "z": 1}
    tab.drag(0, 90)
    assert tab.camera(0)["eye"] != start["eye"]
    assert tab.camera(1)["eye"] == pytest.approx(tab.camera(0)["eye"], abs=1e-6)
    tab.drag(1, -60)
    assert tab.camera(0)["eye"] == pytest.approx(tab.camera(1)["eye"], abs=1e-6)
    tab.page.locator("#linked").uncheck()
    left = tab.camera(0)
    tab.drag(1, 60)
    assert tab.camera(0)["eye"] == left["eye"]
    assert tab.camera(1)["eye"] != pytest.approx(left["eye"], abs=1e-3)
    tab.page.locator("#linked").check()
    tab.settle()
    assert tab.camera(0)["eye"] == pytest.approx(tab.camera(1)["eye"], abs=1e-6)
    tab.click_button("reset view")
    assert tab.camera(0)["eye"] == pytest.approx(start["eye"], abs=1e-3)
    assert tab.camera(1)["eye"] == pytest.approx(start["eye"], abs=1e-3)


def test_camera_survives_other_changes(tab: Tab) -> None:
    tab.drag(0, 80)
    eye = tab.camera(0)["eye"]
    tab.color_by("error")
    tab.click_class("wall")
    assert tab.camera(0)["eye"] == pytest.approx(eye, abs=1e-6)
    tab.page.locator("#view-count button").nth(2).click()
    tab.settle()
    assert tab.page.locator(".pane").count() == 3
    for pane in range(3):
        assert tab.camera(pane)["eye"] == pytest.approx(eye, abs=1e-6)


def test_hover_tells_point_label_and_prediction(tab: Tab) -> None:
    tab.click_button("from above")
    box = tab.page.locator(".pane").first.bounding_box()
    tooltip = tab.page.locator("#tooltip")
    for step in range(30):  # until a point lies under the pointer
        tab.page.mouse.move(
            box["x"] + box["width"] * (0.3 + 0.01 * step), box["y"] + box["height"] * 0.5
        )
        tab.page.wait_for_timeout(60)
        if tooltip.is_visible():
            break
    fields = dict(
        zip(
            tooltip.locator("dt").all_inner_texts(),
            tooltip.locator("dd").all_inner_texts(),
            strict=True,
        )
    )
    cloud = room()
    row = int(fields["point"].replace(",", ""))
    xyz = [float(value) for value in fields["x, y, z"].removesuffix(" m").split(",")]
    np.testing.assert_allclose(xyz, cloud.xyz_m[row], atol=2e-3)
    assert fields["label"] == LABEL_MAP.names[cloud.labels[row]]
    assert fields["prediction"] == LABEL_MAP.names[flawed_predictions(cloud)[row]]


def test_screenshot_of_a_page(browser: Any, page_path: Path, tmp_path: Path) -> None:
    from PIL import Image

    picture = tmp_path / "room.png"
    code = (
        "import sys; from pointseg.visualization.screenshot import write_screenshot; "
        "write_screenshot(sys.argv[1], sys.argv[2], views=('rgb',), size=(640, 400), dark=True)"
    )
    # In a process of its own: playwright does not start twice in one.
    subprocess.run(
        [sys.executable, "-c", code, str(page_path), str(picture)],
        check=True,
        timeout=180,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    image = np.asarray(Image.open(picture).convert("RGB"))
    assert image.shape == (400, 640, 3)
    assert image[:40].mean() < 90, "the toolbar of a dark page"
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 50
