"""Whole networks against the numbers of published code, loaded through its own parameter names.

Tolerance: fp32 sums in another order through some forty layers; 1e-4 of the largest logit. CodedVTR
agrees far better and must: a looser bound cannot tell a right choice of entries from a uniform one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pointseg.interop import load_minkowski_state_dict, to_minkowski_state_dict
from pointseg.models import build_model
from pointseg.sparse import SparseTensor, VoxelGrid

WIDTHS = {
    "minkunet14a": (8, 16, 16, 32, 32, 16, 16, 16),
    "minkunet34c": (8, 8, 16, 16, 16, 16, 8, 8),
    "codedvtr": (8, 16, 16, 32, 32, 16, 16, 16),
}
TOLERANCE = {"minkunet14a": 1e-4, "minkunet34c": 1e-4, "codedvtr": 1e-5}
CASES = pytest.mark.parametrize(
    "case", ["minkunet14a_eval", "minkunet14a_train", "minkunet34c_eval", "codedvtr_testa"]
)


def load(goldens: Path, case: str) -> dict[str, np.ndarray]:
    with np.load(goldens / f"{case}.npz") as archive:
        return dict(archive)


def state_dict_of(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    prefix = "param/"
    return {
        name.removeprefix(prefix): torch.from_numpy(np.asarray(value))
        for name, value in arrays.items()
        if name.startswith(prefix)
    }


def build(case: str) -> torch.nn.Module:
    name = case.split("_")[0]
    options = {"widths": WIDTHS[name], "stem_width": 8}
    if name == "codedvtr":
        return build_model(name, 4, 19, depths=[2] * 8, **options)
    return build_model(name, 3, 20, **options)


def rows_by_coords(coords: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """For every row of `wanted` the row of `coords` that holds the same coordinates."""
    index = {tuple(row): i for i, row in enumerate(coords.tolist())}
    return np.array([index[tuple(row)] for row in wanted.tolist()])


@CASES
@pytest.mark.parametrize("prefix", ["", "module."])
def test_network_agrees(goldens: Path, case: str, prefix: str) -> None:
    arrays = load(goldens, case)
    model = build(case)
    theirs = {prefix + name: value for name, value in state_dict_of(arrays).items()}
    load_minkowski_state_dict(model, theirs)
    model.train(case.endswith("_train"))
    grid = VoxelGrid(torch.from_numpy(arrays["coords"])).prepare(model.geometry())
    with torch.no_grad():
        logits = model(SparseTensor(torch.from_numpy(arrays["feats"]), grid)).numpy()
    expected = arrays["out"][rows_by_coords(arrays["out_coords"], arrays["coords"])]
    error = np.abs(logits - expected).max() / np.abs(expected).max()
    assert error < TOLERANCE[case.split("_")[0]], (
        f"largest error is {error:.2e} of the largest logit"
    )


@CASES
def test_parameters_survive_the_round_trip(goldens: Path, case: str) -> None:
    theirs = state_dict_of(load(goldens, case))
    model = build(case)
    load_minkowski_state_dict(model, theirs)
    back = to_minkowski_state_dict(model)
    assert back.keys() == theirs.keys()
    for name, value in theirs.items():
        assert back[name].shape == value.shape
        assert torch.equal(back[name], value)
