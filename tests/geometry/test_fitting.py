"""Regions that are fitted: what they are, that they differ, that they are the same every time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pointseg.geometry import (
    FitSettings,
    Patterns,
    Sampling,
    fit_regions,
    fit_stages,
    measure_stage,
    measure_stages,
    occupancy_patterns,
)
from pointseg.sparse import KernelSpec, VoxelGrid, cubes
from tests.geometry.shapes import box, grid_of, neighbor_shares, shapes

ROOT = Path(__file__).resolve().parents[2]
KERNEL = KernelSpec(5)
CENTRE = KERNEL.offsets.index((0, 0, 0))


@pytest.fixture(scope="module")
def sheets() -> VoxelGrid:
    """Three sheets, one across each axis, the one across z the largest."""
    return grid_of(
        np.concatenate([box(40, 40, 1), box(1, 30, 30) + [100, 0, 0], box(20, 1, 20) + [200, 0, 0]])
    )


@pytest.fixture(scope="module")
def mixed() -> Patterns:
    grid, _ = shapes(np.random.default_rng(0))
    return occupancy_patterns(grid, KERNEL.offsets, 3000)


def test_sheets_become_sheets(sheets: VoxelGrid) -> None:
    settings = FitSettings(entries=3, taps=25)
    regions = fit_regions(occupancy_patterns(sheets, KERNEL.offsets), settings)
    across = [{axis for axis in range(3) if not any(o[axis] for o in r.offsets)} for r in regions]
    assert across == [{2}, {0}, {1}], "the largest cluster first"


@pytest.mark.parametrize("entries", [1, 2, 5, 8])
@pytest.mark.parametrize("taps", [1 + 2 * 4, 27])
@pytest.mark.parametrize("symmetric", [False, True])
def test_regions_have_their_taps_and_differ(
    mixed: Patterns, entries: int, taps: int, symmetric: bool
) -> None:
    regions = fit_regions(mixed, FitSettings(entries, taps, KERNEL, symmetric))
    assert len(regions) == len({region.taps for region in regions}) == entries
    for region in regions:
        assert region.num_taps == taps
        assert CENTRE in region.taps
        if symmetric:
            assert region.listed_taps == region.taps, "mirrors are in it"


def test_a_region_is_what_its_cluster_fills_most(mixed: Patterns) -> None:
    (region,) = fit_regions(mixed, FitSettings(entries=1, taps=11))
    counts = mixed.occupied().sum(axis=0, dtype=np.int64)
    assert CENTRE in region.taps
    left_out = [k for k in range(KERNEL.num_taps) if k not in region.taps]
    assert counts[list(region.taps)].min() >= counts[left_out].max()


def test_clusters_that_fill_the_same_taps_get_different_regions() -> None:
    """Full and nearly full surroundings have the same nearest taps."""
    bits = np.packbits(np.ones((40, 125), dtype=np.uint8), axis=1, bitorder="little")
    bits[20:, -1] = 0  # the last five places
    regions = fit_regions(Patterns(KERNEL.offsets, bits), FitSettings(entries=2, taps=7))
    assert len({region.taps for region in regions}) == 2
    assert all(region.num_taps == 7 for region in regions)


def test_the_same_every_time_and_for_any_number_of_threads(tmp_path: Path) -> None:
    code = """
import numpy as np
from pointseg.geometry import FitSettings, Sampling, fit_stages
from tests.geometry.shapes import shapes
grid, _ = shapes(np.random.default_rng(0))
print(fit_stages([grid], FitSettings(entries=5), Sampling((1, 2), 2000, seed=4)))
"""
    printed = set()
    for threads in ("1", "2"):
        printed.add(
            subprocess.run(
                [sys.executable, "-c", code],
                cwd=ROOT,
                env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
    assert len(printed) == 1
    grid, _ = shapes(np.random.default_rng(0))
    here = fit_stages([grid], FitSettings(entries=5), Sampling((1, 2), 2000, seed=4))
    assert printed == {f"{here}\n"}


def test_statistics_are_those_of_all_voxels() -> None:
    grid, _ = shapes(np.random.default_rng(1))
    regions = cubes(2, 1, 3)
    for stage in measure_stages([grid], regions, Sampling((1, 2, 4), grid.num_voxels)):
        shares = neighbor_shares(grid.downsample(stage.stride), regions)
        assert stage.num_voxels == len(shares)
        # Written with six digits.
        np.testing.assert_allclose(stage.mean, shares.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(stage.std, shares.std(axis=0), atol=1e-6)
        standardised = (shares - shares.mean(axis=0)) / shares.std(axis=0)
        preferred = np.bincount(standardised.argmax(axis=1), minlength=3) / len(shares)
        np.testing.assert_allclose(stage.preferred, preferred, atol=2e-3)


def test_scenes_count_alike_up_to_their_voxels(sheets: VoxelGrid) -> None:
    small = grid_of(box(3, 3, 3))
    (stage,) = measure_stages(iter([sheets, small]), cubes(1), Sampling((1,), 500))
    assert stage.num_voxels == 500 + 27


def test_what_never_changes_stays_neutral() -> None:
    alone = occupancy_patterns(grid_of(box(3, 3, 3) * 10), KERNEL.offsets)
    stage = measure_stage(1, cubes(1, 2), alone)
    assert stage.std == (0.001, 0.001)
    assert stage.mean == (round(1 / 27, 6),) * 2
    assert stage.preferred == (1.0, 0.0)


def test_bad_settings_say_what_is_possible(mixed: Patterns, sheets: VoxelGrid) -> None:
    with pytest.raises(ValueError, match=r"taps: expected 1..26 for 2 different regions"):
        FitSettings(entries=2, taps=27, kernel=KernelSpec(3))
    FitSettings(entries=1, taps=27, kernel=KernelSpec(3))
    with pytest.raises(ValueError, match="odd number of taps; got 26"):
        FitSettings(taps=26, symmetric=True)
    with pytest.raises(ValueError, match="entries: expected at least 1, got 0"):
        FitSettings(entries=0)
    with pytest.raises(ValueError, match="seed: expected 0..4294967295, got -1"):
        FitSettings(seed=-1)
    with pytest.raises(ValueError, match="kernel: expected stride 1 and an odd size"):
        FitSettings(kernel=KernelSpec(4))
    with pytest.raises(ValueError, match="patterns: expected those of the offsets"):
        fit_regions(mixed, FitSettings(kernel=KernelSpec(3), taps=5))
    with pytest.raises(ValueError, match=r"strides: expected ascending"):
        Sampling(strides=(2, 1))
    with pytest.raises(ValueError, match="voxels_per_scene"):
        Sampling(voxels_per_scene=0)
    with pytest.raises(ValueError, match="at least one scene"):
        fit_stages([], FitSettings(), Sampling())
    with pytest.raises(ValueError, match="3 is no multiple of the scene's 2"):
        fit_stages([sheets.downsample(2)], FitSettings(), Sampling((3,)))


def test_too_few_surroundings_name_the_stride() -> None:
    grid = grid_of(box(2, 1, 1))
    with pytest.raises(ValueError, match=r"stride 16: 3 regions.*only 1 different.*more scenes"):
        fit_stages([grid], FitSettings(), Sampling((16,)))


def test_a_taken_region_of_one_tap_cannot_be_had_twice(mixed: Patterns) -> None:
    with pytest.raises(ValueError, match="no 2 different regions of 1 taps"):
        fit_regions(mixed, FitSettings(entries=2, taps=1))


def test_without_scikit_learn_the_error_says_what_to_install(
    mixed: Patterns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        fit_regions(mixed, FitSettings())


def test_geometry_needs_torch_and_numpy_alone() -> None:
    code = """
import sys
for name in ("sklearn", "scipy", "threadpoolctl", "rich", "yaml", "plotly", "plyfile"):
    sys.modules[name] = None
import pointseg.geometry
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
