"""Choices of stages as values for raw points, and their files."""

from __future__ import annotations

import math
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pointseg import nn
from pointseg.cli import export_preds
from pointseg.data import SCANNET20, collate
from pointseg.evaluation import SubmissionCheck, check_submission
from pointseg.evaluation.choice_files import choices_path, read_choices, write_choices
from pointseg.evaluation.choices import (
    StageChoice,
    describe_region,
    predict_points_and_choices,
    stage_of,
    stage_regions,
    summarize_choice,
)
from pointseg.evaluation.inference import predict_points
from pointseg.evaluation.submission import SCANNET
from pointseg.experiment import build_dataset, load_trained
from pointseg.sparse import KernelSpec, Region, VoxelGrid, containing_rows, cubes

from ..helpers.scenes import VAL_IDS
from .conftest import FEATURES, write_checkpoint
from .stand_ins import voxel_scene

HEADS = 2


class StandInBlock(torch.nn.Module):
    """Chooses at random, the same for the same voxel."""

    def __init__(self, factor: int, seed: int, dilations: tuple[int, ...] = (1, 2, 3)) -> None:
        super().__init__()
        self.config = SimpleNamespace(regions=cubes(*dilations))
        self.factor, self.seed, self.record = factor, seed, None

    def choice_of(self, coords: torch.Tensor) -> torch.Tensor:
        rows = []
        for batch, x, y, z in coords.tolist():
            generator = torch.Generator().manual_seed(hash((self.seed, batch, x, y, z)) % (1 << 31))
            rows.append(torch.rand(HEADS, len(self.config.regions), generator=generator))
        return torch.stack(rows).mul(4).softmax(dim=2)

    def forward(self, grid: VoxelGrid) -> None:
        coarse = grid.downsample(self.factor)
        # a grid whose rows are in another order than those of the grid it was made from
        shuffle = torch.randperm(coarse.num_voxels, generator=torch.Generator().manual_seed(1))
        own = VoxelGrid(coarse.coords[shuffle], stride=coarse.stride, num_scenes=grid.num_scenes)
        if self.seed % 2 == 0:
            own = coarse
        self.record = SimpleNamespace(choice=self.choice_of(own.coords), grid=own)


class StandInModel(torch.nn.Module):
    """Logits are the features; two blocks at stride 4 and one on the finest grid."""

    def __init__(self) -> None:
        super().__init__()
        stages = [StandInBlock(4, seed=2), StandInBlock(4, seed=4)], [StandInBlock(1, seed=1)]
        self.encoder = torch.nn.ModuleList(torch.nn.Sequential(*blocks) for blocks in stages)

    def forward(self, x):
        for stage in self.encoder:
            for block in stage:
                block(x.grid)
        return x.feats


@contextmanager
def record_stand_ins(model):
    records = {}
    yield records
    for name, module in model.named_modules():
        if isinstance(module, StandInBlock) and module.record is not None:
            records[name] = module.record


@pytest.fixture
def stand_ins(monkeypatch):
    monkeypatch.setattr(nn, "CodebookBlock", StandInBlock)
    monkeypatch.setattr(nn, "record_choices", record_stand_ins)


def test_every_point_has_the_choice_of_the_voxel_around_it(stand_ins):
    """Against a walk over points and voxels, one by one."""
    model = StandInModel()
    scenes = [voxel_scene(f"s{n}", 25, 60, seed=n) for n in range(2)]
    found = predict_points_and_choices(model, collate(scenes))
    for number, (scene, (labels, stages)) in enumerate(zip(scenes, found, strict=True)):
        assert list(stages) == ["encoder.0", "encoder.1"]
        np.testing.assert_array_equal(labels, scene.feats.argmax(1)[scene.point_to_voxel])
        for stage, blocks in zip(stages.values(), model.encoder, strict=True):
            assert stage.entry.dtype == np.uint8 and stage.entropy.dtype == np.float32
            assert stage.head_entry.shape == (60, HEADS)
            for point, voxel in enumerate(scene.point_to_voxel.tolist()):
                t = blocks[0].factor
                corner = [math.floor(c / t) * t for c in scene.coords[voxel].tolist()]
                at = torch.tensor([[number, *corner]])
                each = [block.choice_of(at)[0].double().numpy() for block in blocks]
                mean = np.mean(each, axis=0)
                assert stage.entry[point] == mean.mean(axis=0).argmax()
                np.testing.assert_array_equal(stage.head_entry[point], mean.argmax(axis=1))
                entropy = np.mean([-(a * np.log(a)).sum(axis=1).mean() for a in each])
                # float32 logarithms
                assert stage.entropy[point] == pytest.approx(entropy, abs=1e-5)
    chosen = np.concatenate([stages["encoder.0"].entry for _, stages in found])
    assert len(np.unique(chosen)) == 3  # else the comparison above says little


@pytest.mark.parametrize("stride", [1, 2, 3, 8])
def test_rows_of_containing_voxels(stride):
    generator = torch.Generator().manual_seed(stride)
    coords = torch.randint(-20, 20, (400, 4), generator=generator, dtype=torch.int32)
    coords[:, 0] %= 3
    fine = VoxelGrid(torch.unique(coords, dim=0).flip(0))
    coarse = fine.downsample(stride)
    shuffle = torch.randperm(coarse.num_voxels, generator=generator)
    coarse = VoxelGrid(coarse.coords[shuffle], stride=stride)
    table = {tuple(row): index for index, row in enumerate(coarse.coords.tolist())}
    expected = [
        table[(b, *(math.floor(c / stride) * stride for c in xyz))]
        for b, *xyz in fine.coords.tolist()
    ]
    rows = containing_rows(fine, coarse)
    assert rows.dtype == torch.int64
    assert rows.tolist() == expected


def test_a_voxel_that_nothing_contains_is_named():
    fine = VoxelGrid(torch.tensor([[0, 1, 2, 3], [0, -1, 2, 3]], dtype=torch.int32))
    coarse = VoxelGrid(torch.tensor([[0, 0, 0, 0]], dtype=torch.int32), stride=4)
    with pytest.raises(ValueError, match=r"contains \(batch, x, y, z\) = \(0, -1, 2, 3\)"):
        containing_rows(fine, coarse)


def test_entropy_is_between_nothing_and_all_entries():
    even = torch.full((1, 2, 4), 0.25)
    sure = torch.eye(4)[torch.tensor([[2, 2]])]
    rounded = sure * (1 + 1e-6) - 1e-9  # as straight-through choices come out
    for choice, entropy in ((even, math.log(4)), (sure, 0.0), (rounded, 0.0)):
        entry, found, heads = summarize_choice([choice])
        assert found.item() == pytest.approx(entropy, abs=1e-5)
        assert 0.0 <= found.item() <= np.float32(math.log(4))
    assert (entry.item(), heads.tolist()) == (2, [[2, 2]])
    # two sure blocks that disagree are sure, each by itself
    assert summarize_choice([sure, torch.eye(4)[torch.tensor([[1, 1]])]])[1].item() == 0.0
    # ties go to the lower entry
    assert summarize_choice([even])[0].item() == 0


def test_stages_and_regions_in_words(stand_ins):
    assert stage_of("encoder.1.blocks.0") == "encoder.1"
    assert stage_of("voxels.decoder.3.blocks.12") == "voxels.decoder.3"
    assert stage_of("block") == "block"
    assert stage_regions(StandInModel())["encoder.0"] == (
        "cube 3",
        "cube 3, dilation 2",
        "cube 3, dilation 3",
    )
    cross = Region(KernelSpec(5, shape="cross", dilation=2), (0, 1, 4))
    assert describe_region(cross) == "cross 5, dilation 2, 3 of 13 taps"


def test_models_without_a_mean_over_blocks_are_refused(stand_ins):
    with pytest.raises(ValueError, match="Linear has no codebook blocks.*codedvtr"):
        stage_regions(torch.nn.Linear(2, 2))
    model = StandInModel()
    model.encoder[0][1] = StandInBlock(4, seed=0, dilations=(1, 2))
    with pytest.raises(ValueError, match=r"stage 'encoder\.0'.*different regions"):
        stage_regions(model)
    model = StandInModel()
    model.encoder[1][0].config.regions = cubes(*[1] * 257)
    with pytest.raises(ValueError, match="at most 256 entries, got 257"):
        stage_regions(model)


def test_a_batch_without_voxels_has_no_choice(stand_ins):
    (labels, stages), *others = predict_points_and_choices(
        StandInModel(), collate([voxel_scene("empty", 0, 0)])
    )
    assert not others and len(labels) == 0
    assert [stage.num_points for stage in stages.values()] == [0, 0]


# -- files ------------------------------------------------------------------------------------


def some_choices(num_points: int = 50) -> dict[str, StageChoice]:
    rng = np.random.default_rng(0)
    return {
        stage: StageChoice(
            rng.integers(0, 3, num_points).astype(np.uint8),
            rng.random(num_points, dtype=np.float32),
            ("cube 3", "cube 3, dilation 2", "cross 3"),
        )
        for stage in ("encoder.1", "decoder.0")
    }


def test_a_file_holds_what_was_written(tmp_path):
    written = some_choices()
    path = write_choices(tmp_path, "scene", written)
    assert [p.name for p in tmp_path.iterdir()] == ["scene.choices.npz"] == [path.name]
    with np.load(path, allow_pickle=False) as file:
        assert file["encoder.1/entry"].shape == file["encoder.1/entropy"].shape == (50,)
    found = read_choices(path)
    assert list(found) == list(written)
    for stage, choice in found.items():
        np.testing.assert_array_equal(choice.entry, written[stage].entry)
        np.testing.assert_array_equal(choice.entropy, written[stage].entropy)
        assert choice.regions == written[stage].regions
    with pytest.raises(FileExistsError, match=r"scene\.choices\.npz.*--overwrite"):
        write_choices(tmp_path, "scene", written)
    write_choices(tmp_path, "scene", written, overwrite=True)


def test_stages_of_different_length_are_refused(tmp_path):
    stages = {**some_choices(), "decoder.3": some_choices(49)["encoder.1"]}
    with pytest.raises(ValueError, match=r"equal length.*'decoder\.3': 49"):
        write_choices(tmp_path, "scene", stages)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"s/entropy": None}, "missing or unknown: s/entropy"),
        ({"s/other": np.zeros(3)}, "missing or unknown: s/other"),
        ({"s/entry": np.zeros(4, np.int64)}, r"s/entry: expected uint8 \[P\], got int64 \[4\]"),
        ({"s/entropy": np.zeros(3, np.float32)}, r"s/entropy: expected float32 \[4\]"),
        ({"s/entry": np.full(4, 2, np.uint8)}, r"s/entry: expected 0\.\.1, got 2"),
        ({"s/entropy": np.full(4, np.nan, np.float32)}, "s/entropy holds nan"),
        ({"s/regions": np.zeros(2)}, r"s/regions: expected text \[D\]"),
    ],
)
def test_broken_files_are_named(tmp_path, changes, problem):
    arrays = {
        "s/entry": np.zeros(4, np.uint8),
        "s/entropy": np.zeros(4, np.float32),
        "s/regions": np.array(["a", "b"]),
        **changes,
    }
    path = tmp_path / "x.choices.npz"
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    with pytest.raises(ValueError, match=rf"x\.choices\.npz: .*{problem}"):
        read_choices(path)


def test_what_is_no_npz_is_named(tmp_path):
    path = tmp_path / "x.choices.npz"
    for content in (b"", b"no zip", b"PK\x03\x04 cut off"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.choices\.npz: not a readable npz"):
            read_choices(path)
    with pytest.raises(FileNotFoundError):
        read_choices(tmp_path / "none.npz")


SCENE = "scene0001_00"


def checked(folder: Path, num_points: int) -> SubmissionCheck:
    return check_submission(folder, {SCENE: num_points}, SCANNET, SCANNET20, "val")


def test_a_check_of_label_files_looks_at_choices_too(tmp_path):
    (tmp_path / f"{SCENE}.txt").write_text("1\n" * 50)
    write_choices(tmp_path, SCENE, some_choices())
    result = checked(tmp_path, 50)
    assert result.ok and "not for the zip" in result.notes[0]
    (tmp_path / f"{SCENE}.txt").write_text("1\n" * 51)
    result = checked(tmp_path, 51)
    expected = f"{SCENE}.choices.npz: encoder.1: 50 rows, but the scene has 51 points"
    assert result.problems == (expected,)
    choices_path(tmp_path, SCENE).write_bytes(b"broken")
    result = checked(tmp_path, 51)
    assert len(result.problems) == 1 and result.problems[0].count(f"{SCENE}.choices.npz") == 1


# -- the command ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def codebook_checkpoint(tmp_path_factory, small_root) -> Path:
    model = {
        "name": "codedvtr_s",
        "depths": [1, 2, 1, 1],
        "widths": [8, 8, 8, 8],
        "blocks": ["basic", "codebook", "codebook", "basic"],
        "stem_width": 8,
        "codebook": {"heads": 2},
    }
    path = tmp_path_factory.mktemp("run") / "best.pt"
    return write_checkpoint(path, small_root, FEATURES, model)


def test_the_command_writes_what_the_blocks_chose(codebook_checkpoint, small_root, tmp_path):
    out = tmp_path / "out"
    argv = ["--checkpoint", str(codebook_checkpoint), "--out", str(out), "--choices"]
    assert export_preds.main([*argv, "--format", "npy", "txt"]) == 0
    names = {f"{scene}{suffix}" for scene in VAL_IDS for suffix in (".npy", ".txt", ".choices.npz")}
    assert {path.name for path in out.iterdir()} == names
    trained = load_trained(codebook_checkpoint)
    model = nn.folded(trained.model)  # what the command predicts with
    dataset = build_dataset(trained.config, "val", training=False)
    for index, scene in enumerate(dataset.scene_ids):
        batch = collate([dataset[index]])
        with nn.record_choices(model) as records:
            labels = predict_points(model, batch)[0]
        np.testing.assert_array_equal(np.load(out / f"{scene}.npy"), labels)
        found = read_choices(choices_path(out, scene))
        assert list(found) == ["encoder.1", "decoder.0"]
        for stage, choice in found.items():
            blocks = [record for name, record in records.items() if name.startswith(stage)]
            assert len(blocks) == (2 if stage == "encoder.1" else 1)
            corner = batch.voxels.grid.coords[batch.point_to_voxel].clone()
            stride = blocks[0].grid.stride
            corner[:, 1:] -= corner[:, 1:] % stride
            table = {tuple(c): row for row, c in enumerate(blocks[0].grid.coords.tolist())}
            rows = [table[tuple(c)] for c in corner.tolist()]
            entropy = torch.stack(
                [torch.special.entr(b.choice).sum(2).mean(1) for b in blocks]
            ).mean(0)[rows]
            np.testing.assert_allclose(choice.entropy, entropy, atol=1e-6)  # float32 sums
            share = torch.stack([block.choice for block in blocks]).mean(dim=(0, 2))[rows]
            np.testing.assert_array_equal(choice.entry, share.argmax(1))
            assert choice.regions == ("cube 3, dilation 2", "cube 3", "cube 3, dilation 3")
    check = ["--check", str(out), "--dataset", "synthetic", "--root", str(small_root)]
    assert export_preds.main(check) == 0
    assert export_preds.main(argv) == 2  # nothing is overwritten unasked


def test_existing_choices_are_kept(codebook_checkpoint, tmp_path, capsys):
    kept = choices_path(tmp_path, VAL_IDS[1])
    kept.write_text("mine")
    argv = ["--checkpoint", str(codebook_checkpoint), "--out", str(tmp_path), "--choices"]
    assert export_preds.main(argv) == 2
    assert kept.name in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_model_without_codebooks_is_refused_before_any_work(
    checkpoint, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(export_preds, "open_split", lambda *_: pytest.fail("data were opened"))
    out = tmp_path / "out"
    argv = ["--checkpoint", str(checkpoint), "--out", str(out), "--choices"]
    assert export_preds.main(argv) == 2
    assert "MinkUNet has no codebook blocks" in capsys.readouterr().err
    assert not out.exists()
