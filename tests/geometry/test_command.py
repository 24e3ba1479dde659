"""`pointseg fit-regions` on small rooms: file, table, page, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pointseg.cli import fit_regions
from pointseg.geometry import load_regions
from pointseg.sparse import cubes
from tests.helpers.scenes import write_scannet_root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scannet_root(tmp_path_factory.mktemp("rooms") / "scannet")


@pytest.fixture
def scenes(root: Path) -> list[str]:
    return ["--dataset", "scannet", "--root", str(root), "--voxel-size", "0.1"]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "regions.json"


def test_regions_are_fitted_at_every_stride(
    scenes: list[str], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--entries", "4", "--taps", "21", "--strides", "4", "1", "2", "--seed", "3"]
    assert fit_regions.main([*scenes, *options, "--out", str(out)]) == 0
    file = load_regions(out)
    assert (file.dataset, file.split, file.voxel_size_m) == ("scannet", "train", 0.1)
    assert (file.num_scenes, file.seed, file.fitted) == (3, 3, True)
    assert file.strides == (1, 2, 4)
    for stage in file.stages:
        assert len(stage.regions) == 4
        assert {region.num_taps for region in stage.regions} == {21}
        assert sum(stage.preferred) == pytest.approx(1, abs=1e-5)
    shown = capsys.readouterr().out
    assert "preferred by" in shown
    assert f"wrote {out}" in shown
    again = out.with_name("again.json")
    assert fit_regions.main([*scenes, *options, "--out", str(again)]) == 0
    assert again.read_bytes() == out.read_bytes()


def test_given_cubes_are_measured(scenes: list[str], out: Path) -> None:
    options = ["--strides", "1", "--scenes", "2", "--split", "val", "--voxels", "1000"]
    assert fit_regions.main([*scenes, *options, "--fixed", "--out", str(out)]) == 0
    file = load_regions(out)
    assert (file.fitted, file.split, file.num_scenes) == (False, "val", 2)
    assert file.stage(1).regions == cubes(2, 1, 3)
    assert file.stage(1).num_voxels == 1000
    overwriting = ["--fixed", "1", "4", "--out", str(out), "--overwrite"]
    assert fit_regions.main([*scenes, *options, *overwriting]) == 0
    assert load_regions(out).stage(1).regions == cubes(1, 4)


def test_scenes_of_a_configuration(root: Path, out: Path) -> None:
    chosen = ["--config", "scannet_minkunet14a_5cm", "--set", f"data.root={root}"]
    options = ["--strides", "1", "2", "--entries", "2", "--out", str(out)]
    assert fit_regions.main([*chosen, *options]) == 0
    plain = load_regions(out)
    assert (plain.dataset, plain.voxel_size_m) == ("scannet", 0.05)
    assert fit_regions.main([*chosen, "--augmented", *options, "--overwrite"]) == 0
    assert load_regions(out).stage(1) != plain.stage(1)


def test_the_page_holds_the_regions(scenes: list[str], out: Path, tmp_path: Path) -> None:
    page = tmp_path / "regions.html"
    options = ["--strides", "1", "--out", str(out), "--page", str(page)]
    assert fit_regions.main([*scenes, *options]) == 0
    text = page.read_text(encoding="utf-8")
    start = text.index('id="regions">') + len('id="regions">')
    (screen,) = json.loads(text[start : text.index("</script>", start)])["screens"]
    regions = load_regions(out).stage(1).regions
    assert [r["offsets"] for r in screen["regions"]] == [
        [list(offset) for offset in region.offsets] for region in regions
    ]
    assert "http" not in text[: text.index('id="plotly"')], "it loads nothing"


def test_a_region_nobody_prefers_is_told(
    scenes: list[str], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two regions alike: the first one wins every tie."""
    options = ["--strides", "1", "--fixed", "1", "1", "--out", str(out)]
    assert fit_regions.main([*scenes, *options]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "stride 1: entry 1 is preferred by no voxel" in shown
    assert "stride 1: entry 0 is preferred by 100% of the voxels" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--taps", "126"], "taps: expected 1..124"),
        (["--kernel", "4"], "kernel: expected stride 1 and an odd size"),
        (["--strides", "0"], "strides: expected numbers of at least 1"),
        (["--voxels", "0"], "--voxels: expected at least 1, got 0"),
        (["--scenes", "0"], "--scenes: expected at least 1, got 0"),
        (["--entries", "500", "--strides", "16"], "stride 16: 500 regions asked for"),
        (["--set", "data.root=x"], "pass --config, too"),
        (["--augmented"], "pass --config, too"),
        (["--config", "scannet_minkunet34c"], "--dataset is the configuration's"),
    ],
)
def test_what_cannot_be_is_refused(
    scenes: list[str],
    out: Path,
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert fit_regions.main([*scenes, *options, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_no_scenes_named(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit_regions.main(["--out", str(out)]) == 2
    assert "pass --config, or --dataset and --voxel-size" in capsys.readouterr().err


def test_nothing_is_overwritten_unasked(
    scenes: list[str], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out.write_text("mine", encoding="utf-8")
    assert fit_regions.main([*scenes, "--out", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_text(encoding="utf-8") == "mine"
