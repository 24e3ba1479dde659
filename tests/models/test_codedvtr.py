"""CodedVTR: blocks of stages as data, options, and what it tells the trainer."""

from __future__ import annotations

import math

import pytest
import torch

from pointseg.geometry import RegionFile, StageRegions, save_regions
from pointseg.models import CodedVTR, CodedVTRConfig, build_model, inline_files
from pointseg.nn import BasicBlock, Bottleneck, CodebookBlock, record_choices
from pointseg.sparse import SparseTensor, VoxelGrid, cubes
from tests.models.networks import OpNames, gradients, with_running_statistics
from tests.nn.grids import random_tensor

THIN = {
    "depths": [1, 2, 1, 1],
    "widths": [4, 8, 8, 4],
    "blocks": ["basic", "codebook", "codebook", "basic"],
    "stem_width": 4,
    "codebook": {"heads": 4},
}


def thin(**codebook: object) -> CodedVTR:
    torch.manual_seed(0)
    model = build_model("codedvtr", 3, 5, **{**THIN, "codebook": {"heads": 4, **codebook}})
    assert isinstance(model, CodedVTR)
    return with_running_statistics(model)


def test_blocks_of_every_stage_are_data() -> None:
    blocks = ["bottleneck", "codebook", "basic", "codebook"]
    model = build_model("codedvtr", 3, 5, **{**THIN, "blocks": blocks, "widths": [2, 8, 8, 4]})
    kinds = [type(stage.blocks[0]) for stage in (*model.encoder, *model.decoder)]
    assert kinds == [Bottleneck, CodebookBlock, BasicBlock, CodebookBlock]
    assert model(random_tensor(120, 3)).shape == (120, 5)


def test_ends_are_basic_where_blocks_are_left_out() -> None:
    config = CodedVTRConfig((1,) * 6, (8,) * 6)
    assert config.stage_blocks == ("basic", *["codebook"] * 4, "basic")


def test_a_preset_takes_another_depth() -> None:
    model = build_model("codedvtr_s", 3, 5, depths=[1] * 4, widths=[8] * 4)
    assert list(model.codebook_stages()) == ["encoder.1", "decoder.0"]


def test_stages_know_their_strides() -> None:
    assert CodedVTRConfig((1,) * 8, (8,) * 8).strides == (2, 4, 8, 16, 8, 4, 2, 1)


def test_strided_convolutions_widen() -> None:
    model = thin()
    assert [stage.down.conv.out_channels for stage in model.encoder] == [4, 8]


@pytest.mark.parametrize(
    "codebook",
    [
        {},
        {"query": "dot", "choice": "hard", "prior": "product"},
        {"choice": {"name": "topk", "k": 2}, "prior": {"name": "learned"}},
        {"choice": "vq", "query": "none"},
        {"regions": [{"size": 3, "shape": "cross"}, {"dilation": 2, "taps": [0, 13, 20]}]},
    ],
    ids=lambda codebook: "-".join(codebook) or "published",
)
def test_prepared_grids_hold_all_geometry(codebook: dict) -> None:
    model, x = thin(**codebook).eval(), random_tensor(150, 3)
    with OpNames() as on_demand:
        expected = model(SparseTensor(x.feats, VoxelGrid(x.grid.coords)))
    x.grid.prepare(model.geometry())
    with OpNames() as prepared:
        logits = model(x)
    geometry = {"kernel_map", "row_lists", "voxelize", "voxel_keys", "sort_keys"}
    assert geometry & set(on_demand.names)
    assert not geometry & set(prepared.names)
    assert torch.equal(logits, expected)


def test_options_reach_the_blocks() -> None:
    model = thin(
        regions=[{"dilation": 1}, {"size": 3, "shape": "cross"}],
        expansion=3,
        temperature={"start": 2.0, "end": 0.5, "shape": "linear"},
        prior={"name": "product", "temperature": 2},
    )
    for blocks in model.codebook_stages().values():
        for block in blocks:
            assert block.codebook.shape == (27 + 7, 3 * 8)
            assert block.config.heads == 4
            assert block.config.prior.temperature == 2


def test_nested_options_override_a_preset_key_by_key() -> None:
    with torch.device("meta"):
        model = build_model("codedvtr_s", 3, 20, codebook={"temperature": {"end": 1.0}, "heads": 4})
    assert model.config.codebook.heads == 4
    assert model.config.codebook.expansion == 2
    assert model.config.widths[0] == 32


def test_regions_of_a_file_go_to_the_stages_of_their_strides(tmp_path) -> None:
    def stage(stride: int, *dilations: int) -> StageRegions:
        d = len(dilations)
        mean = tuple(0.1 * stride / (i + 1) for i in range(d))
        return StageRegions(stride, cubes(*dilations), mean, (0.2,) * d, (1 / d,) * d, 100)

    file = RegionFile((stage(2, 3), stage(4, 1, 2)), "made up", "train", 0.05, 1, 0, True)
    path = save_regions(tmp_path / "regions.json", file)
    model = thin(regions_file=str(path), prior="product")
    stages = model.codebook_stages()
    assert stages["encoder.1"][0].config.regions == cubes(1, 2)
    assert stages["decoder.0"][0].config.regions == cubes(3)
    torch.testing.assert_close(stages["encoder.1"][0].prior.mean, torch.tensor([0.4, 0.2]))
    assert model(random_tensor(150, 3)).shape == (150, 5)

    given = thin(regions_file=str(path))
    assert given.codebook_stages()["encoder.1"][0].prior is None
    with pytest.raises(ValueError, match=r"regions_file: .*no regions for stride 1"):
        build_model(
            "codedvtr", 3, 5, **{**THIN, "blocks": ["codebook"] * 4,
                                 "codebook": {"heads": 4, "regions_file": str(path)}}
        )  # fmt: skip
    with pytest.raises(ValueError, match=r"regions_file: .*missing\.json"):
        thin(regions_file=str(tmp_path / "missing.json"))

    # Inlined, the options build the same network when the file is gone.
    options = {"codebook": {"heads": 4, "regions_file": str(path), "prior": "product"}}
    inlined = inline_files(options)
    path.unlink()
    assert "regions_file" in options["codebook"]
    again = build_model("codedvtr", 3, 5, **{**THIN, **inlined})
    assert again.config.codebook.at_strides([2]) == model.config.codebook.at_strides([2])
    again.load_state_dict(model.state_dict())
    assert inline_files(inlined) == inlined
    with pytest.raises(ValueError, match=r"codebook.regions\[2\] needs std"):
        thin(regions={2: {"entries": [{}], "mean": [0.1]}})
    with pytest.raises(TypeError, match=r"codebook.regions\['a'\]: expected stride"):
        thin(regions={"a": {}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": ["basic"] * 4}, "no option 'block'.*did you mean 'blocks'"),
        ({"blocks": ["basic"] * 3}, "one block for each of 4 stages, got 3"),
        ({"blocks": ["basic", "codebok", "basic", "basic"]}, "codebook, got 'codebok'"),
        ({"codebook": {"head": 4}}, "codebook has no option 'head'.*'heads'"),
        ({"codebook": {"choice": {"nme": "soft"}}}, "choice has no option 'nme'.*'name'"),
        ({"codebook": {"choice": "softer"}}, r"codebook: choice: name: .*'softer'"),
        ({"codebook": {"heads": 3}}, r"widths\[1\] = 8: the 16 value channels.*heads = 3"),
        ({"codebook": {"heads": 0}}, "codebook.heads must be a positive integer, got 0"),
        ({"codebook": {"regions": [{"sizes": 3}]}}, r"regions\[0\].*'sizes'.*'size'"),
        ({"codebook": {"regions": [{"size": 2}]}}, r"regions\[0\]: spec"),
        ({"codebook": {"regions": [{}], "regions_file": "x"}}, "exclude each other"),
        ({"norm_momentum": 0.0}, "momentum"),
    ],
)
def test_bad_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model("codedvtr", 3, 5, **{**THIN, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codebook": {"prior": {"temperature": "cold"}}}, r"prior: temperature: .*'cold'"),
        ({"codebook": {"choice": {"k": 2.5}}}, r"choice: k: expected an integer, got 2.5"),
        ({"codebook": {"query": 3}}, r"codebook: query: expected text, got 3"),
        ({"codebook": {"temperature": {"start": "hot"}}}, r"temperature: start: .*'hot'"),
    ],
)
def test_options_of_a_wrong_type_are_named(options: dict, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        build_model("codedvtr", 3, 5, **{**THIN, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blocks": "codebook"}, "blocks must be a list"),
        ({"codebook": 8}, "codebook must be a mapping with heads"),
        ({"codebook": {"regions": "cubes"}}, "regions must be a list of mappings"),
        ({"codebook": {"regions": [3]}}, r"regions\[0\] must be a mapping"),
    ],
)
def test_options_of_the_wrong_type_are_named(options: dict, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        build_model("codedvtr", 3, 5, **{**THIN, **options})


def test_progress_moves_the_temperature_of_every_block() -> None:
    model = thin(temperature={"start": 2.0, "end": 0.5, "shape": "linear"})
    blocks = [block for blocks in model.codebook_stages().values() for block in blocks]
    assert len(blocks) == 3
    for progress, expected in ((0.0, 2.0), (0.5, 1.25), (1.0, 0.5)):
        model.set_progress(progress)
        assert [float(block.temperature) for block in blocks] == [expected] * 3
    assert [n for n in model.state_dict() if n.endswith("temperature")] != []


def test_numbers_to_log_are_means_over_the_blocks_of_a_stage() -> None:
    model, x = thin().train(), random_tensor(150, 3)
    with record_choices(model) as records:
        model(x)
        losses, scalars = model.training_terms(0.5)
    assert losses == {}
    usage = ("usage_0", "usage_1", "usage_2", "usage_min")
    names = (*usage, "perplexity", "entropy", "temperature")
    stages = ("encoder.1", "decoder.0")
    assert list(scalars) == [f"codebook/{stage}/{name}" for stage in stages for name in names]
    for stage in stages:
        choices = [r.choice for name, r in records.items() if name.startswith(f"{stage}.")]
        assert len(choices) == len(model.codebook_stages()[stage])
        entropy = sum(float(-(c * c.log()).sum(-1).mean()) for c in choices) / len(choices)
        assert scalars[f"codebook/{stage}/entropy"] == pytest.approx(entropy, rel=1e-4)
        shares = [
            torch.bincount(c.argmax(-1).flatten(), minlength=3) / c[..., 0].numel() for c in choices
        ]
        for entry in range(3):
            usage = sum(float(s[entry]) for s in shares) / len(shares)
            assert scalars[f"codebook/{stage}/usage_{entry}"] == pytest.approx(usage, rel=1e-4)
        usage_min = sum(float(s.min()) for s in shares) / len(shares)
        assert scalars[f"codebook/{stage}/usage_min"] == pytest.approx(usage_min, rel=1e-4)
        assert 1.0 <= scalars[f"codebook/{stage}/perplexity"] <= 3.0
        assert scalars[f"codebook/{stage}/entropy"] <= math.log(3) + 1e-6
        assert scalars[f"codebook/{stage}/temperature"] == 1.0


def test_terms_are_means_over_blocks() -> None:
    model, x = thin(choice="vq", query="none").train(), random_tensor(150, 3)
    model(x)
    blocks = [block for blocks in model.codebook_stages().values() for block in blocks]
    each = torch.stack([block.choice.last_commitment for block in blocks])
    losses, _ = model.training_terms(0.5)
    assert list(losses) == ["commitment"]
    torch.testing.assert_close(losses["commitment"], each.mean())
    losses["commitment"].backward()
    assert blocks[0].choice.map.weight.grad.abs().sum() > 0


def test_a_network_without_codebook_blocks_has_nothing_to_say() -> None:
    model = build_model("codedvtr", 3, 5, **{**THIN, "blocks": ["basic"] * 4})
    model.set_progress(0.5)
    assert model.training_terms(0.5) == ({}, {})


def test_two_runs_give_the_same_bits_and_every_parameter_a_gradient() -> None:
    model, x = thin().train(), random_tensor(300, 3)
    first, second = gradients(model, x), gradients(model, x)
    assert first.keys() == dict(model.named_parameters()).keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_state_dict_knows_nothing_of_the_batch() -> None:
    model = thin(prior="product", choice="hard").train()
    before = {name: value.shape for name, value in model.state_dict().items()}
    for num_voxels in (90, 131):
        model(random_tensor(num_voxels, 3)).sum().backward()
    assert {name: value.shape for name, value in model.state_dict().items()} == before


def test_row_order_of_the_input_does_not_matter() -> None:
    model = thin(prior="product").double().eval()
    x = random_tensor(200, 3, dtype=torch.float64)
    rows = torch.randperm(200, generator=torch.Generator().manual_seed(3))
    shuffled = SparseTensor(x.feats[rows], VoxelGrid(x.grid.coords[rows], num_scenes=2))
    torch.testing.assert_close(model(shuffled), model(x)[rows], rtol=1e-9, atol=1e-9)


def test_one_voxel_and_no_voxels_in_eval() -> None:
    model = thin().eval()
    for num_voxels in (0, 1):
        coords = torch.zeros(num_voxels, 4, dtype=torch.int32)
        x = SparseTensor(torch.ones(num_voxels, 3), VoxelGrid(coords))
        assert model(x).shape == (num_voxels, 5)


def test_a_collapsed_stage_is_warned_of_once_asked_and_forgotten() -> None:
    model = build_model("codedvtr_s", 3, 5, depths=[2] * 4, widths=[8] * 4, stem_width=8)
    model.train()
    assert model.warnings() == {}
    x = random_tensor(200, 3)

    def always(entry: int):
        return lambda logits: torch.zeros_like(logits).index_fill(2, torch.tensor([entry]), 1.0)

    # Together the blocks of the stage use two entries, each by itself one.
    for index, block in enumerate(model.codebook_stages()["encoder.1"]):
        block.choice.forward = always(index + 1)
    for _ in range(2):
        model(x)
        model.training_terms(0.5)
    found = model.warnings()
    assert list(found) == ["codebook/encoder.1.blocks.0", "codebook/encoder.1.blocks.1"]
    first, second = found.values()
    assert "0.0 %, 100.0 %, 0.0 %; perplexity 1.00 of 3" in first
    assert "0.0 %, 0.0 %, 100.0 %; perplexity 1.00 of 3" in second
    assert model.warnings() == {}
