"""Synthetic rooms: furnished meshes, scanned by ray casting, written in ScanNet's format."""

from __future__ import annotations

from pointseg.data.synthetic.camera import ScanSettings
from pointseg.data.synthetic.dataset import (
    GENERATOR_VERSION,
    RoomSet,
    generate_scan,
    synthesize_rooms,
)
from pointseg.data.synthetic.scanner import Scan

__all__ = [
    "GENERATOR_VERSION",
    "RoomSet",
    "Scan",
    "ScanSettings",
    "generate_scan",
    "synthesize_rooms",
]
