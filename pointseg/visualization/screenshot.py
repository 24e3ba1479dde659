"""A picture of a page, taken in headless Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pointseg.files import refuse_existing, written_whole

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# WebGL in software, so that it works on machines without a GPU; no calls home.
ARGUMENTS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
_PATIENCE_MS = 300_000


def write_screenshot(
    page: Path | str,
    path: Path | str,
    views: Sequence[str] | None = None,
    size: tuple[int, int] = (1600, 900),
    dark: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write the PNG ``path`` of a page made by `write_scene_page`, ``size`` pixels large.

    views: what to show instead of the page's own choice. Raises ImportError without playwright and
    FileNotFoundError without Chromium, each saying what to install.
    """
    path = Path(path)
    refuse_existing([path], overwrite)
    _playwright()
    executable = browser_executable()
    # In a thread of its own: playwright refuses to run where an event loop does, as in a notebook.
    with ThreadPoolExecutor(max_workers=1) as thread:
        picture = thread.submit(_take, page, executable, views, size, dark).result()
    with written_whole(path, overwrite) as temporary:
        temporary.write_bytes(picture)
    return path


def _take(
    page: Path | str,
    executable: str,
    views: Sequence[str] | None,
    size: tuple[int, int],
    dark: bool,
) -> bytes:
    with _playwright()() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        tab = browser.new_page(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
        )
        tab.goto(Path(page).resolve().as_uri())
        tab.wait_for_selector("body[data-ready], body[data-failed]", timeout=_PATIENCE_MS)
        failure = tab.evaluate("document.body.dataset.failed")
        if failure:
            raise ValueError(f"{page}: {failure}")
        if views is not None:
            tab.evaluate("(keys) => page.showViews(keys)", list(views))
        picture: bytes = tab.screenshot()
        browser.close()
    return picture


def browser_executable() -> str:
    """Chromium or Chrome on the PATH; FileNotFoundError where there is none."""
    for name in BROWSERS:
        executable = shutil.which(name)
        if executable is not None:
            return executable
    raise FileNotFoundError(
        f"screenshots need a browser on the PATH ({', '.join(BROWSERS)}); "
        "on Debian: apt install chromium"
    )


def _playwright() -> Any:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise ImportError(
            "screenshots need playwright; install it with: pip install playwright"
        ) from error
    return sync_playwright
