from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pointseg.cli import prepare_data
from pointseg.data import SCANNET20, PointCloud
from pointseg.data.cache import SceneCache
from pointseg.data.doctor import examine
from pointseg.data.nuscenes_splits import SPLITS
from tests.data.nuscenes_files import Dataset
from tests.data.scenes import SceneSpec, write_meta, write_ply, write_root, write_scene


def check(root: Path, split: str = "all", **options):
    return examine("scannet", root, split, workers=0, show_progress=False, **options)


def test_a_sound_dataset_has_no_problems(tmp_path: Path) -> None:
    specs = write_root(tmp_path)
    found = check(tmp_path)
    assert found.problems == ()
    assert [s.scene_id for s in found.scenes] == [*(s.scene_id for s in specs), "scene0707_00"]
    assert found.num_points == sum(s.num_points for s in specs) + 36
    expected = np.zeros(21, dtype=np.int64)
    for spec in specs:
        labels = SCANNET20.to_train(spec.nyu40)
        expected += np.append(np.bincount(labels[labels >= 0], minlength=20), (labels < 0).sum())
    assert found.class_counts == tuple(expected)
    by_split = {s.name: s for s in found.splits}
    assert (by_split["train"].present, by_split["train"].expected) == (3, 1201)
    incomplete = "not the complete release: train (3 of 1,201), val (0 of 312), test (1 of 100)"
    assert incomplete in found.notes
    assert any(note.startswith("no point of class cabinet, bed,") for note in found.notes)


def test_every_fault_is_listed_and_none_stops_the_rest(tmp_path: Path) -> None:
    specs = write_root(tmp_path, num_scenes=5)
    folders = [tmp_path / "scans" / s.scene_id for s in specs]

    def file(index: int, suffix: str) -> Path:
        return folders[index] / f"{folders[index].name}{suffix}"

    mesh = file(0, "_vh_clean_2.ply")
    mesh.write_bytes(mesh.read_bytes()[:200])
    file(1, ".aggregation.json").write_text("[")
    shutil.rmtree(folders[2])
    write_scene(tmp_path, SceneSpec(specs[2].scene_id, label_overrides={0: 77}))
    file(3, "_vh_clean_2.labels.ply").unlink()
    file(3, ".aggregation.json").unlink()
    found = check(tmp_path)
    broken = {s.scene_id: s.problems for s in found.scenes if s.problems}
    assert list(broken) == [s.scene_id for s in specs[:4]]
    assert str(mesh) in broken[specs[0].scene_id][0]
    assert "not valid json" in broken[specs[1].scene_id][0]
    assert "label 77" in broken[specs[2].scene_id][0]
    assert "aggregation file is missing" in broken[specs[3].scene_id][0]
    assert len(found.problems) == 4
    assert next(s for s in found.scenes if s.scene_id == specs[4].scene_id).num_points == 81
    # Hashes tell files apart also where the reader gave up.
    assert len(found.scenes[0].hashes) == 4


def test_scenes_that_are_there_twice_and_lists_that_repeat_are_named(tmp_path: Path) -> None:
    write_scene(tmp_path, SceneSpec("scene0000_00", seed=4))
    write_scene(tmp_path, SceneSpec("scene0001_00", seed=4))
    write_meta(tmp_path, train=["scene0000_00", "scene0000_00", "scene0001_00"])
    found = check(tmp_path)
    assert "the same points are in scene0000_00, scene0001_00" in found.notes
    assert any("'train': 1 scenes come twice" in problem for problem in found.problems)


def test_odd_values_in_prepared_scenes_are_found(tmp_path: Path) -> None:
    write_root(tmp_path)
    assert prepare_data.main(["--root", str(tmp_path), "--workers", "0", "--quiet"]) == 0
    path = tmp_path / "prepared/scene0000_00/normal.npy"
    normal = np.load(path)
    normal[3, 1] = np.nan
    np.save(path, normal)
    found = check(tmp_path)
    (problem,) = found.problems  # the raw scene is sound, its prepared copy is not
    assert str(path) in problem and "damaged" in problem


def test_odd_values_that_checksums_vouch_for_are_found(tmp_path: Path) -> None:
    """A prepared folder on its own, written by a reader that let them through."""
    cache = SceneCache(tmp_path)
    cache.write_index("scannet", {}, {"train": ["bad", "good"]})
    xyz = np.arange(12, dtype=np.float32).reshape(4, 3)
    labels = np.array([0, 1, -1, 19], dtype=np.int16)
    good = PointCloud("good", xyz, labels=labels, instances=np.arange(4, dtype=np.int32))
    cache.write(good, {}, {})
    bad = good.replace(
        scene_id="bad",
        xyz_m=np.where(xyz == 4, np.float32("nan"), xyz),
        labels=np.array([0, 99, -2, 20], dtype=np.int16),
        instances=np.array([0, -1, 2, 3], dtype=np.int32),
        extras={"intensity": np.array([0, np.inf, np.nan, 1], dtype=np.float32)},
    )
    cache.write(bad, {}, {})
    found = check(tmp_path, "train")
    assert found.problems == (
        "bad: xyz_m has 1 values that are not finite",
        "bad: intensity has 2 values that are not finite",
        "bad: 3 labels are no class, such as 99",
        "bad: 1 instance ids are negative",
    )
    assert sum(found.class_counts) == 4  # of the good one alone


def test_more_scenes_than_the_release_has_are_a_problem(tmp_path: Path) -> None:
    for number in range(69):
        (tmp_path / "Area_5" / f"office_{number}" / "Annotations").mkdir(parents=True)
    found = examine("s3dis", tmp_path, "Area_1", workers=0, show_progress=False)
    assert [problem.split(";")[0] for problem in found.problems[:2]] == [
        f"split {split!r}: 69 scenes, but the release has 68" for split in ("val", "Area_5")
    ]
    (tmp_path / "Area_5" / "office_0" / "Annotations").rmdir()
    (tmp_path / "Area_5" / "office_0").rmdir()
    found = examine("s3dis", tmp_path, "Area_1", workers=0, show_progress=False)
    assert found.problems == (f"{tmp_path}: no scene of split 'Area_1' is there",)


def test_a_scene_in_millimetres_and_one_without_a_class_are_noted(tmp_path: Path) -> None:
    spec = SceneSpec(categories=())
    folder = write_scene(tmp_path, spec)
    for suffix, labels in ((".ply", None), (".labels.ply", spec.nyu40)):
        path = folder / f"{spec.scene_id}_vh_clean_2{suffix}"
        write_ply(path, 1000 * spec.xyz, spec.color, spec.faces, labels)
    found = check(tmp_path)
    assert found.problems == ()
    units, without = (n for n in found.notes if n.startswith(f"{spec.scene_id}: "))
    assert "metre" in units
    assert "no point has a class" in without


@pytest.mark.parametrize("table", ["sample", "lidarseg"])
def test_a_broken_table_does_not_hide_the_scenes_of_another_version(
    tmp_path: Path, table: str
) -> None:
    Dataset(tmp_path, "v1.0-mini", SPLITS["mini_val"].scenes, keyframes=1).write()
    broken = Dataset(tmp_path, "v1.0-test", ("scene-0077",), labelled=False).write()
    path = broken.table_path(table)
    path.write_text('[{"token": "a"')
    found = examine("nuscenes", tmp_path, workers=0, show_progress=False)
    assert len(found.scenes) == 2 and not any(scene.problems for scene in found.scenes)
    (problem,) = found.problems
    assert problem.startswith(f"split 'all': {path}: record 0: ")
    with pytest.raises(ValueError, match="split must be one of"):
        examine("nuscenes", tmp_path, "everything", workers=0, show_progress=False)


def test_a_broken_table_of_the_only_version_is_a_problem(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path).write()
    dataset.table_path("scene").write_text("{")
    found = examine("nuscenes", tmp_path, workers=0, show_progress=False)
    assert found.scenes == ()
    assert any(str(dataset.table_path("scene")) in problem for problem in found.problems)


def test_prepared_scenes_of_the_split_alone_are_verified(tmp_path: Path) -> None:
    write_root(tmp_path)
    assert prepare_data.main(["--root", str(tmp_path), "--workers", "0", "--quiet"]) == 0
    damaged = [tmp_path / "prepared" / s / "color.npy" for s in ("scene0000_00", "scene0707_00")]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-1])
    for split, paths in (("train", damaged[:1]), ("test", damaged[1:]), ("all", damaged)):
        problems = check(tmp_path, split).problems
        assert len(problems) == len(paths)
        for problem, path in zip(problems, paths, strict=True):
            assert problem.startswith(f"{path}: damaged")


def test_a_fault_of_a_reader_is_reported_as_such(tmp_path: Path, monkeypatch) -> None:
    from pointseg.data import ScanNetReader

    write_root(tmp_path)
    read = ScanNetReader.read_scene

    def faulty(self, scene_id):
        if scene_id == "scene0001_00":
            raise KeyError("a slip")
        return read(self, scene_id)

    monkeypatch.setattr(ScanNetReader, "read_scene", faulty)
    found = check(tmp_path)
    assert found.problems == ("scene0001_00: the reader failed: KeyError('a slip')",)
    assert found.num_points == 25 + 49 + 36


def test_what_readers_repair_is_noted(tmp_path: Path) -> None:
    write_scene(tmp_path, SceneSpec("scene0000_00", labels_ply=False, categories=("wall", "sofaa")))
    write_meta(tmp_path, train=["scene0000_00"])
    found = check(tmp_path)
    assert found.problems == ()
    assert any("unknown category 'sofaa'" in note for note in found.notes)


def test_an_empty_split_is_a_problem_and_an_unknown_one_an_error(tmp_path: Path) -> None:
    write_root(tmp_path)
    assert any("no scene of split 'val'" in problem for problem in check(tmp_path, "val").problems)
    with pytest.raises(ValueError, match="train, val, test"):
        check(tmp_path, "validation")


def test_command_prints_tables_and_writes_json(tmp_path: Path, capsys) -> None:
    write_root(tmp_path / "raw")
    path = tmp_path / "raw/scans/scene0001_00/scene0001_00_vh_clean_2.ply"
    arguments = ["--root", str(tmp_path / "raw"), "--workers", "0", "--quiet", "--check"]
    report = tmp_path / "findings.json"
    assert prepare_data.main([*arguments, "--json", str(report)]) == 0
    shown = capsys.readouterr().out
    assert "4 scenes, 146 points, 0 scenes with problems" in shown
    assert "otherfurniture" in shown
    assert not (tmp_path / "raw/prepared").exists()
    path.write_bytes(path.read_bytes()[:-3])
    assert prepare_data.main([*arguments, "--json", str(report)]) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert prepare_data.main([*arguments, "--json", str(report), "--overwrite"]) == 1
    assert str(path) in capsys.readouterr().err
    content = json.loads(report.read_text())
    assert content["splits"]["val"] == {"present": 0, "listed": 0, "complete": 312}
    assert [len(s["problems"]) for s in content["scenes"]] == [0, 1, 0, 0]
    assert content["classes"]["wall"] == 5 + 7
    assert prepare_data.main(["--root", str(tmp_path / "raw"), "--json", str(report)]) == 2
    assert prepare_data.main([*arguments, "--out", str(tmp_path / "x")]) == 2
    capsys.readouterr()
    assert prepare_data.main([*arguments, "--overwrite"]) == 2
    assert "--overwrite: it replaces the file of --json" in capsys.readouterr().err


def test_scenes_that_are_missing_are_a_problem_where_all_are_required(tmp_path: Path) -> None:
    specs = write_root(tmp_path)
    write_meta(tmp_path, train=[*(s.scene_id for s in specs), "scene0009_00"])
    missing = {
        "train": "split 'train': 1,198 of 1,201 scenes are missing",
        "val": "split 'val': 312 of 312 scenes are missing",
    }
    assert check(tmp_path, "train").problems == ()
    assert check(tmp_path, "train", require_all=True).problems == (missing["train"],)
    problems = check(tmp_path, require_all=True).problems  # of every split
    assert set(missing.values()) <= set(problems)
    arguments = ["--dataset", "synthetic", "--root", str(tmp_path), "--workers", "0", "--quiet"]
    arguments += ["--check", "--split", "train"]
    assert prepare_data.main(arguments) == 0
    assert prepare_data.main([*arguments, "--require-all"]) == 1  # the listed one


def test_workers_find_the_same(tmp_path: Path) -> None:
    write_root(tmp_path)
    path = tmp_path / "scans/scene0001_00/scene0001_00_vh_clean_2.ply"
    path.write_bytes(path.read_bytes()[:-3])
    alone = check(tmp_path)
    shared = examine("scannet", tmp_path, workers=2, show_progress=False)
    assert alone.to_dict() == shared.to_dict()
