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
from pointseg.models import MinkUNet, MinkUNetConfig

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
