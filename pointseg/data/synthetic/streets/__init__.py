"""Synthetic streets: driven through with a spinning lidar, in SemanticKITTI's format."""

from __future__ import annotations

from pointseg.data.synthetic.streets.dataset import (
    GENERATOR_VERSION,
    StreetSet,
    sequence_folder,
    synthesize_streets,
)
from pointseg.data.synthetic.streets.scanner import StreetScanner, Sweep
from pointseg.data.synthetic.streets.sensor import LidarSettings
from pointseg.data.synthetic.streets.street import Street, build_street

__all__ = [
    "GENERATOR_VERSION",
    "LidarSettings",
    "Street",
    "StreetScanner",
    "StreetSet",
    "Sweep",
    "build_street",
    "sequence_folder",
    "synthesize_streets",
]
