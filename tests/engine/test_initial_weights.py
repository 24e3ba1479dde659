"""A run that begins with the weights of another one, of the same or of other classes."""

from __future__ import annotations

import pytest
import torch

from pointseg.cli.train import main
from pointseg.data import SCANNET20
from pointseg.data.s3dis import S3DIS13
from pointseg.engine.checkpoint import load_checkpoint
from pointseg.engine.checkpoint_folder import find_checkpoint
from pointseg.experiment import build_model, fingerprint, load_config
from pointseg.initial_weights import InitialWeights
from tests.engine.test_resume import train


@pytest.fixture
def source(tiny_config, tmp_path):
    run = tmp_path / "source"
    train("--config", tiny_config, "--set", "train.steps=1", "--output", run)
    return run


def load_into_s3dis(source, tiny_config, **options):
    """A model of other classes with the weights of ``source``, and what is told."""
    config = load_config(tiny_config)
    torch.manual_seed(4)
    model = build_model(config, S3DIS13)
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    lines = InitialWeights(source, **options).load(model, fingerprint(config, S3DIS13))
    return model, fresh, lines


def test_classes_of_the_same_name_are_taken_over(source, tiny_config):
    renamed = {"bookcase": "bookshelf"}
    model, fresh, lines = load_into_s3dis(source, tiny_config, renamed_classes=renamed)
    stored = load_checkpoint(find_checkpoint(source)).model
    assert torch.equal(model.stem.conv.weight, stored["stem.conv.weight"])
    for i, name in enumerate(S3DIS13.names):
        original = renamed.get(name, name)
        row = SCANNET20.names.index(original) if original in SCANNET20.names else None
        bias = fresh["head.bias"][i] if row is None else stored["head.bias"][row]
        assert model.head.bias[i] == bias
    assert "8 of 13 classes taken over: floor, wall, window, door" in lines[1]
    assert "bookcase (from bookshelf)" in lines[1] and "fresh: ceiling, beam" in lines[1]


def test_other_classes_are_refused_unless_it_is_said_what_to_do(source, tiny_config):
    with pytest.raises(ValueError, match="classes: 20 in the checkpoint, 13 now"):
        load_into_s3dis(source, tiny_config)
    model, fresh, lines = load_into_s3dis(source, tiny_config, partial=True)
    assert torch.equal(model.head.bias, fresh["head.bias"])
    assert any("head.bias [20], in the model [13]" in line for line in lines)


def test_the_command_says_what_it_took_over(source, tiny_config, tmp_path, capsys):
    arguments = ["--config", str(tiny_config), "--init-from", str(source), "--match-classes"]
    once = ("--set", "train.steps=1", "--set", "train.evaluate_every=0")
    train(*arguments, "chair=table", *once, "--output", tmp_path / "run")
    assert "20 of 20 classes taken over" in capsys.readouterr().out
    for wrong, expected in (
        (["chair"], "expected CLASS=STORED"),
        (["stool=chair"], "'stool' is no class of the model"),
    ):
        assert main([*arguments, *wrong, *once, "--output", str(tmp_path / "wrong")]) == 2
        assert expected in capsys.readouterr().err
    assert not (tmp_path / "wrong").exists()
    assert main(["--config", str(tiny_config), "--match-classes"]) == 2
    assert "--match-classes says how --init-from loads" in capsys.readouterr().err
