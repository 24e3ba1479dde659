"""Schedules against closed forms and against torch's own one-cycle schedule."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pointseg.engine.schedules import ScheduleConfig, learning_rate_factor

STEPS = 40


def factors(num_steps: int = STEPS, **options: object) -> list[float]:
    config = ScheduleConfig(**options)  # type: ignore[arg-type]
    return [learning_rate_factor(config, step, num_steps) for step in range(num_steps)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"name": "constant"}, lambda t: 1.0),
        ({"name": "poly", "power": 0.9}, lambda t: (1 - t) ** 0.9),
        ({"name": "squared"}, lambda t: (1 - t) ** 2),
        ({"name": "cosine"}, lambda t: (1 + math.cos(math.pi * t)) / 2),
        (
            {"name": "cosine", "end_factor": 0.1},
            lambda t: 0.1 + 0.9 * (1 + math.cos(math.pi * t)) / 2,
        ),
    ],
)
def test_closed_forms(options, expected):
    got = factors(**options)
    assert got == pytest.approx([expected(step / STEPS) for step in range(STEPS)], abs=1e-12)


def test_warm_up_is_linear_and_the_shape_follows_over_the_remaining_steps():
    got = factors(name="poly", power=0.9, warmup_steps=8, warmup_factor=0.2)
    assert got[:8] == pytest.approx([0.2 + 0.8 * step / 8 for step in range(8)], abs=1e-12)
    rest = STEPS - 8
    assert got[8:] == pytest.approx([(1 - s / rest) ** 0.9 for s in range(rest)], abs=1e-12)


@pytest.mark.parametrize(("rise", "num_steps"), [(0.3, 40), (0.1, 100), (0.5, 7)])
def test_one_cycle_equals_torch(rise, num_steps):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=num_steps, pct_start=rise, cycle_momentum=False
    )
    expected = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # stepping the schedule without the optimiser
        for _ in range(num_steps):
            expected.append(optimizer.param_groups[0]["lr"])
            if len(expected) < num_steps:
                reference.step()
    got = factors(
        num_steps,
        name="one_cycle",
        rise_fraction=rise,
        start_factor=1 / 25,
        end_factor=1 / 25e4,
    )
    assert got == pytest.approx(expected, abs=1e-12)


def test_warmup_steps_are_the_rise_of_one_cycle():
    got = factors(name="one_cycle", warmup_steps=10)
    assert got.index(max(got)) == 10
    assert got[10] == 1.0
    assert got[0] == pytest.approx(0.04)
    assert got[-1] == pytest.approx(0.0, abs=1e-12)


@given(
    name=st.sampled_from(["constant", "poly", "squared", "cosine", "one_cycle"]),
    num_steps=st.integers(1, 50),
    warmup=st.integers(0, 60),
    step=st.integers(0, 80),
)
def test_factors_stay_between_zero_and_one(name, num_steps, warmup, step):
    config = ScheduleConfig(name=name, warmup_steps=warmup)
    factor = learning_rate_factor(config, step, num_steps)
    assert 0.0 <= factor <= 1.0


def test_after_the_end_the_last_value_stays():
    config = ScheduleConfig(name="poly")
    last = learning_rate_factor(config, STEPS - 1, STEPS)
    assert learning_rate_factor(config, STEPS + 5, STEPS) == last
    assert last > 0.0  # the last step still trains


@pytest.mark.parametrize(("step", "num_steps"), [(-1, 10), (0, 0)])
def test_bad_arguments(step, num_steps):
    with pytest.raises(ValueError, match="step"):
        learning_rate_factor(ScheduleConfig(), step, num_steps)


@pytest.mark.parametrize("options", [{"warmup_steps": -1}, {"rise_fraction": 1.0}])
def test_bad_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ScheduleConfig(**options)
