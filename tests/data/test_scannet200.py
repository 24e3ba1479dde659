from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest

from pointseg.data import DATASETS, ScanNetReader, open_dataset
from pointseg.data.cache import SceneCache
from pointseg.data.scannet200 import SCANNET200, SCANNET200_GROUPS, SPEC
from pointseg.data.scannet_labels import find_tsv, read_aggregation
from tests.data.scenes import TSV_HEADER, SceneSpec, write_meta, write_scene

# raw category: its id in the table, its nyu40 id, its class
CATEGORIES = {
    "wall": (1, 1, "wall"),
    "floor": (3, 2, "floor"),
    "office chair": (10, 5, "office chair"),
    "books": (22, 23, "book"),
    "cabinet door": (12, 3, None),
}


def write(root: Path, **changes) -> SceneSpec:
    spec = SceneSpec(categories=tuple(CATEGORIES), **changes)
    write_scene(root, spec)
    write_meta(root, train=[spec.scene_id])
    rows = [f"{i}\t{raw}\t{raw}\t1\t{nyu}\t1" for raw, (i, nyu, _) in CATEGORIES.items()]
    find_tsv(root).write_text("\n".join([TSV_HEADER, *rows]) + "\n")
    return spec


def read_tsv(root: Path) -> list[dict[str, str]]:
    with find_tsv(root).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def expected_labels(spec: SceneSpec) -> np.ndarray:
    names = [name for _, _, name in CATEGORIES.values()]
    classes = [-1 if name is None else SCANNET200.names.index(name) for name in names]
    return np.array([*classes, -1])[spec.objects]


def test_table_of_classes() -> None:
    assert SCANNET200.num_classes == len(set(SCANNET200.names)) == 200
    assert SCANNET200.raw_ids == tuple(sorted(SCANNET200.raw_ids))
    assert len(np.unique(SCANNET200.palette, axis=0)) == 200
    by_id = dict(zip(SCANNET200.raw_ids, SCANNET200.names, strict=True))
    assert (by_id[1], by_id[13], by_id[1191]) == ("wall", "pillow", "mattress")
    assert {group: len(ids) for group, ids in SCANNET200_GROUPS.items()} == {
        "head": 66, "common": 68, "tail": 66,
    }  # fmt: skip
    assert sorted(sum(SCANNET200_GROUPS.values(), ())) == list(range(200))
    in_group = {SCANNET200.names[i]: group for group, ids in SCANNET200_GROUPS.items() for i in ids}
    # All of it at once, as it was compared with the benchmark's tables.
    content = SCANNET200.palette.tobytes() + repr(sorted(SCANNET200_GROUPS.items())).encode()
    assert (
        hashlib.sha256(content).hexdigest()
        == "eb5b111ea34db122c1c8d4aedd985b8afe68da46bf8beddcfa4146f93c0876c0"
    )
    assert (in_group["chair"], in_group["piano"], in_group["guitar"]) == ("head", "common", "tail")


def test_labels_are_ids_of_the_category_table(tmp_path: Path) -> None:
    spec = write(tmp_path)
    cloud = SPEC.open(tmp_path).read_scene(spec.scene_id)
    np.testing.assert_array_equal(cloud.labels, expected_labels(spec))
    np.testing.assert_array_equal(cloud.instances, spec.objects + 1)


def test_labels_ply_is_not_asked(tmp_path: Path) -> None:
    spec = write(tmp_path, label_overrides={0: 230})  # no nyu40 id: ScanNet v2 refuses it
    cloud = SPEC.open(tmp_path).read_scene(spec.scene_id)
    np.testing.assert_array_equal(cloud.labels, expected_labels(spec))


def test_missing_annotation_is_asked_for(tmp_path: Path) -> None:
    spec = write(tmp_path, annotation=False)
    with pytest.raises(FileNotFoundError, match=r"aggregation\.json: no labels for this scene"):
        SPEC.open(tmp_path).read_scene(spec.scene_id)
    with pytest.raises(ValueError, match=r"no option 'label_source' \(valid: align_axes\)"):
        SPEC.open(tmp_path, {"label_source": "labels_ply"})
    for spec in (SPEC, DATASETS["scannet"]):
        with pytest.raises(ValueError, match="align_axes must be true or false, got 'no'"):
            spec.open(tmp_path, {"align_axes": "no"})


def test_table_without_ids_is_refused(tmp_path: Path) -> None:
    spec = write(tmp_path)
    tsv = find_tsv(tmp_path)
    tsv.write_text(tsv.read_text().replace("id\t", "number\t", 1))
    with pytest.raises(ValueError, match="no columns raw_category and id "):
        SPEC.open(tmp_path).read_scene(spec.scene_id)


def test_one_root_for_both_sets_of_classes(tmp_path: Path) -> None:
    """Neither rebuilds nor reads what the other has prepared."""
    spec = write(tmp_path)
    stamps = []
    for name in ("scannet", "scannet200", "scannet", "scannet200"):
        scenes = open_dataset(name, tmp_path, "train", workers=0)
        assert scenes[0].labels is not None
        assert scenes.label_map.name == {"scannet": "scannet20"}.get(name, name)
        files = sorted(tmp_path.glob("prepared*/*/scene.json"))
        stamps.append([f.stat().st_mtime_ns for f in files])
    np.testing.assert_array_equal(scenes[0].labels, expected_labels(spec))
    assert len(stamps[1]) == 2
    assert stamps[1] == stamps[2] == stamps[3]
    with pytest.raises(ValueError, match="whose classes are not those of 'scannet'"):
        open_dataset("scannet", tmp_path / "prepared_scannet200", "train")
    assert SceneCache(tmp_path / "prepared_scannet200").scene_ids() == (spec.scene_id,)


def test_names_agree_with_the_real_table(real_data: Path) -> None:
    root = real_data / "scannet"
    rows = read_tsv(root)
    ids = {row["raw_category"]: int(row["id"]) for row in rows}
    assert [ids[name] for name in SCANNET200.names] == list(SCANNET200.raw_ids)


def test_real_scene_has_the_classes_of_its_annotation(real_data: Path) -> None:
    root, scene_id = real_data / "scannet", "scene0000_00"
    reader = SPEC.open(root)
    assert isinstance(reader, ScanNetReader)
    cloud = reader.read_scene(scene_id)
    rows = read_tsv(root)
    # The first row counts: "object" has two, of the same id.
    class_of = {row["raw_category"]: row["category"] for row in reversed(rows)}
    path = root / "scans" / scene_id / f"{scene_id}.aggregation.json"
    groups = read_aggregation(path, scene_id)
    assert cloud.labels is not None
    assert cloud.instances is not None
    found = set()
    for group in groups:
        name = class_of[group.category]
        train_id = SCANNET200.names.index(name) if name in SCANNET200.names else -1
        assert set(cloud.labels[cloud.instances == group.object_id + 1].tolist()) <= {train_id}
        found.add(name)
    assert len(found & set(SCANNET200.names)) > 10
    assert (cloud.labels[cloud.instances == 0] == -1).all()
