from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pointseg.cli import prepare_data
from pointseg.data import (
    DATASETS,
    PointCloud,
    PreparedReader,
    ScanNetReader,
    ScanNetSettings,
    SceneCache,
    open_dataset,
    prepare,
    present_scenes,
    split_lists,
)
from pointseg.data import cache as cache_module
from tests.data.scenes import SceneSpec, write_root, write_scene

ARRAYS = ("xyz_m", "color", "normal", "labels", "instances")


def run(root: Path, folder: Path | None = None, *, split: str = "all", settings=None, **options):
    reader = ScanNetReader(root, settings)
    options = {"workers": 0, "show_progress": False, **options}
    scene_ids = present_scenes(reader, split, DATASETS["scannet"])
    splits = split_lists(reader, DATASETS["scannet"])
    return prepare(reader, scene_ids, folder, dataset="scannet", splits=splits, **options)


def assert_equals_raw(cache: SceneCache, reader: ScanNetReader, scene_id: str) -> None:
    raw = reader.read_scene(scene_id)
    stored = cache.load(scene_id)
    for name in ARRAYS:
        expected, found = getattr(raw, name), getattr(stored, name)
        if expected is None:
            assert found is None
        else:
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


def test_prepared_scenes_equal_raw_ones_and_are_maps(tmp_path: Path) -> None:
    specs = write_root(tmp_path)
    report = run(tmp_path)
    assert report.built == (*(s.scene_id for s in specs), "scene0707_00")
    cache = SceneCache(tmp_path / "prepared")
    for scene_id in report.built:
        assert_equals_raw(cache, ScanNetReader(tmp_path), scene_id)
    cloud = cache.load("scene0000_00")
    assert isinstance(cloud.xyz_m.base, np.memmap)
    assert not cloud.xyz_m.flags.writeable
    content = json.loads((tmp_path / "prepared/scene0000_00/scene.json").read_text())
    assert content["num_points"] == 25
    assert len(content["sources"]) == 4
    assert not [p for p in (tmp_path / "prepared").iterdir() if p.name.startswith(".")]


def test_everything_a_cloud_has_is_stored(tmp_path: Path) -> None:
    cloud = PointCloud(
        "far",
        np.arange(12, dtype=np.float32).reshape(4, 3),
        labels=np.array([0, -1, 2, 1], dtype=np.int16),
        context=np.array([False, True, False, True]),
        extras={"intensity": np.linspace(0, 1, 4, dtype=np.float32), "row": np.arange(4)},
        origin_m=(1e5, -2e6, 0.5),
    )
    cache = SceneCache(tmp_path)
    cache.write(cloud, {}, {})
    stored = cache.load("far")
    assert (stored.origin_m, stored.color) == (cloud.origin_m, None)
    for name in ("xyz_m", "labels", "context"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(cloud, name))
    assert list(stored.extras) == ["intensity", "row"]
    for name, array in cloud.extras.items():
        np.testing.assert_array_equal(stored.extras[name], array)
    assert cache.num_points("far") == 4
    assert all(path.is_file() for path in cache.files("far").values())
    stored_own = stored.own()
    np.testing.assert_array_equal(stored_own.xyz_m, cloud.xyz_m[[0, 2]])
    assert stored_own.context is None


def test_an_unchanged_scene_is_left_alone(tmp_path: Path) -> None:
    write_root(tmp_path)
    run(tmp_path)
    assert run(tmp_path).built == ()
    # Touched but equal, and copied with another time: contents decide.
    for path in (tmp_path / "scans").rglob("*.ply"):
        os.utime(path, ns=(1, 1))
    assert run(tmp_path).built == ()
    assert run(tmp_path, thorough=False).built == ()


@pytest.mark.parametrize("thorough", [True, False])
@pytest.mark.parametrize("suffix", ["_vh_clean_2.ply", "_vh_clean_2.labels.ply", "segs.json"])
def test_a_changed_source_rebuilds_that_scene_alone(
    tmp_path: Path, suffix: str, thorough: bool
) -> None:
    write_root(tmp_path)
    run(tmp_path)
    (path,) = (tmp_path / "scans/scene0001_00").glob(f"*{suffix}")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"end_header", b"comment x\nend_header") + b" ")
    assert run(tmp_path, thorough=thorough).built == ("scene0001_00",)
    assert run(tmp_path, thorough=thorough).built == ()


def test_a_change_that_keeps_size_and_time_is_found_when_thorough(tmp_path: Path) -> None:
    spec = write_root(tmp_path)[0]
    run(tmp_path)
    path = tmp_path / f"scans/{spec.scene_id}/{spec.scene_id}_vh_clean_2.ply"
    stat, content = path.stat(), bytearray(path.read_bytes())
    at = content.index(b"end_header\n") + 11 + 12  # the first vertex's red
    content[at] ^= 255
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run(tmp_path, thorough=False).built == ()
    assert run(tmp_path).built == (spec.scene_id,)


def test_a_source_that_appears_or_goes_rebuilds(tmp_path: Path) -> None:
    write_root(tmp_path)
    folder = tmp_path / "scans/scene0000_00"
    labels = folder / "scene0000_00_vh_clean_2.labels.ply"
    content = labels.read_bytes()
    labels.unlink()
    run(tmp_path)
    labels.write_bytes(content)
    assert run(tmp_path).built == ("scene0000_00",)
    assert_equals_raw(SceneCache(tmp_path / "prepared"), ScanNetReader(tmp_path), "scene0000_00")


def test_another_version_or_other_settings_rebuild(tmp_path: Path, monkeypatch) -> None:
    write_root(tmp_path)
    assert len(run(tmp_path).built) == 4
    settings = ScanNetSettings(align_axes=True)
    assert len(run(tmp_path, settings=settings).built) == 4
    assert run(tmp_path, settings=settings).built == ()
    monkeypatch.setattr(cache_module, "FORMAT_VERSION", cache_module.FORMAT_VERSION + 1)
    with pytest.raises(ValueError, match="format version 2, this release reads 3"):
        SceneCache(tmp_path / "prepared").load("scene0000_00")
    assert len(run(tmp_path, settings=settings).built) == 4


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "json", "other dtype"])
def test_damage_is_found_on_load_and_repaired(tmp_path: Path, damage: str) -> None:
    write_root(tmp_path)
    run(tmp_path)
    folder = tmp_path / "prepared/scene0001_00"
    path = folder / "color.npy"
    content = path.read_bytes()
    if damage == "flip":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "cut":
        path.write_bytes(content[:-5])
    elif damage == "remove":
        path.unlink()
    elif damage == "json":
        (folder / "scene.json").write_text("{")
    else:
        np.save(path, np.load(path).astype(np.float32))
    with pytest.raises((ValueError, FileNotFoundError), match="prepare-data") as error:
        SceneCache(tmp_path / "prepared").load("scene0001_00")
    assert str(folder) in str(error.value)
    assert run(tmp_path).built == ("scene0001_00",)
    SceneCache(tmp_path / "prepared").load("scene0001_00")


def test_a_broken_scene_does_not_stop_the_others(tmp_path: Path) -> None:
    write_root(tmp_path)
    path = tmp_path / "scans/scene0001_00/scene0001_00_vh_clean_2.ply"
    content = path.read_bytes()
    path.write_bytes(content[:300])
    report = run(tmp_path)
    assert set(report.failed) == {"scene0001_00"}
    assert str(path) in report.failed["scene0001_00"]
    assert len(report.built) == 3
    with pytest.raises(ValueError, match=r"1 scenes could not be prepared:\n.*scene0001_00_vh"):
        open_dataset("scannet", tmp_path, "train")
    path.write_bytes(content)
    resumed = run(tmp_path)  # goes on where it stopped
    assert resumed.built == ("scene0001_00",)
    assert len(resumed.unchanged) == 3


def test_a_fault_of_a_reader_does_not_stop_the_others(tmp_path: Path, monkeypatch) -> None:
    write_root(tmp_path)
    read = ScanNetReader.read_scene

    def faulty(self, scene_id):
        if scene_id == "scene0001_00":
            raise OverflowError("a slip")
        return read(self, scene_id)

    monkeypatch.setattr(ScanNetReader, "read_scene", faulty)
    report = run(tmp_path)
    message = "scene0001_00: the reader failed: OverflowError('a slip')"
    assert report.failed == {"scene0001_00": message}
    assert len(report.built) == 3


def test_an_interruption_leaves_whole_scenes_only(tmp_path: Path, monkeypatch) -> None:
    write_root(tmp_path)
    save, saved = np.save, []

    def interrupted(path, array) -> None:
        saved.append(path)
        if len(saved) == 8:  # in the middle of the second scene
            raise KeyboardInterrupt
        save(path, array)

    monkeypatch.setattr(np, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    monkeypatch.undo()
    cache = SceneCache(tmp_path / "prepared")
    assert cache.scene_ids() == ("scene0000_00",)
    assert run(tmp_path).built == ("scene0001_00", "scene0002_00", "scene0707_00")


def test_workers_write_the_same_files(tmp_path: Path) -> None:
    write_root(tmp_path, num_scenes=3)
    run(tmp_path, tmp_path / "one")
    report = run(tmp_path, tmp_path / "two", workers=2)
    assert len(report.built) == 4
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*"))
    assert files
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


def test_a_read_only_root_is_left_alone(tmp_path: Path) -> None:
    write_root(tmp_path / "raw")
    (tmp_path / "raw").chmod(0o555)
    try:
        with pytest.raises(ValueError, match=r"cannot write .* --out DIR"):
            run(tmp_path / "raw")
        assert run(tmp_path / "raw", tmp_path / "out").built
    finally:
        (tmp_path / "raw").chmod(0o755)


# -- opening --------------------------------------------------------------------------------------


def test_opening_prepares_what_is_missing_and_says_so(tmp_path: Path, caplog) -> None:
    specs = write_root(tmp_path)
    with caplog.at_level(logging.INFO):
        scenes = open_dataset("scannet", tmp_path, "train", workers=0)
    assert "preparing 3 of 3 scenes of split 'train'" in caplog.text
    assert scenes.scene_ids == tuple(s.scene_id for s in specs)
    assert [scenes[i].num_points for i in range(len(scenes))] == [25, 36, 49]
    caplog.clear()
    with caplog.at_level(logging.INFO):
        open_dataset("scannet", tmp_path, "train", workers=0)
    assert "preparing" not in caplog.text
    path = tmp_path / "scans/scene0001_00/scene0001_00.aggregation.json"
    path.write_text(path.read_text() + "\n")
    with caplog.at_level(logging.INFO):
        open_dataset("scannet", tmp_path, "train", workers=0)
    assert "preparing 1 of 3 scenes" in caplog.text
    assert "scene0001_00.aggregation.json changed" in caplog.text


def test_opening_keeps_the_settings_scenes_were_prepared_with(tmp_path: Path, caplog) -> None:
    write_root(tmp_path)
    settings = ScanNetSettings(align_axes=True)
    run(tmp_path, settings=settings)
    with caplog.at_level(logging.INFO):
        open_dataset("scannet", tmp_path, "train")
    assert "preparing" not in caplog.text


def test_options_choose_settings_and_never_silently_others(tmp_path: Path) -> None:
    write_root(tmp_path)
    options = {"align_axes": True}
    scenes = open_dataset("scannet", tmp_path, "train", options=options, workers=0)
    assert scenes.reader.settings["align_axes"] is True
    open_dataset("scannet", tmp_path, "train", options=options, workers=0)
    open_dataset("scannet", tmp_path, "train", workers=0)
    for root in (tmp_path, tmp_path / "prepared"):
        with pytest.raises(ValueError, match=r"align_axes = True, asked .* --option align_axes"):
            open_dataset("scannet", root, "train", options={"align_axes": False})
        with pytest.raises(ValueError, match=r"'align_axis'; did you mean 'align_axes'"):
            open_dataset("scannet", root, "train", options={"align_axis": True})


def test_a_prepared_folder_stands_on_its_own(tmp_path: Path, caplog) -> None:
    specs = write_root(tmp_path / "raw")
    run(tmp_path / "raw", tmp_path / "out")
    scenes = open_dataset("scannet", tmp_path / "out", "train")
    assert scenes.scene_ids == tuple(s.scene_id for s in specs)
    assert len(open_dataset("synthetic", tmp_path / "out", "all")) == 4
    (test,) = [open_dataset("scannet", tmp_path / "out", "test")[0]]
    assert test.labels is None
    index = json.loads((tmp_path / "out/prepared.json").read_text())
    index["splits"]["train"] = ["scene0002_00", "scene0800_00"]
    (tmp_path / "out/prepared.json").write_text(json.dumps(index))
    assert open_dataset("scannet", tmp_path / "out", "train").scene_ids == ("scene0002_00",)
    assert "1 of 2 scenes" in caplog.text
    with pytest.raises(FileNotFoundError, match="1 of 2 scenes"):
        open_dataset("scannet", tmp_path / "out", "train", require_all=True)


@pytest.mark.parametrize(
    "index",
    [
        *("", "{", "[]", "{}", '{"settings": 3}', "[" * 100_000),
        '{"dataset": "scannet", "settings": {}, "splits": {"train": 3}}',
        '{"dataset": "scannet", "settings": {}, "splits": {"train": [3]}}',
        '{"dataset": "scannet", "settings": {}}',
        '{"dataset": 3, "settings": {}, "splits": {}}',
    ],
)
def test_a_broken_index_is_named_with_what_to_do(tmp_path: Path, index: str) -> None:
    write_root(tmp_path / "raw", num_scenes=1)
    run(tmp_path / "raw")
    shutil.copytree(tmp_path / "raw/prepared", tmp_path / "alone")
    for folder in (tmp_path / "raw/prepared", tmp_path / "alone"):
        (folder / "prepared.json").write_text(index)
    for root, folder in (("alone", "alone"), ("raw", "raw/prepared")):
        with pytest.raises(ValueError, match=rf"{folder}/prepared\.json: broken: .* run `pointseg"):
            open_dataset("scannet", tmp_path / root, "train")
    run(tmp_path / "raw")
    assert len(open_dataset("scannet", tmp_path / "raw", "train")) == 1


def test_settings_that_are_gone_are_told_with_the_folder(tmp_path: Path) -> None:
    write_root(tmp_path, num_scenes=1)
    run(tmp_path)
    path = tmp_path / "prepared/prepared.json"
    index = json.loads(path.read_text())
    index["settings"]["colour_source"] = "mesh"
    path.write_text(json.dumps(index))
    message = rf"{path.parent}: prepared with settings .*'colour_source'.* run `pointseg prepare"
    with pytest.raises(ValueError, match=message):
        open_dataset("scannet", tmp_path, "train")
    assert prepare_data.main(["--root", str(tmp_path), "--workers", "0", "--quiet"]) == 0
    assert len(open_dataset("scannet", tmp_path, "train")) == 1


def test_missing_data_names_variable_key_and_layout(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("POINTSEG_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="POINTSEG_DATA") as error:
        open_dataset("scannet", None, "train")
    assert "data.root" in str(error.value)
    assert "<root>/scans/sceneXXXX_YY" in str(error.value)
    monkeypatch.setenv("POINTSEG_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="scannet: no such folder .*POINTSEG_DATA"):
        open_dataset("scannet", None, "train")
    with pytest.raises(FileNotFoundError, match="synthesize-rooms"):
        open_dataset("synthetic", None, "train")
    with pytest.raises(FileNotFoundError, match="neither raw scenes"):
        open_dataset("scannet", tmp_path, "train")
    with pytest.raises(ValueError, match="unknown dataset 'scanet' .*scannet"):
        open_dataset("scanet", tmp_path, "train")
    write_root(tmp_path / "scannet")
    assert isinstance(open_dataset("scannet", None, "train").reader, PreparedReader)


# -- command --------------------------------------------------------------------------------------


def test_command(tmp_path: Path, capsys) -> None:
    write_root(tmp_path / "raw")
    arguments = ["--root", str(tmp_path / "raw"), "--out", str(tmp_path / "out"), "--workers", "0"]
    assert prepare_data.main([*arguments, "--split", "train"]) == 0
    assert "3 scenes prepared, 0 unchanged, 0 failed" in capsys.readouterr().out
    assert prepare_data.main([*arguments, "--quiet"]) == 0
    assert "1 scenes prepared, 3 unchanged, 0 failed" in capsys.readouterr().out
    write_scene(tmp_path / "raw", SceneSpec("scene0009_00", label_overrides={1: 77}))
    assert prepare_data.main([*arguments, "--quiet"]) == 1
    assert "scene0009_00_vh_clean_2.labels.ply: label 77" in capsys.readouterr().err
    assert prepare_data.main(["--root", str(tmp_path / "nowhere")]) == 2
    assert "expected layout" in capsys.readouterr().err


def test_tool_runs_with_workers(tmp_path: Path) -> None:
    write_root(tmp_path)
    tool = Path(__file__).parents[2] / "tools" / "prepare_data.py"
    command = [sys.executable, str(tool), "--root", str(tmp_path), "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "4 scenes prepared" in done.stdout


def test_real_scene(real_data: Path, tmp_path: Path) -> None:
    root = real_data / "scannet"
    assert run(root, tmp_path).built == ("scene0000_00",)
    assert_equals_raw(SceneCache(tmp_path), ScanNetReader(root), "scene0000_00")


def test_what_a_killed_preparation_left_is_no_scene(tmp_path: Path) -> None:
    write_root(tmp_path)
    run(tmp_path)
    folder = tmp_path / "prepared"
    scenes = SceneCache(folder).scene_ids()
    shutil.copytree(folder / scenes[0], folder / f".{scenes[0]}.1234")
    assert SceneCache(folder).scene_ids() == scenes
