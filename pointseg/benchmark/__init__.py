"""Measurements side by side: ours and what a user would otherwise run, on one input."""

from __future__ import annotations

from pointseg.benchmark.peers import find_peers
from pointseg.benchmark.report import (
    Row,
    header,
    markdown_page,
    print_table,
    write_json,
)
from pointseg.benchmark.suites import SUITES, Options, Suite

__all__ = [
    "SUITES",
    "Options",
    "Row",
    "Suite",
    "find_peers",
    "header",
    "markdown_page",
    "print_table",
    "write_json",
]
