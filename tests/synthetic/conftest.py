"""Rooms and streets generated once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("open3d", reason="open3d is not installed: no ray casting")

from pointseg.data.synthetic import RoomSet, synthesize_rooms
from pointseg.data.synthetic.streets import LidarSettings, StreetSet, synthesize_streets

SEED = 3


@pytest.fixture(scope="session")
def rooms_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training rooms and one validation room, made by one process."""
    root = tmp_path_factory.mktemp("synthetic") / "rooms"
    assert synthesize_rooms(root, RoomSet(train=2, val=1, seed=SEED)) == 3
    return root


STREETS = StreetSet(train=2, val=1, test=1, scans=3, seed=SEED, lidar=LidarSettings(256))


@pytest.fixture(scope="session")
def streets_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training sequences, the validation sequence and one without labels, by one process."""
    root = tmp_path_factory.mktemp("synthetic") / "streets"
    assert synthesize_streets(root, STREETS) == 12
    return root
