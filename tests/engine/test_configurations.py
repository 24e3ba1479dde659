"""The configurations that come with the project, and what is said about mistakes in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pointseg.config import ConfigError, dump
from pointseg.data import SCANNET20
from pointseg.experiment import build_model, load_config
from pointseg.experiment_config import find_config

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
NAMES = [path.stem for path in CONFIGS]


def test_there_are_configurations():
    assert {
        *("scannet_minkunet34c", "scannet_minkunet14a_5cm", "scannet_tr"),
        *("synthetic_minkunet14", "synthetic_tr", "synthetic_tr_minkunet"),
    } <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_builds_its_model_and_survives_a_dump(name, tmp_path):
    config = load_config(name)
    assert config.name == name
    model = build_model(config, SCANNET20)
    assert sum(p.numel() for p in model.parameters()) > 0
    (tmp_path / "dumped.yaml").write_text(dump(config), encoding="utf-8")
    assert load_config(tmp_path / "dumped.yaml") == config


@pytest.mark.parametrize("path", CONFIGS, ids=NAMES)
def test_every_key_has_a_comment(path):
    bare = [
        line
        for line in path.read_text(encoding="utf-8").splitlines()
        # a section that spans lines is explained by its keys
        if line.strip() and not line.strip().startswith("#") and "#" not in line
        and not (line.endswith(":") and not line.startswith(" "))
    ]  # fmt: skip
    assert bare == []


def test_found_by_name_in_the_working_directory_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("synthetic_minkunet14").is_file()
    (tmp_path / "synthetic_minkunet14.yaml").write_text("name: mine", encoding="utf-8")
    assert find_config("synthetic_minkunet14") == Path("synthetic_minkunet14.yaml")
    assert find_config("synthetic_minkunet14.yaml") == Path("synthetic_minkunet14.yaml")
    with pytest.raises(ConfigError, match=r"missing: no such.*scannet_minkunet34c"):
        find_config("missing")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.dataset=scanet", r"data.dataset: unknown dataset 'scanet' \(valid: .*scannet"),
        ("data.features=[colour]", r"data.features: .*color.*got \['colour'\]"),
        ("data.transforms=[{name: flip}]", "data.transforms: unknown transform 'flip'"),
        ("model.name=minkunet14z", "model: unknown model 'minkunet14z'.*did you mean"),
        ("model.stem_kernels=3", "model: .*no option 'stem_kernels'.*did you mean 'stem_kernel'"),
        ("model.widths=[1, 2]", "model: depths and widths must have the same length"),
        ("data.voxel_size_m=0", "section data: voxel_size_m must be positive"),
        ("train.steps=0", "section train: steps must be at least 1"),
        ("train.checkpoint_activations=[stem]", "train.checkpoint_activations: 'stem' is nothing"),
    ],
)
def test_mistakes_are_found_before_any_data_is_read(override, expected):
    with pytest.raises(ConfigError, match=rf"synthetic_minkunet14\.yaml.*{expected}"):
        load_config("synthetic_minkunet14", [override])
