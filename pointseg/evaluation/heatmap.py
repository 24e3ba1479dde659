"""A report's confusion matrix as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pointseg.evaluation.report import NONE_COLUMN, SegReport
from pointseg.files import written_whole


def write_heatmap(report: SegReport, path: Path, overwrite: bool = False) -> None:
    """Write the row-normalised confusion matrix as one HTML file that works offline.

    A row is a true class and adds up to 100 %; rows of classes without a point are left blank.
    """
    figure = _heatmap(report)
    with written_whole(path, overwrite) as temporary:
        figure.write_html(temporary, include_plotlyjs=True, include_mathjax=False)


def _heatmap(report: SegReport) -> Any:
    import plotly.graph_objects as go  # slow to import, needed only here

    counts = report.confusion
    totals = counts.sum(axis=1, keepdims=True)
    share = np.where(totals > 0, 100.0 * counts / np.maximum(totals, 1), np.nan)
    columns = list(report.names)
    if counts[:, -1].any():
        columns.append(NONE_COLUMN)
    share, counts = share[:, : len(columns)], counts[:, : len(columns)]
    figure = go.Figure(
        go.Heatmap(
            # lists, not arrays: the file stays readable, and None leaves a cell blank
            z=[[float(v) if np.isfinite(v) else None for v in row] for row in share],
            x=columns,
            y=list(report.names),
            customdata=counts.tolist(),
            text=[["" if not value >= 0.5 else f"{value:.0f}" for value in row] for row in share],
            texttemplate="%{text}",
            hovertemplate=(
                "true %{y}<br>predicted %{x}<br>%{z:.2f} % of the class"
                "<br>%{customdata} points<extra></extra>"
            ),
            colorscale="Blues",
            zmin=0,
            zmax=100,
            colorbar={"title": {"text": "% of true class"}},
        )
    )
    side = 320 + 34 * len(columns)
    figure.update_layout(
        title={
            "text": f"{report.headline}<br><sub>{report.rule}, {report.mean_statement}; "
            f"split {report.split}: {report.num_scenes} scenes, {report.num_points:,} points</sub>"
        },
        xaxis={"title": {"text": "predicted"}, "tickangle": -45, "constrain": "domain"},
        yaxis={"title": {"text": "true"}, "autorange": "reversed"},
        width=side + 80,
        height=side,
        template="plotly_white",
    )
    return figure
