"""Curves of time and memory over size, as a page that works offline and as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pointseg.benchmark.scaling import OURS, QUANTITIES, Point, curve_keys, curve_of
from pointseg.files import written_whole
from pointseg.visualization.screenshot import write_screenshot

COLUMNS = 3
PANEL_PX = (440, 360)
COLORS = {OURS: ("#1f5fa8", "#6db1e8"), "plain_torch": ("#b3471d", "#eda166")}  # all threads, one
READY = "document.body.dataset.ready = ''"  # what a screenshot waits for


def write_pictures(
    points: Sequence[Point], folder: Path, subtitle: str
) -> tuple[list[Path], str | None]:
    """Write ``<quantity>.html`` and ``<quantity>.png`` for time and memory; replace old ones.

    Returns the files, and why there is no PNG (None where there is): a browser and playwright are
    not needed for the rest.
    """
    written, problem = [], None
    for quantity in QUANTITIES:
        chart = figure(points, quantity, subtitle)
        page = folder / f"{quantity}.html"
        with written_whole(page, overwrite=True) as temporary:
            chart.write_html(
                temporary, include_plotlyjs=True, include_mathjax=False, post_script=READY
            )
        written.append(page)
        size = (chart.layout.width + 16, chart.layout.height + 16)  # the page has a margin
        try:
            png = page.with_suffix(".png")
            written.append(write_screenshot(page, png, size=size, overwrite=True))
        except (ImportError, FileNotFoundError) as error:
            problem = str(error)
    return written, problem


def figure(points: Sequence[Point], quantity: str, subtitle: str) -> Any:
    """A plotly figure of one quantity: a panel a case, logarithmic axes, a curve for each engine
    and number of threads.
    """
    import plotly.graph_objects as go  # slow to import, needed only here
    from plotly.subplots import make_subplots

    field, unit, _, _ = QUANTITIES[quantity]
    cases = list(dict.fromkeys(p.case for p in points))
    columns = min(COLUMNS, len(cases))
    rows = -(-len(cases) // columns)
    chart = make_subplots(rows, columns, subplot_titles=cases, vertical_spacing=0.22 / rows)
    most = max(p.threads for p in points)
    named = set()
    for key in curve_keys(points):
        case, engine, count = key
        if quantity == "memory" and count != most:
            continue  # hardly depends on threads: the curves would hide each other
        curve = sorted(curve_of(points, key), key=lambda p: p.size)
        name = f"{engine.replace('_', ' ')}, {count} thread{'s' if count > 1 else ''}"
        trace = go.Scatter(
            x=[p.size for p in curve],
            y=[getattr(p, field) for p in curve],
            name=name,
            legendgroup=name,
            showlegend=name not in named,
            mode="lines+markers",
            line={
                "color": COLORS[engine][0 if count == most else 1],
                "dash": "solid" if engine == OURS else "dot",
            },
            hovertemplate="%{x:,}: %{y:.4g} " + unit,
        )
        named.add(name)
        place = cases.index(case)
        chart.add_trace(trace, place // columns + 1, place % columns + 1)
    chart.update_xaxes(type="log", dtick=1, title={"text": "voxels"})
    if "voxelize" in cases:
        place = cases.index("voxelize")
        chart.update_xaxes(
            title={"text": "points"}, row=place // columns + 1, col=place % columns + 1
        )
    chart.update_yaxes(type="log", dtick="D2", title={"text": unit})
    chart.update_layout(
        title={"text": f"{quantity.capitalize()}, {unit}<br><sub>{subtitle}</sub>"},
        template="plotly_white",
        margin={"t": 130, "b": 150},
        legend={"orientation": "h", "yanchor": "bottom", "y": 0, "yref": "container"},
        width=PANEL_PX[0] * columns + 80,
        height=PANEL_PX[1] * rows + 260,
    )
    return chart
