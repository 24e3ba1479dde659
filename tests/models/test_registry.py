"""Every registered model builds, runs, declares its geometry and refuses bad options."""

from __future__ import annotations

import pytest
import torch

from pointseg.models import MODELS, PRESETS, MinkUNetConfig, build_model
from tests.nn.grids import random_tensor

TINY = {"depths": [1, 1], "widths": [4, 4], "stem_kernel": 3, "stem_width": 4}


def build(name: str, in_channels: int, num_classes: int) -> torch.nn.Module:
    options = {} if name in PRESETS else TINY
    return build_model(name, in_channels, num_classes, **options)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_maps_voxels_to_logits(name: str) -> None:
    torch.manual_seed(0)
    model = build(name, 6, 13).eval()
    x = random_tensor(120, 6)
    x.grid.prepare(model.geometry())
    with torch.no_grad():
        logits = model(x)
    assert logits.shape == (120, 13)
    assert torch.isfinite(logits).all()


# Counts follow from the architecture. Two of the family are published elsewhere: 14B with one
# input channel has 8,953,588 (printed in a MinkowskiEngine issue thread), 34C "37.9 M" in papers.
NUM_PARAMETERS = {
    "minkunet14a": 8_024_500,
    "minkunet14b": 8_961_588,
    "minkunet14c": 11_919_924,
    "minkunet14d": 43_315_764,
    "minkunet18a": 15_493_172,
    "minkunet18b": 17_204_660,
    "minkunet18d": 79_874_484,
    "minkunet34a": 36_607_412,
    "minkunet34b": 36_226_484,
    "minkunet34c": 37_856_052,
    "minkunet50": 31_763_444,
    "minkunet101": 70_809_588,
    "minkunet_s": 2_201_044,
    "minkunet_m": 6_762_500,
    "minkunet_l": 11_435_012,
    "codedvtr_s": 2_217_332,
    "codedvtr_m": 6_740_292,
    "codedvtr_l": 11_511_092,
    "spvcnn": 6_681_612,
    "codedvtr_spvcnn": 6_732_876,
}
MATCHED = {
    "codedvtr_s": "minkunet_s",
    "codedvtr_m": "minkunet_m",
    "codedvtr_l": "minkunet_l",
    "codedvtr_spvcnn": "spvcnn",
}


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", PRESETS)
def test_preset_parameter_counts(name: str) -> None:
    with torch.device("meta"):
        assert count(build_model(name, 3, 20)) == NUM_PARAMETERS[name]


@pytest.mark.parametrize(("name", "other"), MATCHED.items())
def test_a_pair_is_matched_in_depth_and_parameters(name: str, other: str) -> None:
    assert PRESETS[name].depths == PRESETS[other].depths
    assert PRESETS[name].stem_kernel == PRESETS[other].stem_kernel
    assert abs(NUM_PARAMETERS[other] / NUM_PARAMETERS[name] - 1) < 0.01


def test_published_parameter_count_of_spvcnn() -> None:
    widths = [32, 64, 128, 256, 256, 128, 96, 96]
    with torch.device("meta"):  # "21.8 M" in the literature
        assert round(count(build_model("spvcnn", 4, 19, widths=widths)) / 1e6, 1) == 21.8


def test_published_parameter_count_of_14b() -> None:
    with torch.device("meta"):
        assert count(build_model("minkunet14b", 1, 20)) == 8_953_588


def test_options_override_a_preset() -> None:
    model = build_model("minkunet14a", 3, 20, stem_kernel=3, norm_momentum=0.02)
    assert model.stem.conv.spec.size == 3
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert {norm.momentum for norm in norms} == {0.02}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("minkunet34", {}, "did you mean 'minkunet34"),
        ("minkunet14a", {"width": [1, 1]}, "did you mean 'widths'"),
        ("minkunet", {}, "depths, widths"),
        ("minkunet", {"depths": [1, 1], "widths": [4]}, "same length"),
        ("minkunet", {"depths": [1, 1, 1], "widths": [4, 4, 4]}, "decoder"),
        ("minkunet", {"depths": [0, 1], "widths": [4, 4]}, "depths"),
        ("minkunet", {**TINY, "block": "inverted"}, "block"),
        ("minkunet", {**TINY, "stem_kernel": 4}, "stem_kernel"),
        ("minkunet", {**TINY, "stem_width": 0}, "stem_width"),
        ("minkunet", {**TINY, "norm_momentum": 2.0}, "momentum"),
    ],
)
def test_bad_options_are_named(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(name, 3, 20, **options)


def test_bad_widths_type_is_named() -> None:
    with pytest.raises(TypeError, match="widths"):
        MinkUNetConfig(depths=(1, 1), widths="44")


def test_bad_channel_and_class_counts_are_named() -> None:
    with pytest.raises(ValueError, match="in_channels"):
        build_model("minkunet14a", 0, 20)
    with pytest.raises(ValueError, match="num_classes"):
        build_model("minkunet14a", 3, 0)
