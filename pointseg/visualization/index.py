"""One page that lists the pages of several scenes with their scores."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from pointseg.files import written_whole
from pointseg.visualization.page import PageSummary, asset, fill

_SCORE_NOTE = ". Scores are of each scene alone; their mean is not the score of the set."


def write_index_page(
    path: Path | str, pages: Sequence[PageSummary], title: str = "Scenes", overwrite: bool = False
) -> Path:
    """Write a table of ``pages`` in the order given, linking to them relative to ``path``."""
    path = Path(path)
    scored = any(page.mean_iou is not None for page in pages)
    header = "<th>scene</th><th>points</th>" + ("<th>accuracy</th><th>mIoU</th>" if scored else "")
    total = sum(page.num_points for page in pages)
    scenes = "1 scene" if len(pages) == 1 else f"{len(pages)} scenes"
    text = fill(
        asset("index.html"),
        {
            "TITLE": html.escape(title),
            "STYLE": asset("page.css"),
            "STATEMENT": f"{scenes}, {total:,} points" + _SCORE_NOTE * scored,
            "HEADER": header,
            "ROWS": "\n".join(_row(page, path.parent, scored) for page in pages),
        },
    )
    with written_whole(path, overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _row(page: PageSummary, folder: Path, scored: bool) -> str:
    target = Path(os.path.relpath(page.path, folder)).as_posix()
    cells = [f'<a href="{quote(target)}">{html.escape(page.title)}</a>', f"{page.num_points:,}"]
    if scored:
        scores = (page.accuracy, page.mean_iou)
        cells += ["" if score is None else f"{score:.3f}" for score in scores]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
