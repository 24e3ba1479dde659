"""A scene in an Open3D window: keys choose what it is coloured by."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pointseg.visualization.colors import IGNORED_COLOR, hex_rgb, scale_colors
from pointseg.visualization.fields import Field, scene_fields
from pointseg.visualization.framing import frame
from pointseg.visualization.thinning import thin

if TYPE_CHECKING:
    from pointseg.data import LabelMap, PointCloud
    from pointseg.evaluation.choices import StageChoice

DEFAULT_MAX_POINTS = 3_000_000


def show_window(
    cloud: PointCloud,
    label_map: LabelMap,
    predictions: np.ndarray | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
    max_points: int = DEFAULT_MAX_POINTS,
    choices: Mapping[str, StageChoice] | None = None,
) -> None:
    """Open a window and return when it is closed; arguments as for `page.write_scene_page`.

    Keys 1 to 9 colour the points by RGB, label, prediction, ...; C hides or shows what is above
    the ceiling's lower edge. Raises ImportError without open3d, OSError without a display.
    """
    open3d = _open3d()
    require_display()
    framing = frame(cloud.xyz_m)
    fields = scene_fields(
        cloud, label_map, predictions, arrays, floor_m=framing.floor_m, choices=choices
    ).fields[:9]
    thinning = thin(cloud.xyz_m, max_points)
    xyz = np.asarray(cloud.xyz_m[thinning.index], dtype=np.float64)
    colors = [field_colors(field, thinning.index) for field in fields]
    clip = np.inf if framing.clip_m is None else framing.clip_m
    points = open3d.geometry.PointCloud()
    state = {"field": 0, "cut": framing.clip_m is not None}

    def fill_points() -> None:
        rows = xyz[:, 2] <= clip if state["cut"] else slice(None)
        points.points = open3d.utility.Vector3dVector(xyz[rows])
        points.colors = open3d.utility.Vector3dVector(colors[state["field"]][rows] / 255.0)

    def change(name: str, value: Any) -> bool:
        state[name] = value
        fill_points()
        window.update_geometry(points)
        return True

    window = open3d.visualization.VisualizerWithKeyCallback()
    if not window.create_window(f"{cloud.scene_id}: {thinning.statement}", 1280, 800):
        raise OSError("open3d could not open a window (no OpenGL on this display?)")
    fill_points()
    window.add_geometry(points)
    for number, field in enumerate(fields):
        window.register_key_callback(ord("1") + number, lambda _, n=number: change("field", n))
        print(f"key {number + 1}: {field.title}")
    if framing.clip_m is not None:
        window.register_key_callback(ord("C"), lambda _: change("cut", not state["cut"]))
        print("key C: ceiling")
    azimuth, elevation = np.radians((framing.azimuth_deg, framing.elevation_deg))
    control = window.get_view_control()
    control.set_up((0.0, 0.0, 1.0))
    front = np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth)
    control.set_front((*front, np.sin(elevation)))
    window.run()
    window.destroy_window()


def require_display() -> None:
    """OSError where a window cannot be shown, saying what to do instead."""
    if sys.platform.startswith("linux") and not any(
        os.environ.get(variable) for variable in ("DISPLAY", "WAYLAND_DISPLAY")
    ):
        raise OSError(
            "no display to open a window on (neither DISPLAY nor WAYLAND_DISPLAY is set); write a "
            "page instead: --viewer plotly --out scene.html"
        )


def field_colors(field: Field, rows: np.ndarray) -> np.ndarray:
    """uint8 [N, 3]: the colours of a field's values at ``rows``."""
    values = field.values[rows]
    if field.kind == "color":
        return values
    if field.kind == "category":
        table = np.array([hex_rgb(category.color) for category in field.categories], dtype=np.uint8)
        return table[values]
    colors = scale_colors(values, *field.limits)
    colors[np.isnan(values)] = hex_rgb(IGNORED_COLOR)
    return colors


def _open3d() -> Any:
    try:
        import open3d
    except ImportError as error:
        raise ImportError(
            f"windows need open3d ({error}); install it with: pip install 'pointseg[open3d]'"
        ) from error
    return open3d
