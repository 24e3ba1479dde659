"""Checkpoints: whole or not there, read without running code, no size that depends on a batch."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from pointseg.cli.train import main
from pointseg.data import SCANNET20
from pointseg.engine import checkpoint as module
from pointseg.engine.checkpoint import (
    Checkpoint,
    load_checkpoint,
    pack_label_map,
    save_checkpoint,
    unpack_label_map,
)
from pointseg.engine.checkpoint_folder import find_checkpoint
from pointseg.engine.random_state import (
    get_random_state,
    preserved_random_state,
    seed_everything,
    set_random_state,
)
from tests.engine.runs import assert_same_state


def sample(step: int = 1) -> Checkpoint:
    return Checkpoint(
        model={"weight": torch.arange(6.0).reshape(2, 3) + step},
        config={"name": "x", "sizes": [1, 2]},
        label_map=pack_label_map(SCANNET20),
        in_channels=3,
        step=step,
        random_state=get_random_state(),
        best_metric=0.5,
    )


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "new" / "last.pt"
    save_checkpoint(sample(), path)
    assert_same_state(vars(load_checkpoint(path)), vars(sample()))
    assert os.listdir(path.parent) == ["last.pt"]


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    save_checkpoint(sample(step=1), path)

    def fail_half_way(value, stream):
        stream.write(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", fail_half_way)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(sample(step=2), path)
    assert load_checkpoint(path).step == 1
    assert os.listdir(tmp_path) == ["last.pt"]


def test_the_file_is_on_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor):
        calls.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def record_replace(source, target):
        calls.append("rename")
        assert torch.load(source, weights_only=True)["step"] == 1  # complete already
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    save_checkpoint(sample(), tmp_path / "last.pt")
    assert calls[0].name.startswith("last.pt.") and calls[0].suffix == ".tmp"
    assert calls[1:] == ["rename", tmp_path]


def test_damaged_foreign_and_newer_files_are_named(tmp_path):
    path = tmp_path / "last.pt"
    with pytest.raises(FileNotFoundError, match=r"last\.pt: no such checkpoint"):
        load_checkpoint(path)
    save_checkpoint(sample(), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"last\.pt: not a readable checkpoint"):
        load_checkpoint(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ValueError, match=r"last\.pt: not a checkpoint of pointseg"):
        load_checkpoint(path)
    torch.save({"format_version": module.FORMAT_VERSION + 1}, path)
    with pytest.raises(ValueError, match="format 2, this version reads 1"):
        load_checkpoint(path)
    torch.save({"format_version": module.FORMAT_VERSION, "model": {}}, path)
    with pytest.raises(ValueError, match="without config, in_channels, label_map"):
        load_checkpoint(path)


class RunsOnLoading:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_loading_runs_no_code_from_the_file(tmp_path):
    target = tmp_path / "touched"
    torch.save({"format_version": 1, "model": RunsOnLoading(target)}, tmp_path / "evil.pt")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(RunsOnLoading(target)))
    for name in ("evil.pt", "evil.pkl"):
        with pytest.raises(ValueError, match=name):
            load_checkpoint(tmp_path / name)
    assert not target.exists()


def test_label_map_comes_back():
    got = unpack_label_map(pack_label_map(SCANNET20))
    assert (got.name, got.names, got.raw_ids) == (
        SCANNET20.name,
        SCANNET20.names,
        SCANNET20.raw_ids,
    )
    assert np.array_equal(got.palette, SCANNET20.palette)


def draw() -> tuple[float, ...]:
    import random

    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


def test_all_random_generators_are_restored():
    seed_everything(5)
    draw()
    np.random.randn()  # noqa: NPY002  leaves a cached value behind
    state = get_random_state()
    first = draw()
    set_random_state(state)
    assert draw() == first
    set_random_state(state)
    with preserved_random_state():
        draw()
    assert draw() == first


def test_a_run_directory_stands_for_its_checkpoints(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such run directory"):
        find_checkpoint(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match="no checkpoint in this run"):
        find_checkpoint(tmp_path)
    folder = tmp_path / "checkpoints"
    save_checkpoint(sample(), folder / "last.pt")
    assert find_checkpoint(tmp_path, prefer="best.pt") == folder / "last.pt"
    save_checkpoint(sample(), folder / "best.pt")
    assert find_checkpoint(tmp_path) == folder / "last.pt"
    assert find_checkpoint(tmp_path, prefer="best.pt") == folder / "best.pt"
    assert find_checkpoint(folder / "best.pt") == folder / "best.pt"


def shapes(value, where=""):
    if isinstance(value, torch.Tensor):
        yield where, tuple(value.shape)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from shapes(item, f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from shapes(item, f"{where}[{i}]")


def test_no_size_depends_on_the_batch(tiny_config, tmp_path):
    seen = []
    for batch_size in (1, 3):
        run = tmp_path / str(batch_size)
        settings = [f"train.batch_size={batch_size}", "train.steps=2", "train.average_decay=0.5"]
        words = [word for setting in settings for word in ("--set", setting)]
        assert main(["--config", str(tiny_config), *words, "--output", str(run)]) == 0
        seen.append(dict(shapes(vars(load_checkpoint(find_checkpoint(run))))))
    assert len(seen[0]) > 50
    assert seen[0] == seen[1]
