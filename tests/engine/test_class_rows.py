"""A head for other classes takes over what it knows of each class by name."""

from __future__ import annotations

import pytest
import torch

from pointseg.data import SCANNET20, find_spec
from pointseg.data.s3dis import S3DIS13
from pointseg.engine.class_rows import class_axes, match_classes, take_over_classes
from pointseg.engine.weights import load_fitting, load_weights
from pointseg.models import build_model
from tests.helpers.properties import given, settings, st

TINY = {"depths": [1, 1], "widths": [8, 8], "stem_kernel": 3, "stem_width": 8}


def build(num_classes: int) -> torch.nn.Module:
    return build_model("minkunet", 3, num_classes, **TINY)


def test_the_axes_of_a_network_are_those_of_its_head():
    assert class_axes(build) == {"head.weight": 2, "head.bias": 0}
    assert class_axes(lambda n: torch.nn.Linear(4, n)) == {"weight": 0, "bias": 0}


@pytest.mark.parametrize(
    ("target", "renamed", "expected"),
    [
        (find_spec("scannet200").label_map, {"couch": "sofa"}, {"shower curtain", "couch"}),
        (S3DIS13, {"bookcase": "bookshelf"}, {"wall", "floor", "sofa", "bookcase", "door"}),
    ],
    ids=["scannet200", "s3dis"],
)
def test_rows_of_shared_classes_are_taken_over_and_others_are_fresh(target, renamed, expected):
    torch.manual_seed(0)
    source, model = build(SCANNET20.num_classes), build(target.num_classes)
    torch.nn.init.normal_(source.head.bias)
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    stored = source.state_dict()
    match = match_classes(target.names, SCANNET20.names, renamed)
    weights = take_over_classes(model, stored, class_axes(build), match)
    load_weights(model, weights, "the test")  # everything fits now

    assert torch.equal(model.stem.conv.weight, source.stem.conv.weight)
    known = set()
    for i, name in enumerate(target.names):
        original = renamed.get(name, name)
        if original in SCANNET20.names:
            known.add(name)
            row = SCANNET20.names.index(original)
            assert torch.equal(model.head.weight[0, :, i], stored["head.weight"][0, :, row])
            assert model.head.bias[i] == stored["head.bias"][row]
        else:
            assert torch.equal(model.head.weight[0, :, i], fresh["head.weight"][0, :, i])
    assert expected <= known and len(known) == match.num_known < target.num_classes


def test_equal_numbers_of_classes_do_not_hide_another_order():
    match = match_classes(["floor", "wall"], ["wall", "floor"])
    source, model = build(2), build(2)
    weights = take_over_classes(model, source.state_dict(), class_axes(build), match)
    assert torch.equal(weights["head.weight"], source.head.weight.detach().flip(2))


def test_what_differs_elsewhere_is_left_for_the_loading_to_report():
    wide = build_model("minkunet", 3, 2, **{**TINY, "widths": [8, 16]})
    match = match_classes(["wall", "desk"], ["wall", "floor"])
    model = build(2)
    weights = take_over_classes(model, wide.state_dict(), class_axes(build), match)
    report = load_fitting(model, weights, "the test")
    assert "head.weight" in {entry.name for entry in report.mismatched}
    assert torch.equal(model.head.bias[0], wide.head.bias[0])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1), st.permutations("abcdef"))
def test_every_class_finds_itself_or_nothing(names, stored):
    if set(names).isdisjoint(stored):
        with pytest.raises(ValueError, match="none of the classes"):
            match_classes(names, stored)
        return
    rows = match_classes(names, stored).rows
    assert [None if row is None else stored[row] for row in rows] == [
        name if name in stored else None for name in names
    ]


def test_spelling_and_the_line_that_is_told():
    match = match_classes(
        ["Shower-Curtain", "couch", "lamp"], ["sofa", "shower_curtain"], {"couch": "sofa"}
    )
    assert match.rows == (1, 0, None)
    assert match.headline == (
        "2 of 3 classes taken over: Shower-Curtain, couch (from sofa); fresh: lamp"
    )


@pytest.mark.parametrize(
    ("names", "stored", "renamed", "expected"),
    [
        (["wall"], ["floor"], {}, "none of the classes wall"),
        (["wall"], ["wall"], {"wal": "wall"}, "'wal' is no class of the model.*'wall'"),
        (["wall"], ["wall"], {"wall": "flor"}, "'flor' is no class of the weights"),
        (["wall"], ["a b", "a_b"], {}, "one name in two spellings: a b, a_b"),
    ],
)
def test_mistakes(names, stored, renamed, expected):
    with pytest.raises(ValueError, match=expected):
        match_classes(names, stored, renamed)


def test_another_number_of_rows_is_refused():
    match = match_classes(["wall"], ["wall", "floor", "desk"])
    with pytest.raises(ValueError, match=r"has 2 rows.*3 classes"):
        take_over_classes(build(1), build(2).state_dict(), class_axes(build), match)
