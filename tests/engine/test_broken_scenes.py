"""Training scenes that cannot be read: an error, or left out, named and counted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch

from pointseg.cli.train import main
from pointseg.data import (
    BrokenScene,
    SceneDataset,
    build_transforms,
    open_dataset,
)
from pointseg.engine.broken_scenes import BrokenScenes, scene_sizes
from pointseg.engine.loaders import LoadedBatch, training_loader
from pointseg.engine.sampler import SceneStream
from tests.data.drives import write_drive
from tests.engine.runs import assert_same_run, assert_same_state, metrics, write_config
from tests.helpers.scenes import TRAIN_IDS, VAL_IDS, write_scannet_root

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_scannet_root(tmp_path_factory.mktemp("rooms"))
    open_dataset("scannet", root, "train+val", workers=0)
    return root


@pytest.fixture
def prepared_root(rooms: Path, tmp_path: Path) -> Path:
    """Rooms of a test's own, to be damaged."""
    return Path(shutil.copytree(rooms, tmp_path / "rooms"))


def damage(root: Path, scene_id: str) -> None:
    path = root / "prepared" / scene_id / "color.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 0xFF
    path.write_bytes(content)


def dataset_of(root: Path, *transforms: str, name: str = "scannet") -> SceneDataset:
    specs = [{"name": t, "probability": 1.0} for t in transforms]
    scenes = open_dataset(name, root, "train")
    return SceneDataset(scenes, 0.3, ["height"], build_transforms(specs), seed=1)


def batches_of(
    dataset: SceneDataset, batch_size: int, max_broken: int, workers: int = 0, count: int = 6
) -> list[LoadedBatch]:
    stream = SceneStream(len(dataset), batch_size, seed=0)
    loader = training_loader(dataset, stream, workers, max_broken_scenes=max_broken)
    return list(islice(loader, count))


def train(*arguments: object) -> int:
    return main([*map(str, arguments), "--device", "cpu"])


def settings(**options: object) -> list[str]:
    given = {"data.max_broken_scenes": 1, "train.steps": 3, "train.evaluate_every": 0, **options}
    return [word for key, value in given.items() for word in ("--set", f"{key}={value}")]


def test_a_run_goes_on_without_a_damaged_scene(prepared_root, tmp_path, capsys):
    """Also its class weights, and with workers the same bits."""
    damage(prepared_root, TRAIN_IDS[1])
    config = write_config(tmp_path, prepared_root)
    for workers in (0, 2):
        options = settings(**{"data.num_workers": workers})
        assert train("--config", config, *options, "--output", tmp_path / str(workers)) == 0
        told = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
        assert len(told) == 1 and f"{TRAIN_IDS[1]}/color.npy: damaged" in told[0]
        assert "prepare-data" in told[0]
    assert_same_run(tmp_path / "0", tmp_path / "2")
    rows = [row for row in metrics(tmp_path / "0") if row["kind"] == "train"]
    assert [row["broken_scenes"] for row in rows][-1] == 1.0


@pytest.mark.parametrize(
    ("damaged", "limit", "workers"),
    [
        (TRAIN_IDS[:1], 0, 1),  # the first one
        (TRAIN_IDS[:2], 1, 1),  # beyond the limit all are listed
        (TRAIN_IDS[:2], 1, 0),
        (VAL_IDS[:1], 5, 0),  # a score must be that of the whole split
    ],
)
def test_what_ends_a_run(damaged, limit, workers, prepared_root, tmp_path, capsys):
    for scene_id in damaged:
        damage(prepared_root, scene_id)
    options = settings(
        **{
            "data.max_broken_scenes": limit,
            "data.num_workers": workers,
            "loss.class_weight_power": 0.0,
        }
    )
    config = write_config(tmp_path, prepared_root)
    assert train("--config", config, *options, "--output", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    for scene_id in damaged:
        assert f"{scene_id}/color.npy: damaged" in error
    if limit == 1:
        assert "2 training scenes cannot be read, data.max_broken_scenes = 1" in error


def test_a_batch_of_broken_scenes_alone_has_another_scene(prepared_root):
    damage(prepared_root, TRAIN_IDS[2])
    dataset = dataset_of(prepared_root, "random_flip")
    batches = batches_of(dataset, 1, 1)
    for item in batches:
        ((epoch, index),) = item.share.scenes
        taken = 0 if index == 2 else index
        assert item.batch.scene_ids == (TRAIN_IDS[taken],)
        assert [scene.scene_id for scene in item.broken] == [TRAIN_IDS[2]] * (index == 2)
        dataset.set_epoch(epoch)
        assert torch.equal(item.batch.voxels.feats, dataset[taken].feats)
    assert [item.share.end for item in batches] == [1, 2, 3, 4, 5, 6]
    for a, b in zip(batches, batches_of(dataset, 1, 1, workers=2), strict=True):
        assert (a.share, a.broken) == (b.share, b.broken)
        assert_same_state(a.batch.voxels.feats, b.batch.voxels.feats)


def test_the_rest_of_a_batch_is_as_it_would_have_been(prepared_root):
    whole = batches_of(dataset_of(prepared_root), 3, 0, count=2)
    damage(prepared_root, TRAIN_IDS[0])
    damaged = batches_of(dataset_of(prepared_root), 3, 1, count=2)
    for before, after in zip(whole, damaged, strict=True):
        kept = tuple(s for s in before.batch.scene_ids if s != TRAIN_IDS[0])
        assert after.batch.scene_ids == kept and after.share == before.share
        assert [scene.scene_id for scene in after.broken] == [TRAIN_IDS[0]]
        first, rest = before.batch, after.batch
        gone = first.voxels.grid.coords[:, 0] == first.scene_ids.index(TRAIN_IDS[0])
        assert torch.equal(first.voxels.feats[~gone], rest.voxels.feats)


def test_a_scene_whose_partner_is_broken_comes_unmixed(prepared_root):
    whole = dataset_of(prepared_root, "mix3d")
    damage(prepared_root, TRAIN_IDS[2])
    damaged = dataset_of(prepared_root, "mix3d")
    plain = dataset_of(prepared_root)
    unmixed = 0
    for epoch in range(4):
        for dataset in (whole, damaged):
            dataset.set_epoch(epoch)
        scene, broken = damaged.read_or_skip(0)
        assert scene is not None
        if broken:
            unmixed += 1
            assert len(scene.point_labels) == len(plain[0].point_labels)
            with pytest.raises(ValueError, match=TRAIN_IDS[2]):
                damaged[0]
        else:
            assert torch.equal(scene.feats, damaged[0].feats)
    assert 0 < unmixed < 4


def test_scans_that_are_read_from_their_own_files(tmp_path):
    folder = write_drive(tmp_path)
    scan = folder / "velodyne" / "000002.bin"
    scan.write_bytes(scan.read_bytes()[:-3])
    dataset = dataset_of(tmp_path, name="semantickitti")
    (item,) = batches_of(dataset, 4, 1, count=1)
    assert len(item.batch.scene_ids) == 3
    assert [scene.scene_id for scene in item.broken] == ["00_000002"]
    assert "000002.bin" in item.broken[0].message
    with pytest.raises(ValueError, match="000002.bin"):
        scene_sizes(dataset, 0)
    assert scene_sizes(dataset, 1) == [40, 39, 0, 37]


def test_no_readable_scene_is_an_error_whatever_the_limit(prepared_root):
    for scene_id in TRAIN_IDS:
        damage(prepared_root, scene_id)
    with pytest.raises(ValueError, match="none of the 3 training scenes can be read"):
        batches_of(dataset_of(prepared_root), 2, 9)


def test_two_ranks(prepared_root, tmp_path):
    """Batches by points without a damaged scene: ranks make equal steps, and end together."""
    damage(prepared_root, TRAIN_IDS[0])
    run = tmp_path / "run"
    options = settings(**{"train.max_points": 6000, "train.batch_size": 2, "train.steps": 4})
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [
        str(ROOT / "tools" / "train.py"),
        "--config",
        str(write_config(tmp_path, prepared_root)),
    ]
    command += [*options, "--output", str(run), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    rows = [row for row in metrics(run) if row["kind"] == "train"]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert all(row["load_imbalance"] >= 1 and 0 < row["load_fill"] <= 1 for row in rows)
    assert rows[-1]["epoch"] >= 4 * 2 * 2 / 3  # two passes of at least a scene a rank in each step
    assert f"{TRAIN_IDS[0]}/color.npy: damaged" in done.stdout + done.stderr


def test_scenes_are_counted_once():
    broken = BrokenScenes(2)
    assert broken.add([BrokenScene("a", "cut"), BrokenScene("a", "cut")]) == {"a": "cut"}
    assert broken.add([BrokenScene("a", "cut"), BrokenScene("b", "gone")]) == {"b": "gone"}
    assert broken.numbers() == {"broken_scenes": 2.0}
    with pytest.raises(ValueError, match=r"3 training scenes(.|\n)*a: cut\n  b: gone\n  c: empty"):
        broken.add([BrokenScene("c", "empty")])
    assert BrokenScenes(0).numbers() == {}


def test_batches_by_points_in_a_run(prepared_root, tmp_path, capsys):
    """Steps of as many scenes as the budget holds; resumed it reads the same."""
    sizes = dict(zip(TRAIN_IDS, scene_sizes(dataset_of(prepared_root), 0), strict=True))
    budget = sum(sizes.values()) - 1
    options = settings(**{"train.max_points": budget, "train.batch_size": 3, "train.accumulate": 1})
    config = write_config(tmp_path, prepared_root)
    assert train("--config", config, *options, "--output", tmp_path / "whole") == 0
    first = tmp_path / "parts"
    assert train("--config", config, *options, "--set", "train.steps=2", "--output", first) == 0
    assert train("--resume", first, "--set", "train.steps=3") == 0
    rows = [row for row in metrics(tmp_path / "whole") if row["kind"] == "train"]
    assert [row["epoch"] for row in rows] == pytest.approx([2 / 3, 4 / 3, 2])
    assert all(0 < row["load_fill"] <= 1 for row in rows)
    assert {row["load_imbalance"] for row in rows} == {1.0}  # one rank waits for nobody
    parts = [row for row in metrics(first) if row["kind"] == "train"]
    assert [row["load_fill"] for row in parts] == [row["load_fill"] for row in rows]
    assert "more than train.max_points" not in capsys.readouterr().err
