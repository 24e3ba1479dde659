"""The regions of a region file as one HTML page: voxels to turn around, with their statistics."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from pointseg.files import written_whole
from pointseg.geometry import RegionFile, StageRegions
from pointseg.sparse import KernelSpec
from pointseg.visualization.colors import category_colors
from pointseg.visualization.page import _packed_plotly, asset, embedded_json, fill

# Browsers keep about 16 drawing contexts; every region takes one.
REGIONS_A_SCREEN = 12


def write_regions_page(path: Path | str, file: RegionFile, overwrite: bool = False) -> Path:
    """Write a page that shows every region of every stride in 3D.

    It holds all it needs and opens from disk, without a network. Raises FileExistsError where it is
    there and ``overwrite`` is not set.
    """
    path = Path(path)
    title = f"Regions {'fitted to' if file.fitted else 'measured on'} {file.dataset}"
    scenes = "1 scene" if file.num_scenes == 1 else f"{file.num_scenes:,} scenes"
    statement = f"{scenes} of split {file.split}, voxels of {100 * file.voxel_size_m:g} cm"
    screens = [screen for stage in file.stages for screen in _screens(stage)]
    text = fill(
        asset("regions.html"),
        {
            "TITLE": html.escape(title),
            "STATEMENT": html.escape(statement),
            "STYLE": asset("page.css"),
            "REGIONS": embedded_json({"screens": screens}),
            "PLOTLY": _packed_plotly(),
            "SCRIPTS": "\n".join(asset(name) for name in ("decode.js", "regions.js")),
        },
    )
    with written_whole(path, overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _screens(stage: StageRegions) -> list[dict[str, Any]]:
    """What is shown at a time: the regions of a stride, or some of them where there are many."""
    colors = category_colors(len(stage.regions))
    rows = list(zip(stage.regions, stage.mean, stage.std, stage.preferred, colors, strict=True))
    screens = []
    for first in range(0, len(rows), REGIONS_A_SCREEN):
        some = rows[first : first + REGIONS_A_SCREEN]
        which = f" ({first}–{first + len(some) - 1})" if len(rows) > REGIONS_A_SCREEN else ""
        screens.append(
            {
                "title": f"{stage.stride}{which}",
                "first": first,
                "statement": f"{stage.num_voxels:,} voxels looked at",
                "regions": [
                    {
                        "kernel": _described(region.spec),
                        "offsets": [list(offset) for offset in region.offsets],
                        "mean": mean,
                        "std": std,
                        "preferred": preferred,
                        "color": color,
                    }
                    for region, mean, std, preferred, color in some
                ],
            }
        )
    return screens


def _described(spec: KernelSpec) -> str:
    name = f"{spec.size}³" if spec.shape == "cube" else f"{spec.size}³ cross"
    return name if spec.dilation == 1 else f"{name}, dilation {spec.dilation}"
