"""Loading weights: whole, or what fits; what does not fit is listed by name and shape."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pointseg.engine.weights import compare_weights, load_fitting, load_weights
from tests.engine.runs import assert_same_state


def network(num_classes: int = 3, width: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Linear(width, num_classes))


def copy_of(state):
    return {name: value.clone() for name, value in state.items()}


def test_equal_networks_fit_whole():
    first, second = network(), network()
    load_weights(second, first.state_dict(), "it")
    assert_same_state(dict(second.state_dict()), dict(first.state_dict()))
    assert compare_weights(first, second.state_dict()).is_complete


def test_a_refusal_names_all_differences_and_changes_nothing():
    model = network()
    weights = network(num_classes=5).state_dict()
    del weights["0.bias"]
    weights["3.weight"] = torch.zeros(2, 2)
    before = copy_of(model.state_dict())
    with pytest.raises(ValueError) as refused:
        load_weights(model, weights, "best.pt")
    assert str(refused.value).splitlines() == [
        "best.pt was written by another model than the configuration describes "
        "(6 of 9 entries fit, 16 of 35 parameters):",
        "  1 missing in the file: 0.bias",
        "  1 unexpected in the file: 3.weight",
        "  2 of another shape in the file: 2.weight [5, 4], in the model [3, 4], "
        "2.bias [5], in the model [3]",
    ]
    assert_same_state(copy_of(model.state_dict()), before)


def test_long_lists_are_cut_with_a_count():
    model = nn.ModuleList(nn.Linear(1, 1) for _ in range(20))
    (line,) = compare_weights(model, {}).differences(max_listed=2)
    assert line == "40 missing in the file: 0.weight, 0.bias and 38 more"


def test_what_fits_is_loaded_and_the_rest_keeps_its_values():
    model, other = network(), network(num_classes=5)
    before = copy_of(model.state_dict())
    report = load_fitting(model, other.state_dict(), "it")
    assert [entry.name for entry in report.mismatched] == ["2.weight", "2.bias"]
    assert report.mismatched[0].stored == (5, 4) and report.mismatched[0].expected == (3, 4)
    assert not report.missing and not report.unexpected and not report.is_complete
    assert report.num_parameters_loaded == 8 + 4 + 8 and report.num_parameters == 35
    after = model.state_dict()
    for name in report.loaded:
        assert torch.equal(after[name], other.state_dict()[name])
    for entry in report.mismatched:
        assert torch.equal(after[entry.name], before[entry.name])


def test_nothing_that_fits_is_an_error():
    """The counters of batch norm are scalars and fit anything: they do not count."""
    model = network()
    before = copy_of(model.state_dict())
    with pytest.raises(ValueError, match=r"it has no parameter that fits.*\n  .*of another shape"):
        load_fitting(model, network(width=7, num_classes=2).state_dict(), "it")
    assert_same_state(copy_of(model.state_dict()), before)
