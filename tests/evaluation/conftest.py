"""A tiny data set in ScanNet's layout, and a checkpoint of a small untrained network for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pointseg import config as configuration
from pointseg.data import find_spec, num_channels
from pointseg.engine.checkpoint import Checkpoint, pack_label_map, save_checkpoint
from pointseg.experiment import ExperimentConfig, build_model

from ..helpers.scenes import write_scannet_root

FEATURES = ["color", "height"]


@pytest.fixture(scope="session")
def small_root(tmp_path_factory) -> Path:
    return write_scannet_root(tmp_path_factory.mktemp("data") / "scannet")


MINKUNET = {"name": "minkunet", "depths": [1] * 8, "widths": [6] * 8}


def write_checkpoint(
    path: Path,
    root: Path,
    features: list[str],
    model: dict[str, Any] | None = None,
    **data: Any,
) -> Path:
    """A network with random weights: its labels are wrong, and the same every time."""
    config = configuration.from_dict(
        ExperimentConfig,
        {
            "name": "tiny",
            "data": {
                "dataset": "scannet",
                "root": str(root),
                "voxel_size_m": 0.1,
                "features": features,
                **data,
            },
            "model": model or MINKUNET,
            "train": {"steps": 1},
        },
        "test",
    )
    torch.manual_seed(7)
    label_map = find_spec(config.data.dataset).label_map
    network = build_model(config, label_map)
    # untrained logits of different classes are close; spread them so that several classes win
    for parameter in network.parameters():
        parameter.data.mul_(3.0)
    save_checkpoint(
        Checkpoint(
            model=network.state_dict(),
            config=configuration.to_dict(config),
            label_map=pack_label_map(label_map),
            in_channels=num_channels(features),
        ),
        path,
    )
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, small_root) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "best.pt", small_root, FEATURES)
