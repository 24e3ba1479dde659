"""A small working folder of a user who has read the pages: data, own clouds and trained runs.

Nothing in the commands is replaced. What makes them quick is what they find: few rooms, and
configurations that are those of the project with narrow networks and a few steps.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pointseg import config as configuration
from pointseg.cli import train
from pointseg.data import ScanNetReader
from pointseg.data.synthetic import RoomSet, synthesize_rooms
from pointseg.experiment import load_config
from tests.data.scenes import SceneSpec, write_scene
from tests.helpers.scenes import write_scannet_root

ROOT = Path(__file__).resolve().parents[2]

# As in the pages: `pointseg synthesize-rooms --out data/synthetic --train 2 --val 1` keeps them.
ROOMS = RoomSet(train=2, val=1)
TEST_SCENE = "scene0707_00"

NARROW = (
    "model.depths=[1, 1]",
    "model.widths=[8, 8]",
    "model.stem_width=8",
    "model.stem_kernel=3",
)
# Where the blocks of each stage are listed: the stages that the pages name have codebooks.
NARROW_BLOCKS = (
    "model.depths=[1, 1, 1, 1]",
    "model.widths=[8, 8, 8, 8]",
    "model.blocks=[basic, codebook, codebook, basic]",
)
SHORT = ("train.steps=2", "train.batch_size=1", "train.evaluate_every=0", "data.num_workers=0")


def make_workplace(folder: Path) -> Path:
    """Fill ``folder``; about five seconds on a quiet machine."""
    synthesize_rooms(folder / "data" / "synthetic", ROOMS, workers=1)
    _write_scannet(folder / "data" / "scannet")
    _write_configs(folder / "configs")
    _write_clouds(folder)
    (folder / "tools").symlink_to(ROOT / "tools")
    with pytest.MonkeyPatch.context() as patch:  # as users train: the runs name no root
        patch.setenv("POINTSEG_DATA", str(folder / "data"))
        for config, run in (
            ("synthetic_minkunet14", "rooms"),
            ("synthetic_tr", "rooms_tr"),
            ("scannet_minkunet14a_5cm", "scannet"),
        ):
            path, output = folder / "configs" / f"{config}.yaml", folder / "runs" / run
            assert train.main(["--config", str(path), "--output", str(output)]) == 0
    return folder


def enter(workplace: Path, folder: Path, without_runs: bool) -> None:
    """Make ``folder`` a working folder of its own: data is shared, what is written is not."""
    for name in ("data", "tools"):
        (folder / name).symlink_to(workplace / name)
    for name in ("configs", "clouds", "scans_mm", "arrays"):
        shutil.copytree(workplace / name, folder / name)
    if not without_runs:
        shutil.copytree(workplace / "runs", folder / "runs")


def _write_scannet(root: Path) -> None:
    write_scannet_root(root)
    spec = SceneSpec(TEST_SCENE, labels_ply=False, annotation=False)
    write_scene(root, spec, top="scans_test")
    (root / "meta" / "scannetv2_test.txt").write_text(f"{TEST_SCENE}\n", encoding="utf-8")


def _write_configs(folder: Path) -> None:
    """The project's configurations under their own names, made small."""
    folder.mkdir()
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        listed = "blocks" in load_config(path).model.options
        narrow = (*NARROW, *NARROW_BLOCKS) if listed else NARROW
        config = load_config(path, (*narrow, *SHORT))
        (folder / path.name).write_text(configuration.dump(config), encoding="utf-8")


def _write_clouds(folder: Path) -> None:
    """A mesh with colours, an array for its vertices, and text in millimetres with y up."""
    reader = ScanNetReader(folder / "data" / "synthetic")
    scene_id = reader.listed("val")[0]
    clouds, millimetres, arrays = (folder / name for name in ("clouds", "scans_mm", "arrays"))
    for made in (clouds, millimetres, arrays):
        made.mkdir()
    mesh = f"{scene_id}_vh_clean_2.ply"
    shutil.copy(reader.source_files(scene_id)[mesh], clouds / "office.ply")
    cloud = reader.read_scene(scene_id)
    np.save(arrays / "confidence.npy", np.linspace(0, 1, cloud.num_points, dtype=np.float32))
    some = cloud.select(np.arange(0, cloud.num_points, 50))
    x, y, z = (1000 * some.xyz_m).T
    assert some.color is not None
    table = np.column_stack([y, z, x, some.color])  # a cyclic exchange: y is up
    np.savetxt(millimetres / "desk.xyz", table, fmt="%.1f", header="x y z r g b")
