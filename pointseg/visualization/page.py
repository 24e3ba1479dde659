"""A scene as one HTML file that needs nothing else: plotly.js, points and values are all inside."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pointseg.files import refuse_existing, written_whole
from pointseg.visualization.colors import CONTINUOUS_SCALE, IGNORED_COLOR, shading
from pointseg.visualization.fields import Field, SceneFields, scene_fields
from pointseg.visualization.framing import Framing, frame
from pointseg.visualization.payload import pack_arrays, pack_text, quantise
from pointseg.visualization.thinning import Thinning, point_spacing_m, thin

if TYPE_CHECKING:
    from pointseg.data import LabelMap, PointCloud
    from pointseg.evaluation.choices import StageChoice
    from pointseg.evaluation.rules import MetricRule

DEFAULT_MAX_POINTS = 200_000
MAX_VIEWS = 3


@dataclass(frozen=True)
class PageSummary:
    """What an index says about a page; scores are None without labels or predictions."""

    path: Path
    scene_id: str
    title: str
    num_points: int
    num_shown: int
    accuracy: float | None
    mean_iou: float | None


def write_scene_page(
    path: Path | str,
    cloud: PointCloud,
    label_map: LabelMap,
    predictions: np.ndarray | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
    title: str | None = None,
    max_points: int = DEFAULT_MAX_POINTS,
    views: Sequence[str] | None = None,
    overwrite: bool = False,
    choices: Mapping[str, StageChoice] | None = None,
    rule: MetricRule | None = None,
) -> PageSummary:
    """Write a page that shows a scene from any side, coloured in several ways.

    Parameters
    ----------
    path
        The HTML file; it opens from disk, without a network.
    cloud
        The scene, xyz_m in metres with z up. Colours and labels are offered where it has them.
    predictions
        Integer [P] train ids.
    arrays
        Further values to colour by, name -> [P] or uint8 [P, 3] (see `fields.scene_fields`).
    title
        Heading; the scene id unless given.
    max_points
        Point budget: a larger scene is thinned evenly (see `thinning.thin`), and the page says so.
        Counts and scores on the page are always those of all points.
    views
        One to three of "rgb", "label", "prediction", "error", "height", the names of ``arrays``,
        and "<stage>/entry" and "<stage>/entropy" of ``choices``, side by side at first. Default:
        label and prediction, or what there is.
    choices
        What each stage of a model with codebook blocks chose (`evaluation.choice_files`).
    rule
        The rule of the scene's benchmark, by which predictions are scored; without one the page has
        no scores.

    Raises
    ------
    ValueError, TypeError
        If an array does not fit the cloud, or a view does not exist.
    FileExistsError
        If the file is there and ``overwrite`` is not set.
    """
    path = Path(path)
    refuse_existing([path], overwrite)
    title = cloud.scene_id if title is None else title
    framing = frame(cloud.xyz_m)
    fields = scene_fields(
        cloud, label_map, predictions, arrays, floor_m=framing.floor_m, rule=rule, choices=choices
    )
    thinning = thin(cloud.xyz_m, max_points)
    text = _page(title, cloud, fields, thinning, framing, _checked_views(views, fields))
    with written_whole(path, overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")
    scores = fields.scores
    return PageSummary(
        path=path,
        scene_id=cloud.scene_id,
        title=title,
        num_points=cloud.num_points,
        num_shown=thinning.num_shown,
        accuracy=None if scores is None else _number(scores.accuracy),
        mean_iou=None if scores is None else _number(scores.mean_iou),
    )


def asset(name: str) -> str:
    """The text of one of the page's own files (template, style, script)."""
    folder = resources.files("pointseg.visualization") / "assets"
    return (folder / name).read_text(encoding="utf-8")


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace each ``{{NAME}}`` of a template in one pass, so that values are never re-read."""
    pieces = template.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += (values[name], rest)
    return "".join(filled)


def embedded_json(value: Any) -> str:
    """JSON that is safe between <script> tags."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _checked_views(views: Sequence[str] | None, fields: SceneFields) -> tuple[str, ...]:
    chosen = fields.default_views() if views is None else tuple(views)
    unknown = [view for view in chosen if view not in fields.keys]
    if unknown:
        raise ValueError(
            f"views: this scene cannot be coloured by {unknown[0]!r}; "
            f"it has {', '.join(fields.keys)}"
        )
    if not 1 <= len(chosen) <= MAX_VIEWS:
        raise ValueError(f"views: expected 1 to {MAX_VIEWS} views, got {len(chosen)}")
    return chosen


def _page(
    title: str,
    cloud: PointCloud,
    fields: SceneFields,
    thinning: Thinning,
    framing: Framing,
    views: tuple[str, ...],
) -> str:
    xyz = np.asarray(cloud.xyz_m[thinning.index], dtype=np.float32)
    codes, low, step = quantise(xyz)
    columns = {"x": codes[0], "y": codes[1], "z": codes[2]}
    if thinning.num_shown < thinning.num_points:
        columns["index"] = thinning.index.astype(np.uint32)
    for number, field in enumerate(fields.fields):
        # Heights come out of z; every other field travels as a column of its own.
        if field.key != "height":
            columns[f"field{number}"] = field.values[thinning.index]
    if cloud.normal is not None:
        columns["shading"] = shading(cloud.normal[thinning.index])
    packed = pack_arrays(columns)
    scene = {
        "sceneId": cloud.scene_id,
        "numPoints": thinning.num_points,
        "numShown": thinning.num_shown,
        "xyz": {"low": low, "step": step},
        "spacing": point_spacing_m(xyz),
        "origin": list(cloud.origin_m),
        "floor": framing.floor_m,
        "clip": framing.clip_m,
        "azimuth": framing.azimuth_deg,
        "elevation": framing.elevation_deg,
        "columns": packed.table,
        "fields": [_described(number, field) for number, field in enumerate(fields.fields)],
        "views": list(views),
        "colorscale": [list(stop) for stop in CONTINUOUS_SCALE],
        "missingColor": IGNORED_COLOR,
    }
    return fill(
        asset("scene.html"),
        {
            "TITLE": html.escape(title),
            "STATEMENT": html.escape(thinning.statement),
            "SCORES": html.escape(_score_line(fields)),
            "STYLE": asset("page.css"),
            "SCENE": embedded_json(scene),
            "DATA": packed.text,
            "PLOTLY": _packed_plotly(),
            "SCRIPTS": "\n".join(asset(name) for name in ("decode.js", "viewer.js", "panel.js")),
        },
    )


def _described(number: int, field: Field) -> dict[str, Any]:
    return {
        "key": field.key,
        "title": field.title,
        "kind": field.kind,
        "column": None if field.key == "height" else f"field{number}",
        "limits": list(field.limits),
        "unit": field.unit,
        "group": field.group,
        "categories": [
            {"name": c.name, "color": c.color, "count": c.count, "iou": c.iou}
            for c in field.categories
        ],
    }


def _score_line(fields: SceneFields) -> str:
    if fields.scores is None:
        return ""
    values = ("mIoU", fields.scores.mean_iou), ("accuracy", fields.scores.accuracy)
    return " · ".join(f"{name} {value:.3f}" for name, value in values if math.isfinite(value))


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


@lru_cache(maxsize=1)
def _packed_plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ImportError("pages need plotly; install it with: pip install plotly") from error
    return pack_text(get_plotlyjs())
