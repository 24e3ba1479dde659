"""Submissions to every benchmark: what is written, passes its check and is read back."""

from __future__ import annotations

import json
import os
import zipfile

import numpy as np
import pytest

from pointseg.evaluation import read_submission, written_submission
from pointseg.evaluation.benchmarks import BENCHMARKS, find_submission_format
from pointseg.evaluation.submission import NUSCENES, SCANNET, SEMANTICKITTI
from pointseg.evaluation.submission.encodings import UNREADABLE, BinaryLabels, TextLabels

from ..helpers.properties import given, st
from .submissions import CASES, TOKENS

KITTI, NUSC = CASES["semantickitti"], CASES["nuscenes"]


@pytest.fixture(params=list(CASES))
def case(request):
    return CASES[request.param]


@pytest.mark.parametrize("name", ["submission.zip", "submission"])
def test_what_is_written_passes_and_is_read_back(case, name, tmp_path):
    path = case.write(tmp_path / "new" / name)
    result = case.check(path)
    assert result.problems == result.notes == ()
    assert (result.num_scenes, result.num_points) == (len(case.scenes), sum(case.scenes.values()))
    wanted = reversed(case.scenes)  # by name, not by order
    found = dict(read_submission(path, wanted, case.format, case.split))
    assert list(found) == list(reversed(case.scenes))
    for scene_id, labels in case.predictions().items():
        np.testing.assert_array_equal(found[scene_id], case.label_map.to_raw(labels))


def test_a_zip_has_the_servers_names_and_the_same_bytes_every_time(case, tmp_path):
    path = case.write(tmp_path / "a.zip")
    with zipfile.ZipFile(path) as archive:
        assert tuple(sorted(archive.namelist())) == case.names
        assert archive.testzip() is None
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    earlier = os.umask(0o077)  # nothing of the environment goes in
    try:
        assert case.write(tmp_path / "b.zip").read_bytes() == path.read_bytes()
    finally:
        os.umask(earlier)
    case.write(tmp_path / "folder")
    files = [p for p in (tmp_path / "folder").rglob("*") if p.is_file()]
    names = {p.relative_to(tmp_path / "folder").as_posix() for p in files}
    assert names == {name for name in case.names if not name.endswith("/")}


def test_the_bytes_of_each_format(tmp_path):
    """Written out by hand from the descriptions of the formats."""
    for case in (KITTI, NUSC):
        scenes = dict.fromkeys(case.scenes, 2)
        with written_submission(
            tmp_path / case.format.name, scenes, case.format, case.label_map, "test"
        ) as writer:
            for scene_id in scenes:
                writer.add(scene_id, np.array([2, 0]))
    kitti = tmp_path / SEMANTICKITTI.name / "sequences/12/predictions/000000.label"
    assert kitti.read_bytes() == b"\x51\0\0\0\x0a\0\0\0"
    nuscenes = tmp_path / NUSCENES.name
    assert (nuscenes / f"lidarseg/test/{TOKENS[0]}_lidarseg.bin").read_bytes() == b"\x03\x01"
    meta = json.loads((nuscenes / "test/submission.json").read_bytes())["meta"]
    sensors = {"use_camera", "use_lidar", "use_radar", "use_map", "use_external"}
    assert set(meta) == sensors and [k for k, v in meta.items() if v is True] == ["use_lidar"]


@given(st.lists(st.integers(0, 255), max_size=50))
def test_every_encoding_gives_back_what_it_took(ids):
    ids = np.array(ids, dtype=np.int32)
    for encoding in (TextLabels(), BinaryLabels("<u4", 16), BinaryLabels("u1", 8)):
        decoded = encoding.decode(encoding.encode(ids))
        assert decoded.problems == ()
        np.testing.assert_array_equal(decoded.ids, ids)


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_explained(data):
    for encoding in (TextLabels(), BinaryLabels("<u4", 16), BinaryLabels("u1", 8)):
        decoded = encoding.decode(data)
        assert decoded.ids.dtype == np.int64
        if not decoded.problems:
            assert not (decoded.ids == UNREADABLE).any()
            if not decoded.notes and not isinstance(encoding, TextLabels):
                assert encoding.encode(decoded.ids) == data


def test_ids_that_do_not_fit_are_refused():
    for encoding, id in ((BinaryLabels("<u4", 16), 1 << 16), (BinaryLabels("u1", 8), 256)):
        for wrong in (id, -1):
            with pytest.raises(ValueError, match=rf"must be in 0\.\.{id - 1}, got {wrong}"):
                encoding.encode(np.array([1, wrong]))


# -- what only one server refuses -----------------------------------------------------------------


def test_semantickitti_takes_ids_of_other_classes_and_masks_instances(tmp_path):
    path = KITTI.write(tmp_path / "s")
    labels = path / "sequences/11/predictions/000000.label"
    np.array([252, 10 | 7 << 16, 0, 1], "<u4").tofile(labels)
    result = KITTI.check(path)
    assert result.ok and result.num_scenes == 3
    assert len(result.notes) == 3
    assert "000000.label: bits above the lowest 16 are set (instance ids)" in result.notes[0]
    assert result.notes[1].endswith("ignores: 1 (1x), 252 (1x)")
    assert result.notes[2] == "1 points are unlabelled, which counts as missed"
    ids = dict(read_submission(path, ["11_000000"], KITTI.format, "test"))["11_000000"]
    assert KITTI.format.train_ids(ids, KITTI.label_map).tolist() == [0, 0, -1, -1]
    np.array([250, 10, 10, 10], "<u4").tofile(labels)
    (problem,) = KITTI.check(path).problems
    assert problem.endswith("no class of the benchmark: 250 (1x), the first is label 1")


def test_nuscenes_takes_its_sixteen_classes_alone(tmp_path):
    path = NUSC.write(tmp_path / "s")
    labels = path / f"lidarseg/test/{TOKENS[0]}_lidarseg.bin"
    labels.write_bytes(bytes([0, 16, 17, 1]))
    (problem,) = NUSC.check(path).problems
    assert problem.endswith("no class of the benchmark: 0 (1x), 17 (1x), the first is label 1")
    ids = np.array([0, 16, 17, 1])  # 17 is vehicle.car in annotations, nothing in submissions
    assert NUSC.format.train_ids(ids, NUSC.label_map).tolist() == [-1, 15, -1, 0]


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        (b"{", ["not valid json"]),
        (b"\xff\xfe", ["not valid json"]),
        (b"[" * 100_000, ["not valid json"]),
        (b"[]", ["needs an object 'meta'"]),
        (b'{"meta": {"use_lidar": 1, "use_camera": true, "use_radar": true, "use_imu": true}}',
         ["lacks 'use_map'", "lacks 'use_external'", "unknown key 'use_imu'",
          "use_lidar must be true or false, got 1"]),
    ],
)  # fmt: skip
def test_submission_json_is_checked_as_the_devkit_does(tmp_path, content, problems):
    path = NUSC.write(tmp_path / "s")
    (path / "test/submission.json").write_bytes(content)
    found = NUSC.check(path).problems
    assert len(found) == len(problems)
    for problem, expected in zip(found, problems, strict=True):
        assert problem.startswith("test/submission.json: ") and expected in problem
    with pytest.raises(ValueError, match=r"submission\.json: "):
        NUSC.write(tmp_path / "t", extra_files={"submission.json": content})
    assert not (tmp_path / "t").exists()


def test_files_of_ones_own_go_in(tmp_path):
    path = KITTI.write(tmp_path / "s.zip", extra_files={"description.txt": b"method name: x\n"})
    assert KITTI.check(path).ok
    with zipfile.ZipFile(path) as archive:
        assert archive.read("description.txt") == b"method name: x\n"
    with pytest.raises(ValueError, match=r"readme\.md: no file of a submission to SemanticKITTI"):
        KITTI.write(tmp_path / "t.zip", extra_files={"readme.md": b""})
    (tmp_path / "d").mkdir()
    path = KITTI.write(tmp_path / "d" / "s")
    (path / "description.txt").write_bytes(b"\xff")
    assert "description.txt: cannot be read as UTF-8" in KITTI.check(path).problems[0]
    path = NUSC.write(tmp_path / "n")
    (path / "test/submission.json").unlink()
    assert NUSC.check(path).problems == ("test/submission.json: missing",)


def test_text_in_place_of_binary_labels_is_named(tmp_path):
    for case in (KITTI, NUSC):
        path = case.write(tmp_path / case.format.name)
        scene_id = next(iter(case.scenes))
        (path / case.format.member_of(scene_id, "test")).write_text("10\n" * 4)
        result = case.check(path)
        assert len(result.problems) == 2  # of the number of labels, and of their ids
        assert "looks like text; labels must be binary uint" in result.notes[0]


# -- writing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["s.zip", "s"])
def test_a_submission_is_whole_or_not_there(case, name, tmp_path):
    first, *others = case.scenes
    labels = case.predictions()

    def write(*calls):
        with written_submission(
            tmp_path / name, case.scenes, case.format, case.label_map, case.split
        ) as writer:
            for scene_id, predictions in calls:
                writer.add(scene_id, predictions)

    for calls, message in (
        ([(first, labels[first])], f"{len(others)} of {len(case.scenes)} scenes have no labels"),
        ([(first, labels[first])] * 2, f"{first}: comes twice"),
        ([("scene9999_00", labels[first])], "scene9999_00: not in this submission"),
        ([(first, labels[first][1:])], f"{first} has {case.scenes[first]} points"),
        ([(first, labels[first] + 100)], "train ids"),
    ):
        with pytest.raises(ValueError, match=message):
            write(*calls)
        assert list(tmp_path.iterdir()) == []


def test_a_point_without_class_is_handed_in_only_where_the_server_takes_it(tmp_path):
    for case in CASES.values():
        scene_id, path = next(iter(case.scenes)), tmp_path / f"{case.format.name}.zip"
        with written_submission(path, {scene_id: None}, case.format, case.label_map, "test") as w:
            if case is KITTI:
                w.add(scene_id, np.array([-1, 1]))
            else:
                with pytest.raises(ValueError, match=r"0 \(1x\).*every point needs a class"):
                    w.add(scene_id, np.array([-1, 1]))
                w.add(scene_id, np.array([0, 1]))


def test_what_can_only_fail_is_refused_before_any_label(case, tmp_path):
    def refused(error, message, path="s.zip", scenes=case.scenes, split=case.split):
        arguments = (tmp_path / path, scenes, case.format, case.label_map, split)
        with pytest.raises(error, match=message), written_submission(*arguments):
            pytest.fail("labels were asked for")

    refused(ValueError, r"'kitchen' is not named as a submission to", scenes={"kitchen": 3})
    refused(ValueError, "names no scene", scenes={})
    refused(ValueError, r"let the name end in \.zip", path="s.tar")
    refused(ValueError, r"let the name end in \.zip", path="s.ZIP")
    if case.format.splits:
        refused(ValueError, "one split of train, val, test", split="train+val")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "s.zip").write_bytes(b"mine")
    refused(FileExistsError, r"s\.zip")
    (tmp_path / "s").mkdir()
    refused(FileExistsError, "is there already", path="s")
    assert (tmp_path / "s.zip").read_bytes() == b"mine"
    case.write(tmp_path / "s.zip", overwrite=True)
    assert case.check(tmp_path / "s.zip").ok
    with pytest.raises(FileExistsError):
        case.write(tmp_path / "s", overwrite=True)  # a folder may hold anything


# -- benchmarks -------------------------------------------------------------------------------


def test_benchmarks_have_the_formats_of_their_servers():
    assert find_submission_format("scannet") is find_submission_format("scannet200") is SCANNET
    assert find_submission_format("semantickitti") is SEMANTICKITTI
    assert find_submission_format("nuscenes") is NUSCENES
    assert BENCHMARKS["s3dis"].submission is None
    with pytest.raises(ValueError, match=r"s3dis has no evaluation server.*scannet, scannet200"):
        find_submission_format("s3dis")
    for benchmark in BENCHMARKS.values():
        if (form := benchmark.submission) is not None:
            assert form.member_of(form.scene_example, "test")
