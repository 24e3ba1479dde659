"""Region files: what goes in comes out, and what is wrong with one is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pointseg.geometry import (
    FitSettings,
    RegionFile,
    Sampling,
    StageRegions,
    fit_stages,
    load_regions,
    measure_stages,
    save_regions,
)
from pointseg.sparse import KernelSpec, Region, RegionSet, cubes
from tests.geometry.shapes import shapes


def region_file(stages: tuple[StageRegions, ...]) -> RegionFile:
    return RegionFile(stages, "shapes", "train", 0.05, num_scenes=1, seed=7, fitted=True)


@pytest.fixture(scope="module")
def fitted() -> RegionFile:
    grid, _ = shapes(np.random.default_rng(0))
    return region_file(fit_stages([grid], FitSettings(entries=4), Sampling((1, 2), 1000)))


@pytest.fixture
def path(tmp_path: Path, fitted: RegionFile) -> Path:
    return save_regions(tmp_path / "folder" / "regions.json", fitted)


def test_what_is_saved_is_loaded(path: Path, fitted: RegionFile) -> None:
    loaded = load_regions(path)
    assert loaded == fitted
    assert loaded.path == str(path)
    assert loaded.stage(2).regions == fitted.stages[1].regions
    assert loaded.strides == (1, 2)
    assert [file.name for file in path.parent.iterdir()] == ["regions.json"], "no leftovers"


def test_any_regions_can_be_kept(tmp_path: Path) -> None:
    grid, _ = shapes(None)
    regions = RegionSet((*cubes(2, 1, 3), Region(KernelSpec(5, dilation=2, shape="cross"), (0, 7))))
    file = region_file(measure_stages([grid], regions, Sampling((1, 4), 500)))
    assert load_regions(save_regions(tmp_path / "regions.json", file)) == file


def test_it_is_plain_json_with_a_region_a_line(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    raw = json.loads(text)
    assert (raw["format"], raw["version"]) == ("pointseg-regions", 1)
    assert raw["voxel_size_m"] == 0.05
    assert [stage["stride"] for stage in raw["stages"]] == [1, 2]
    assert set(raw["stages"][0]["regions"][0]) == {
        "size", "dilation", "shape", "taps", "mean", "std", "preferred",
    }  # fmt: skip
    assert sum('"taps"' in line for line in text.splitlines()) == 8


def test_nothing_is_overwritten_unasked(path: Path, fitted: RegionFile) -> None:
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="would be overwritten"):
        save_regions(path, fitted)
    assert path.read_bytes() == before
    save_regions(path, region_file(fitted.stages[:1]), overwrite=True)
    assert load_regions(path).strides == (1,)


def test_a_failed_write_leaves_nothing(
    tmp_path: Path, fitted: RegionFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="no space left"):
        save_regions(tmp_path / "regions.json", fitted)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_stride_says_which_there_are(path: Path, fitted: RegionFile) -> None:
    with pytest.raises(ValueError, match=r"regions.json: no regions for stride 4, only for 1, 2"):
        load_regions(path).stage(4)
    with pytest.raises(ValueError, match="--strides"):
        fitted.stage(4)


def test_no_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such region file.*fit-regions --out"):
        load_regions(tmp_path / "regions.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not JSON"),
        ("[1, 2]", "format: expected 'pointseg-regions', got 'list'"),
        ('{"format": "other"}', "format: expected 'pointseg-regions', got 'other'"),
        ('{"format": "pointseg-regions", "version": 2}', r"version: 2 is newer than 1.*update"),
        ('{"format": "pointseg-regions", "version": "1"}', "version: expected 1, got '1'"),
        ('{"format": "pointseg-regions", "version": true}', "version: expected 1, got True"),
        ('{"format": "pointseg-regions"}', "version: expected 1, got None"),
        ('{"format": "pointseg-regions", "version": 1}', "stages: missing"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "regions.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as error:
        load_regions(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "fit-regions" in str(error.value), "the remedy"


def at(raw: dict[str, Any], stage: int, region: int) -> dict[str, Any]:
    return raw["stages"][stage]["regions"][region]


BROKEN: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda raw: raw.pop("dataset"), "dataset: missing"),
    (lambda raw: raw.update(voxel_size_m="2 cm"), "voxel_size_m: expected int or float, got str"),
    (lambda raw: raw.update(voxel_size_m=0), "voxel_size_m: expected a number above 0"),
    (lambda raw: raw.update(fitted=1), "fitted: expected bool, got int"),
    (lambda raw: raw.update(seed=True), "seed: expected int, got bool"),
    (lambda raw: raw.update(stages=[]), "stages: expected at least one"),
    (lambda raw: raw.update(stages=[3]), r"stages\[0\]: expected an object, got int"),
    (lambda raw: raw["stages"][1].update(stride=1), r"stages: .*each stride once, got \(1, 1\)"),
    (lambda raw: raw["stages"][1].update(stride=0), r"stages\[1\].stride: expected at least 1"),
    (lambda raw: raw["stages"][0].update(regions=[]), r"stages\[0\].regions: expected at least"),
    (lambda raw: at(raw, 0, 1).pop("taps"), r"stages\[0\].regions\[1\].taps: missing"),
    (lambda raw: at(raw, 0, 1).update(taps=[]), r"stages\[0\].regions\[1\].taps: expected at le"),
    (lambda raw: at(raw, 1, 3).update(taps=[125]), r"stages\[1\].regions\[3\].taps: .*0..124"),
    (lambda raw: at(raw, 1, 3).update(taps=[3, 2]), r"regions\[3\].taps: expected ascending"),
    (lambda raw: at(raw, 1, 3).update(taps=[1.5]), r"regions\[3\].taps: expected indices"),
    (lambda raw: at(raw, 0, 0).update(size=4), r"regions\[0\].spec: a region needs"),
    (lambda raw: at(raw, 0, 0).update(size="5"), r"regions\[0\].size: expected int, got str"),
    (lambda raw: at(raw, 0, 0).update(shape="ball"), r"regions\[0\].shape: expected one of"),
    (lambda raw: at(raw, 0, 2).pop("std"), r"stages\[0\].regions\[2\].std: missing"),
    (lambda raw: at(raw, 0, 2).update(std=0), r"stages\[0\].std: expected numbers above 0"),
    (lambda raw: at(raw, 0, 2).update(mean=1.5), r"stages\[0\].mean: expected numbers in 0..1"),
    (lambda raw: at(raw, 0, 2).update(mean=float("nan")), r"stages\[0\].mean: expected numbers"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN, ids=[message for _, message in BROKEN])
def test_broken_fields_are_named(path: Path, change: Callable[..., Any], message: str) -> None:
    raw = json.loads(path.read_text(encoding="utf-8"))
    change(raw)
    path.write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as error:
        load_regions(path)
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).count(str(path)) == 1
    assert "make the file again" in str(error.value)
