"""What the geometry prior prefers on planes, edges, corners, rods and isolated voxels.

Every entry must be preferred somewhere, none by more than 70 % of the voxels, with the statistics
of the shapes themselves: they are the dataset here.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pointseg.geometry import (
    FitSettings,
    Sampling,
    StageRegions,
    fit_stages,
    measure_stages,
    preferred_entry,
    standardised_shares,
)
from pointseg.nn.prior import EPS, GeometryPrior, PriorConfig
from pointseg.sparse import VoxelGrid, cubes
from tests.geometry.shapes import box, grid_of, neighbor_shares, shapes

MOST = 0.7
EVERYTHING = 10**6
ORIENTATIONS = {"along the axes": None, "turned": 0, "turned otherwise": 1}


@pytest.fixture(scope="module", params=ORIENTATIONS)
def scene(request: pytest.FixtureRequest) -> tuple[VoxelGrid, dict[str, np.ndarray]]:
    seed = ORIENTATIONS[request.param]
    return shapes(None if seed is None else np.random.default_rng(seed))


def preferred_shares(grid: VoxelGrid, stage: StageRegions) -> np.ndarray:
    """How many voxels prefer each entry, their shares counted by the oracle."""
    shares = torch.from_numpy(neighbor_shares(grid, stage.regions))
    entry = preferred_entry(shares, stage.mean, stage.std)
    return np.bincount(entry, minlength=len(stage.regions)) / len(entry)


def assert_balanced(preferred: np.ndarray) -> None:
    assert preferred.min() > 0, f"an entry is preferred nowhere: {preferred}"
    assert preferred.max() <= MOST, f"an entry is preferred nearly everywhere: {preferred}"


@pytest.mark.parametrize("stride", [1, 2])
def test_cubes_share_the_voxels(scene, stride: int) -> None:
    (stage,) = measure_stages([scene[0]], cubes(2, 1, 3), Sampling((stride,), EVERYTHING))
    assert_balanced(preferred_shares(scene[0].downsample(stride), stage))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("entries", [3, 4, 8])
def test_fitted_regions_share_the_voxels(scene, entries: int, stride: int) -> None:
    sampling = Sampling((stride,), EVERYTHING)
    (stage,) = fit_stages([scene[0]], FitSettings(entries=entries), sampling)
    assert_balanced(preferred_shares(scene[0].downsample(stride), stage))


def test_raw_shares_prefer_the_smallest_reach() -> None:
    """Why shares are standardised."""
    grid, _ = shapes(np.random.default_rng(0))
    raw = torch.from_numpy(neighbor_shares(grid, cubes(2, 1, 3)))
    shares = np.bincount(raw.argmax(dim=1), minlength=3) / len(raw)
    assert shares[1] > 0.8


def test_turned_surfaces_have_voxels_for_every_entry() -> None:
    grid, kinds = shapes(np.random.default_rng(0))
    (stage,) = measure_stages([grid], cubes(2, 1, 3), Sampling((1,), EVERYTHING))
    shares = torch.from_numpy(neighbor_shares(grid, stage.regions))
    entry = preferred_entry(shares, stage.mean, stage.std).numpy()
    for kind in ("plane", "edge", "corner"):
        preferred = np.bincount(entry[kinds[kind]], minlength=3) / kinds[kind].sum()
        assert_balanced(preferred)


def test_equal_surroundings_have_one_preference() -> None:
    """No prior of occupancy can tell isolated voxels from each other, nor the dilations of a cube
    inside an endless plane along the axes: there one entry is preferred, whatever the statistics.
    """
    grid, kinds = shapes(None)
    shares = neighbor_shares(grid, cubes(2, 1, 3))
    assert (shares[kinds["isolated"]] == 1 / 27).all()
    plane = grid_of(box(24, 24, 1))
    inside = ((plane.coords[:, 1:3] >= 3) & (plane.coords[:, 1:3] < 21)).all(dim=1).numpy()
    np.testing.assert_allclose(neighbor_shares(plane, cubes(2, 1, 3))[inside], 9 / 27, rtol=1e-12)


def test_the_prior_is_the_softmax_of_standardised_shares() -> None:
    grid, _ = shapes(np.random.default_rng(0))
    (stage,) = measure_stages([grid], cubes(2, 1, 3), Sampling((1,), EVERYTHING))
    config = PriorConfig("product", temperature=0.5, mean=stage.mean, std=stage.std)
    prior = GeometryPrior(config, entries=3, heads=2).eval()
    shares = grid.region_map(stage.regions).shares()
    softened = tuple(std + EPS for std in stage.std)
    expected = standardised_shares(shares, stage.mean, softened).div(0.5).softmax(dim=1)
    # A few float32 roundings.
    torch.testing.assert_close(prior(shares).exp()[:, 0], expected, rtol=1e-4, atol=1e-6)


def test_standardised_shares_have_mean_zero_and_deviation_one() -> None:
    shares = torch.rand(500, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean, std = shares.mean(dim=0).tolist(), shares.std(dim=0, correction=0).tolist()
    found = standardised_shares(shares, mean, std)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(found.std(dim=0, correction=0), torch.ones(4, dtype=torch.float64))


def test_the_first_of_equals_is_preferred() -> None:
    shares = torch.tensor([[0.5, 0.5, 0.5], [0.1, 0.9, 0.9]])
    entry = preferred_entry(shares, (0.5, 0.5, 0.5), (0.1, 0.1, 0.1))
    assert entry.dtype == torch.int64
    assert entry.tolist() == [0, 1]
    assert preferred_entry(torch.zeros(0, 2), (0.1, 0.1), (1.0, 1.0)).shape == (0,)


def test_bad_arguments_are_named() -> None:
    shares = torch.zeros(3, 2)
    with pytest.raises(ValueError, match=r"shares: expected floating point \[N, D\]"):
        standardised_shares(shares[0], (0.0,), (1.0,))
    with pytest.raises(ValueError, match="mean: expected 2 numbers, one a region, got 1"):
        standardised_shares(shares, (0.0,), (1.0, 1.0))
    with pytest.raises(ValueError, match="std: expected numbers above 0"):
        standardised_shares(shares, (0.0, 0.0), (1.0, 0.0))
