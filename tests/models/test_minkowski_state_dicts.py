"""State dicts to and from MinkowskiEngine's names, without MinkowskiEngine."""

from __future__ import annotations

import pytest
import torch

from pointseg.interop import (
    from_minkowski_state_dict,
    load_minkowski_state_dict,
    minkowski_names,
    to_minkowski_state_dict,
)
from pointseg.models import MinkUNet, MinkUNetConfig, build_model

CONFIG = MinkUNetConfig(
    depths=(1, 2, 1, 1, 1, 1, 1, 1), widths=(4, 8, 8, 8, 8, 8, 4, 4), stem_width=4
)


def model(config: MinkUNetConfig = CONFIG, seed: int = 0, num_classes: int = 5) -> MinkUNet:
    torch.manual_seed(seed)
    return MinkUNet(3, num_classes, config)


def test_names() -> None:
    names = minkowski_names(model())
    assert names["stem.conv.weight"] == "conv0p1s1.kernel"
    assert names["encoder.1.down.norm.bn.running_var"] == "bn2.bn.running_var"
    assert names["encoder.1.blocks.1.conv2.weight"] == "block2.1.conv2.kernel"
    assert names["encoder.1.blocks.0.shortcut.conv.weight"] == "block2.0.downsample.0.kernel"
    assert names["encoder.1.blocks.0.shortcut.norm.bn.bias"] == "block2.0.downsample.1.bn.bias"
    assert names["encoder.3.down.conv.weight"] == "conv4p8s2.kernel"
    assert names["decoder.0.up.weight"] == "convtr4p16s2.kernel"
    assert names["decoder.3.up.weight"] == "convtr7p2s2.kernel"
    assert names["decoder.3.norm.bn.weight"] == "bntr7.bn.weight"
    assert names["decoder.3.blocks.0.norm1.bn.weight"] == "block8.0.norm1.bn.weight"
    assert names["head.bias"] == "final.bias"
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapped", [False, True])
def test_round_trip(block: str, prefix: str, wrapped: bool) -> None:
    config = MinkUNetConfig(depths=(1, 1), widths=(4, 4), block=block, stem_width=4)
    source, target = model(config), model(config, seed=1)
    theirs: dict = {prefix + k: v for k, v in to_minkowski_state_dict(source).items()}
    load_minkowski_state_dict(target, {"state_dict": theirs, "epoch": 3} if wrapped else theirs)
    ours = source.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in target.state_dict().items())


def test_shapes_are_theirs() -> None:
    theirs = to_minkowski_state_dict(model())
    assert theirs["final.kernel"].shape == (4, 5)
    assert theirs["final.bias"].shape == (1, 5)
    assert theirs["block2.0.downsample.0.kernel"].shape == (4, 8)
    assert theirs["conv0p1s1.kernel"].shape == (125, 3, 4)


def test_memory_is_shared() -> None:
    net = model()
    theirs = to_minkowski_state_dict(net)
    back = from_minkowski_state_dict(theirs, net)
    assert back["stem.conv.weight"].data_ptr() == net.stem.conv.weight.data_ptr()


def test_every_problem_is_in_one_error() -> None:
    net = model()
    theirs = to_minkowski_state_dict(net)
    del theirs["bn0.bn.weight"]
    theirs["extra.kernel"] = torch.zeros(1)
    theirs["final.kernel"] = torch.zeros(4, 21)
    theirs["final.bias"] = torch.zeros(1, 21)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match="4 problems") as caught:
        load_minkowski_state_dict(net, theirs)
    message = str(caught.value)
    assert "missing: bn0.bn.weight" in message
    assert "unexpected: extra.kernel" in message
    assert "final.kernel is [4, 21], the model needs [4, 5]" in message
    assert "final.bias is [1, 21], the model needs [1, 5]" in message
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_transposed_kernels_are_refused() -> None:
    net = model()
    theirs = to_minkowski_state_dict(net)
    theirs["final.kernel"] = theirs["final.kernel"].T
    with pytest.raises(ValueError, match=r"final.kernel is \[5, 4\]"):
        load_minkowski_state_dict(net, theirs)


def test_non_tensors_are_refused() -> None:
    with pytest.raises(TypeError, match="'epoch' is a int"):
        from_minkowski_state_dict({"epoch": 3}, model())


CODEDVTR = {
    "depths": [1, 1, 1, 1],
    "widths": [4, 8, 8, 4],
    "stem_width": 4,
    "codebook": {"heads": 4},
}


def codedvtr(seed: int = 0, **codebook: object) -> torch.nn.Module:
    torch.manual_seed(seed)
    options = {**CODEDVTR, "codebook": {"heads": 4, **codebook}}
    return build_model("codedvtr", 3, 5, **options)


def test_names_of_codebook_blocks() -> None:
    names = minkowski_names(codedvtr())
    block = "encoder.1.blocks.0"
    assert names["decoder.0.blocks.0.project.conv.weight"] == "block3.0.linear_top.0.kernel"
    assert names["decoder.0.blocks.0.project.norm.bn.bias"] == "block3.0.linear_top.1.bn.bias"
    assert names["decoder.0.blocks.0.shortcut.weight"] == "block3.0.downsample.kernel"
    assert names[f"{block}.value1.conv.weight"] == "block2.0.v.0.0.kernel"
    assert names[f"{block}.value2.norm.bn.weight"] == "block2.0.v.1.1.bn.weight"
    assert names[f"{block}.queries.2.weight"] == "block2.0.q.2.0.kernel"
    assert names[f"{block}.codebook[27:54]"] == "block2.0.codebook.1.0.kernel"
    assert names[f"{block}.out.conv.weight"] == "block2.0.out_bn_relu.0.kernel"
    assert not [name for name in names if name.endswith("temperature")]


@pytest.mark.parametrize(
    "codebook",
    [
        {},
        {"choice": {"name": "topk", "k": 2}, "prior": "product"},
        {"regions": [{"size": 3, "shape": "cross"}, {"dilation": 2, "taps": [0, 13, 20]}]},
    ],
    ids=["published", "topk", "regions"],
)
def test_round_trip_of_codebooks(codebook: dict) -> None:
    source, target = codedvtr(**codebook), codedvtr(seed=1, **codebook)
    theirs = to_minkowski_state_dict(source)
    load_minkowski_state_dict(target, theirs)
    ours = source.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in target.state_dict().items())


def test_what_a_region_leaves_out_is_written_as_zeros_and_refused_if_it_is_not() -> None:
    model = codedvtr(regions=[{"dilation": 2, "taps": [0, 13, 20]}])
    theirs = to_minkowski_state_dict(model)
    for name, channels in (("codebook.0.0.kernel", (16,)), ("q.0.0.kernel", (8, 4))):
        kernel = theirs[f"block2.0.{name}"]
        assert kernel.shape == (27, *channels)
        taps = kernel.flatten(1).abs().sum(1).nonzero().flatten().tolist()
        assert taps == [0, 13, 20]
    theirs["block2.0.q.0.0.kernel"][5] = 1.0
    with pytest.raises(ValueError, match=r"block2\.0\.q\.0\.0\.kernel is not zero at missing taps"):
        load_minkowski_state_dict(model, theirs)


def test_the_temperature_is_kept() -> None:
    model = codedvtr(temperature={"start": 2.0, "end": 0.5, "shape": "linear"})
    model.set_progress(1.0)
    load_minkowski_state_dict(model, to_minkowski_state_dict(codedvtr()))
    assert float(model.encoder[1].blocks[0].temperature) == 0.5


def test_a_wrong_codebook_is_listed() -> None:
    theirs = to_minkowski_state_dict(codedvtr())
    theirs["block2.0.codebook.1.0.kernel"] = torch.zeros(7, 16)
    del theirs["block2.0.q.2.0.kernel"]
    with pytest.raises(ValueError) as error:
        load_minkowski_state_dict(codedvtr(), theirs)
    assert "codebook.1.0.kernel is [7, 16], the model needs [27, 16]" in str(error.value)
    assert "missing: block2.0.q.2.0.kernel" in str(error.value)


@pytest.mark.parametrize(
    ("codebook", "name"),
    [
        ({"query": "dot"}, "queries"),
        ({"choice": "vq", "query": "none"}, "choice"),
        ({"prior": "learned"}, "prior.weight"),
    ],
)
def test_what_was_never_published_is_named(codebook: dict, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}.* has no counterpart in the published network"):
        to_minkowski_state_dict(codedvtr(**codebook))


def test_spvcnn_is_refused() -> None:
    model = build_model("spvcnn", 3, 5, depths=[1] * 4, widths=[4] * 4, blocks=["basic"] * 4)
    with pytest.raises(ValueError, match="SPVCNN has no published network"):
        minkowski_names(model)
