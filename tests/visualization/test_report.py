"""The page of training runs: what is in the file, and what a browser makes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pointseg.cli.report import main
from pointseg.engine.run_history import config_differences, read_history
from pointseg.visualization.run_page import MAX_ROWS, write_run_page
from tests.helpers.run_folders import CLASSES, write_run


def embedded(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    (found,) = re.findall(r'<script type="application/json" id="runs">(.*?)</script>', text)
    return json.loads(found)


def write_page(path: Path, *folders: Path) -> dict[str, Any]:
    runs = [read_history(folder) for folder in folders]
    write_run_page(path, runs, config_differences(runs))
    return embedded(path)


def test_the_file_has_all_numbers_and_needs_no_network(tmp_path, capsys):
    page = tmp_path / "report.html"
    folders = [write_run(tmp_path / name, lr) for name, lr in (("first", 0.1), ("second", 0.2))]
    assert main([*map(str, folders), "--out", str(page)]) == 0
    assert f"wrote {page}" in capsys.readouterr().out
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=.https?:", page.read_text())
    report = embedded(page)
    first, second = report["runs"]
    assert (first["name"], first["state"], first["step"]) == ("first", "finished", 40)
    assert first["train"]["step"] == [10, 20, 30, 40]
    assert first["train"]["grad_norm"] == [1.5, None, 1.5, 1.5]
    assert first["validation"]["iou_wall"] == [0.2, 0.4]
    assert "iou_<lamp>" not in first["validation"], "no value anywhere"
    worst = first["evaluation"]["worst"]
    assert [scene["scene_id"][:9] for scene in worst] == ["scene0001", "scene0003", "scene0000"]
    assert first["warnings"] == [{"key": "codebook/encoder.1", "first": 20, "last": 30, "rows": 2}]
    assert first["events"] == [
        {
            "step": 30,
            "kind": "skipped steps",
            "text": "2 left out since the row before, 2 in the whole run",
        },
        {"step": 15, "kind": "note", "text": "scenes scene0001_00"},
    ]
    assert [start["step"] for start in first["starts"]] == [0, 20]
    assert report["differences"] == {"optimizer.lr": ["0.1", "0.2"]}
    assert first["color"] != second["color"]


def test_nothing_is_overwritten_unasked(tmp_path, capsys):
    page, run = tmp_path / "report.html", write_run(tmp_path / "run")
    page.write_text("mine", encoding="utf-8")
    assert main([str(run), "--out", str(page)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert page.read_text() == "mine"
    assert main([str(run), "--out", str(page), "--overwrite"]) == 0
    assert main([str(tmp_path / "none"), "--out", str(tmp_path / "x.html")]) == 2
    assert "no run in this folder" in capsys.readouterr().err


def test_worst_scenes_link_to_pages_that_are_there(tmp_path, capsys):
    run, pages = write_run(tmp_path / "run"), tmp_path / "scene pages"
    out = tmp_path / "reports" / "report.html"
    assert main([str(run), "--out", str(out), "--pages", str(pages)]) == 2
    assert "no such folder of scene pages" in capsys.readouterr().err
    pages.mkdir()
    (pages / "scene0003_00.html").touch()
    assert main([str(run), "--out", str(out), "--pages", str(pages)]) == 0
    worst = embedded(out)["runs"][0]["evaluation"]["worst"]
    assert [scene["page"] for scene in worst] == [
        *(None, "../scene%20pages/scene0003_00.html", None)
    ]


def test_long_runs_are_averaged(tmp_path):
    run = write_run(tmp_path / "run", num_rows=2 * MAX_ROWS + 1)
    train = write_page(tmp_path / "report.html", run)["runs"][0]["train"]
    assert len(train["step"]) <= MAX_ROWS
    assert train["step"][:2] == [30, 60] and train["step"][-1] == 20 * MAX_ROWS + 10
    assert train["loss"][0] == pytest.approx((30 / 15 + 30 / 25 + 30 / 35) / 3, rel=1e-5)
    assert train["grad_norm"][0] == 1.5, "of those that have one"


def test_runs_of_one_name_are_told_apart(tmp_path):
    folders = [write_run(tmp_path / name / "run") for name in ("a", "b")]
    report = write_page(tmp_path / "report.html", *folders)
    assert [run["name"] for run in report["runs"]] == [str(folder) for folder in folders]
    with pytest.raises(ValueError, match="runs: expected at least one"):
        write_run_page(tmp_path / "none.html", [], {})


# --- in a browser ---------------------------------------------------------------------------------


class Tab:
    """An open report, and what it logged and asked for."""

    def __init__(self, browser: Any, path: Path) -> None:
        self.context = browser.new_context(
            viewport={"width": 1200, "height": 800}, color_scheme="light", offline=True
        )
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("body[data-ready]", timeout=120_000)

    def settle(self) -> None:
        self.page.wait_for_function("!document.body.dataset.busy", timeout=60_000)

    def card(self, title: str) -> Any:
        heading = self.page.locator("h3", has_text=re.compile(f"^{title}"))
        return self.page.locator(".card").filter(has=heading)

    def lines(self, title: str) -> list[list[float]]:
        """What plotly has drawn in a card: the y of every line."""
        script = "(card) => card.querySelector('.plot').data.map((trace) => [...trace.y])"
        return self.card(title).first.evaluate(script)

    def table(self, place: str) -> list[list[str]]:
        rows = self.page.locator(f"#{place} tbody tr").all()
        return [row.locator("td").all_inner_texts() for row in rows]


@pytest.fixture
def open_report(browser: Any, tmp_path: Path) -> Iterator[Any]:
    tabs: list[Tab] = []

    def opened(*folders: Path) -> Tab:
        write_page(tmp_path / "report.html", *folders)
        tabs.append(Tab(browser, tmp_path / "report.html"))
        return tabs[-1]

    yield opened
    for tab in tabs:
        tab.context.close()
        assert tab.said == []
        assert [url for url in tab.requests if not url.startswith(("data:", "blob:"))] == [
            (tmp_path / "report.html").as_uri()
        ]


@pytest.mark.browser
def test_a_report_of_one_run(open_report, tmp_path):
    tab = open_report(write_run(tmp_path / "rooms"))
    assert tab.table("overview")[0][:3] == ["rooms", "finished", "40 of 40"]
    assert tab.lines("Loss") == [
        pytest.approx([30 / (step + 5) for step in (10, 20, 30, 40)], 1e-5)
    ]
    assert tab.lines("Validation mIoU") == [[0.2, 0.4]]
    assert len(tab.lines("Time of a step")) == 6
    assert len(tab.lines("codebook, perplexity")) == 2
    assert [row[0] for row in tab.table("classes")] == [*CLASSES, "mean", "all points"]
    assert tab.table("classes")[2][1] == "–"
    share = tab.page.evaluate("document.querySelector('#confusion .plot').data[0].z")
    assert share == [[80, 20, 0], [30, 70, 0], [None, None, None]]
    assert [row[1] for row in tab.table("worst")] == ["0.100", "0.300", "0.500"]
    happened = [row[2] for row in tab.table("events")]
    assert happened == ["note", "resumed", "warning", "skipped steps"]
    tab.page.locator("#configurations summary").click()
    assert "steps: 40" in tab.page.locator("#configurations pre").inner_text()
    tab.page.locator("#smoothing").fill("0.5")
    tab.settle()
    raw, smooth = tab.lines("Loss")
    assert smooth[0] == pytest.approx(raw[0])
    assert smooth[1] == pytest.approx((raw[0] + 2 * raw[1]) / 3)
    tab.page.locator("#x-axis").select_option("epoch")
    tab.settle()
    script = "(card) => card.querySelector('.plot').data[0].x"
    assert tab.card("Validation mIoU").evaluate(script) == [2.5, 5]


@pytest.mark.browser
def test_a_report_of_two_runs_of_which_one_has_only_begun(open_report, tmp_path):
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "config.yaml").write_text("train: {steps: 9}", encoding="utf-8")
    tab = open_report(write_run(tmp_path / "rooms"), begun)
    assert tab.table("overview")[1][:4] == ["begun", "not finished", "0 of 9", "–"]
    assert ["train.steps", "40", "9"] in tab.table("differences")
    assert len(tab.lines("Loss")) == 1
    tab.page.locator("#run").select_option("1")
    tab.settle()
    assert not tab.page.locator("#classes").is_visible()
    assert tab.page.locator("#evaluation-note").inner_text() == "There is none yet."
