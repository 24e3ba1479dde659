"""Synthetic rooms: furnished meshes, scanned by ray casting, in ScanNet's or S3DIS's format."""

from __future__ import annotations

from pointseg.data.synthetic.camera import ScanSettings
from pointseg.data.synthetic.dataset import (
    GENERATOR_VERSION,
    SCANNET_ROOMS,
    RoomFormat,
    RoomSet,
    generate_scan,
    synthesize_rooms,
)
from pointseg.data.synthetic.s3dis_rooms import S3DIS_ROOMS
from pointseg.data.synthetic.scanner import Scan

FORMATS: dict[str, RoomFormat] = {"scannet": SCANNET_ROOMS, "s3dis": S3DIS_ROOMS}
"""What rooms there are, by the data set whose layout they have."""

__all__ = [
    "FORMATS",
    "GENERATOR_VERSION",
    "RoomFormat",
    "RoomSet",
    "Scan",
    "ScanSettings",
    "generate_scan",
    "synthesize_rooms",
]
