"""Fixtures of the training tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.runs import write_config
from tests.helpers.scenes import write_scannet_root


@pytest.fixture(scope="session")
def scannet_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three training and two validation rooms in ScanNet's format."""
    return write_scannet_root(tmp_path_factory.mktemp("scannet"))


@pytest.fixture
def tiny_config(tmp_path: Path, scannet_root: Path) -> Path:
    """A configuration of seven steps of two accumulated batches over those rooms."""
    return write_config(tmp_path, scannet_root)
