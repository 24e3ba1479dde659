"""Checkpoints: whole or not there, read without running code, no size that depends on a batch."""

from __future__ import annotations

import io
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
from pointseg.engine.checkpoint_folder import (
    find_checkpoint,
    find_damage,
    read_step,
    step_path,
)
from pointseg.engine.random_state import (
    get_random_state,
    preserved_random_state,
    seed_everything,
    set_random_state,
)
from pointseg.engine.sealed_file import Damaged, NotSaved, load_sealed, sealed_file
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
    with pytest.raises(
        NotSaved, match=r"last\.pt could not be written \(no space .* bytes, .* free"
    ):
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
    assert calls[0].name.startswith(".last.pt.") and calls[0].suffix == ".part"
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
    with pytest.raises(ValueError, match="format 3, this version reads 1 to 2"):
        load_checkpoint(path)
    torch.save({"format_version": 2}, path)  # not sealed, so written by something else
    with pytest.raises(ValueError, match="its seal is cut off"):
        load_checkpoint(path)
    torch.save({"format_version": 1, "model": {}}, path)
    with pytest.raises(ValueError, match="without config, in_channels, label_map"):
        load_checkpoint(path)


def is_noticed(data: bytes) -> bool:
    try:
        _, is_sealed = load_sealed(io.BytesIO(data))
    except Damaged:
        return True
    return not is_sealed  # which load_checkpoint refuses in this format


def test_a_changed_bit_and_a_missing_end_are_found_anywhere(tmp_path):
    """torch alone loads most of these files, with other weights."""
    path = tmp_path / "last.pt"
    small = {"model": torch.arange(6.0), "step": 3, "format_version": 2}
    with sealed_file(small, path, step=3):
        pass
    data = path.read_bytes()
    assert not is_noticed(data)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        assert is_noticed(bytes(changed)), f"bit {at % 8} of byte {at}"
    for end in range(0, len(data), 11):
        assert is_noticed(data[:end]), f"cut off at {end}"


def test_a_damaged_file_is_not_loaded(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(sample(), path)
    data = path.read_bytes()
    at = data.index(torch.arange(6.0).add(1).numpy().tobytes())
    path.write_bytes(data[:at] + b"\1" + data[at + 1 :])
    assert torch.load(path, weights_only=True)["model"]["weight"][0, 0] != 1  # torch sees nothing
    with pytest.raises(ValueError, match=r"last\.pt: not a readable.*SHA-256 differs.*step_\*\.pt"):
        load_checkpoint(path)


def write_version_1(path: Path) -> None:
    """As the first format was: a plain torch file, without what came later."""
    new = {"best_metric_name", "fingerprint"}
    content = {key: value for key, value in vars(sample()).items() if key not in new}
    torch.save({**content, "format_version": 1}, path)


def test_the_first_format_is_still_read(tmp_path):
    path = tmp_path / "last.pt"
    write_version_1(path)
    checkpoint = load_checkpoint(path)
    assert checkpoint.format_version == 1 and checkpoint.best_metric_name == "mean_iou"
    assert_same_state(checkpoint.model, sample().model)
    assert find_damage(path) is None and read_step(path) == 1


def test_a_changed_weight_in_the_first_format_is_found_by_the_checksums_of_the_archive(tmp_path):
    path = tmp_path / "last.pt"
    write_version_1(path)
    data = path.read_bytes()
    at = data.index(torch.arange(6.0).add(1).numpy().tobytes())
    path.write_bytes(data[:at] + b"\1" + data[at + 1 :])
    with pytest.raises(ValueError, match=r"not a readable checkpoint \(the checksum of its entry"):
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


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def test_a_damaged_last_checkpoint_is_replaced_by_the_newest_sound_one(tmp_path, caplog):
    folder = tmp_path / "checkpoints"
    for name, step in (("best.pt", 2), (step_path(folder, 3).name, 3), ("last.pt", 4)):
        save_checkpoint(sample(step), folder / name)
    cut_off(folder / "last.pt")
    assert find_checkpoint(tmp_path) == step_path(folder, 3)
    assert "last.pt is damaged" in caplog.text and "using" in caplog.text
    assert str(step_path(folder, 3)) in caplog.text
    cut_off(step_path(folder, 3))
    assert load_checkpoint(find_checkpoint(tmp_path)).step == 2
    (folder / "last.pt").unlink()  # a rename that came half-way
    assert load_checkpoint(find_checkpoint(tmp_path)).step == 2
    cut_off(folder / "best.pt")
    with pytest.raises(ValueError, match=r"no sound checkpoint.*step_00000003.*best\.pt"):
        find_checkpoint(tmp_path)


def test_another_model_never_stands_in_for_the_best_one(tmp_path):
    """Its scores would be taken for those of the best one."""
    folder = tmp_path / "checkpoints"
    for name in ("best.pt", "last.pt"):
        save_checkpoint(sample(), folder / name)
    cut_off(folder / "best.pt")
    with pytest.raises(ValueError, match=r"best\.pt: not a readable checkpoint"):
        load_checkpoint(find_checkpoint(tmp_path, prefer="best.pt"))


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
