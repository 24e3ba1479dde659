"""Every registered dataset: its spec hangs together, and its errors say what to do."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pointseg.data import ALL, DATASETS, open_dataset, open_reader
from pointseg.data.registry import listed_scenes
from pointseg.evaluation import BENCHMARKS
from tests.data.drives import write_drive
from tests.data.nuscenes_files import Dataset
from tests.data.scenes import write_root
from tests.data.test_s3dis import write_room


def raw_root(name: str, root: Path) -> None:
    """Some raw scenes in the format of a dataset."""
    if name == "nuscenes":
        Dataset(root, keyframes=1).write()
    elif DATASETS[name].benchmark == "semantickitti":
        write_drive(root, num_scans=1)
    elif DATASETS[name].benchmark == "s3dis":
        write_room(root)
    else:
        write_root(root, num_scenes=1)


@pytest.mark.parametrize("name", DATASETS)
def test_specs_hang_together(name: str, tmp_path: Path) -> None:
    spec = DATASETS[name]
    assert spec.benchmark in BENCHMARKS
    assert ALL not in spec.splits and not any("+" in split for split in spec.splits)
    assert len(set(spec.splits)) == len(spec.splits)
    assert set(spec.expected or {}) <= {*spec.splits, ALL}
    # Settings are plain values: they become JSON, YAML and command line options.
    for value in dataclasses.asdict(spec.settings()).values():
        assert isinstance(value, (bool, int, float, str, type(None)))
    assert spec.marks and not spec.is_raw(tmp_path)
    assert spec.open(tmp_path).root == tmp_path


@pytest.mark.parametrize("name", DATASETS)
def test_missing_data_is_explained(name: str, tmp_path: Path) -> None:
    spec = DATASETS[name]
    told = spec.remedy or spec.layout.splitlines()[0]
    with pytest.raises(FileNotFoundError) as error:
        open_reader(name, tmp_path)
    assert str(tmp_path) in str(error.value) and told in str(error.value)
    with pytest.raises(FileNotFoundError) as error:
        open_dataset(name, tmp_path / "nowhere", spec.splits[0])
    assert told in str(error.value)


@pytest.mark.parametrize("name", DATASETS)
def test_unknown_splits_and_options_are_refused(name: str, tmp_path: Path) -> None:
    spec = DATASETS[name]
    with pytest.raises(ValueError, match="'colour'"):
        spec.open(tmp_path, {"colour": 1})
    raw_root(name, tmp_path)
    assert spec.is_raw(tmp_path)
    for split in ("validation", "", "train "):
        with pytest.raises(ValueError, match=rf"split must be one of .*got '{split}'"):
            spec.open(tmp_path).listed(split)


def test_a_scene_in_two_parts_of_a_split_is_named_at_once() -> None:
    scene_ids = [f"{i:06d}" for i in range(20_000)]
    parts = {"a": scene_ids, "b": scene_ids[-1:]}
    with pytest.raises(ValueError, match="scene 019999 is in two of its parts"):
        listed_scenes(parts.__getitem__, "a+b")
