"""Rooms generated once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("open3d", reason="open3d is not installed: no ray casting")

from pointseg.data.synthetic import RoomSet, synthesize_rooms

SEED = 3


@pytest.fixture(scope="session")
def rooms_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training rooms and one validation room, made by one process."""
    root = tmp_path_factory.mktemp("synthetic") / "rooms"
    assert synthesize_rooms(root, RoomSet(train=2, val=1, seed=SEED)) == 3
    return root
