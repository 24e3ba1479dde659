"""Batches by size: every scene once an epoch, within the budget, even over ranks, resumable."""

from __future__ import annotations

import logging
from itertools import islice

import numpy as np
import pytest

from pointseg.engine.budget_sampler import (
    BudgetStream,
    LoadBalance,
    deal_out,
    warn_of_large_scenes,
)
from pointseg.engine.sampler import SceneStream, Share
from tests.helpers.properties import given, st

NUM_PASSES = 12

settings_of_streams = {
    "sizes": st.lists(st.integers(0, 30), min_size=1, max_size=9),
    "budget": st.integers(1, 60),
    "batch_size": st.integers(1, 5),
    "seed": st.integers(0, 3),
    "num_ranks": st.integers(1, 4),
}


def passes_of(
    sizes, budget, batch_size, seed, num_ranks, position=0, count=NUM_PASSES
) -> list[list[Share]]:
    """The first passes from ``position`` on, each with the share of every rank."""
    streams = [
        BudgetStream(sizes, budget, batch_size, seed, position, rank, num_ranks)
        for rank in range(num_ranks)
    ]
    shares = (islice(stream.shares(position), count) for stream in streams)
    return [list(of_one_pass) for of_one_pass in zip(*shares, strict=True)]


@given(**settings_of_streams)
def test_every_scene_comes_once_an_epoch_over_all_ranks(sizes, budget, batch_size, seed, num_ranks):
    passes = passes_of(sizes, budget, batch_size, seed, num_ranks)
    seen = [key for shares in passes for share in shares for key in share.scenes]
    assert len(set(seen)) == len(seen) == passes[-1][0].end
    epoch, index = divmod(len(seen), len(sizes))
    whole = [(e, scene) for e in range(epoch) for scene in range(len(sizes))]
    assert sorted(seen)[: len(whole)] == whole
    assert [e for e, _ in sorted(seen)[len(whole) :]] == [epoch] * index


@given(**settings_of_streams)
def test_every_rank_has_a_batch_within_the_budget_in_every_pass(
    sizes, budget, batch_size, seed, num_ranks
):
    for shares in passes_of(sizes, budget, batch_size, seed, num_ranks):
        assert len({(share.end, share.loads) for share in shares}) == 1
        for rank, share in enumerate(shares):
            load = sum(sizes[scene] for _, scene in share.scenes)
            assert share.loads[rank] == load
            assert 1 <= len(share.scenes) <= batch_size
            assert load <= budget or len(share.scenes) == 1


@given(**settings_of_streams, num_done=st.integers(0, NUM_PASSES - 1))
def test_resuming_gives_the_rest_of_the_stream(
    sizes, budget, batch_size, seed, num_ranks, num_done
):
    whole = passes_of(sizes, budget, batch_size, seed, num_ranks)
    position = whole[num_done - 1][0].end if num_done else 0
    rest = passes_of(
        sizes, budget, batch_size, seed, num_ranks, position, count=NUM_PASSES - num_done
    )
    assert rest == whole[num_done:]


@given(
    sizes=st.lists(st.integers(1, 50), min_size=12, max_size=12),
    num_ranks=st.integers(1, 4),
    budget=st.integers(20, 200),
)
def test_the_fullest_rank_is_near_the_best_that_is_possible(sizes, num_ranks, budget):
    """And so not far above what dealing out the same scenes in turn gives."""
    batches = deal_out(sizes, num_ranks, budget, batch_size=12)
    num_taken = sum(map(len, batches))
    loads = [sum(sizes[i] for i in batch) for batch in batches]
    lower_bound = max(max(sizes[:num_taken]), -(-sum(loads) // num_ranks))
    naive = [sum(sizes[:num_taken][rank::num_ranks]) for rank in range(num_ranks)]
    assert lower_bound <= max(loads) <= 4 / 3 * max(naive)
    # A scene more does not fit: all ranks are full but for less than a scene.
    if num_taken < len(sizes) and max(loads) <= budget:
        assert sum(sizes[: num_taken + 1]) > num_ranks * (budget - max(sizes))


def test_no_more_scenes_fit_in_a_batch_of_one_rank():
    """Without ranks it is the longest run of the order that the budget holds."""
    sizes = [4, 9, 3, 7, 20, 1]
    stream = BudgetStream(sizes, budget=12, batch_size=3, seed=1)
    order = [scene for batch in islice(SceneStream(6, 1, seed=1), 60) for _, scene in batch]
    start = 0
    for batch in islice(stream, 15):
        scenes = [scene for _, scene in batch]
        assert scenes == order[start : start + len(scenes)]
        start += len(scenes)
        longer = sum(sizes[scene] for scene in scenes) + sizes[order[start]]
        assert len(scenes) == 3 or longer > 12


def test_without_a_bound_by_points_it_is_the_stream_of_a_fixed_size():
    plain = list(islice(SceneStream(7, 3, seed=2, position=4), 9))
    assert list(islice(BudgetStream([1] * 7, 1000, 3, seed=2, position=4), 9)) == plain


def test_ranks_are_loaded_more_evenly_than_by_number():
    """Sizes as of indoor scans: 8 ranks of 8 scenes each wait for the fullest, by size they do
    not."""
    sizes = np.random.default_rng(0).lognormal(np.log(145_000), 0.6, 400).astype(int).tolist()
    budget = 8 * 175_000
    by_size, by_number = LoadBalance(budget), LoadBalance(budget)
    for share in islice(BudgetStream(sizes, budget, 64, seed=0, num_ranks=8).shares(0), 60):
        by_size.add(share.loads)
    order = SceneStream(len(sizes), 8, seed=0)
    batches = (sum(sizes[scene] for _, scene in batch) for batch in order)
    for _ in range(60):
        by_number.add(tuple(islice(batches, 8)))
    size, number = by_size.take(), by_number.take()
    assert number["load_imbalance"] > 1.25
    assert size["load_imbalance"] < 1.02
    assert size["load_fill"] > 0.95


def test_balance_is_that_of_the_passes_since_the_last_row():
    balance = LoadBalance(100)
    assert balance.take() == {}
    balance.add([80, 40])
    balance.add([60, 60])
    balance.add([])
    assert balance.take() == {"load_imbalance": 140 / 120, "load_fill": 0.6}
    balance.add([50])
    assert balance.take() == {"load_imbalance": 1.0, "load_fill": 0.5}
    balance.add([0])
    assert balance.take() == {"load_imbalance": 1.0, "load_fill": 0.0}


def test_scenes_above_the_budget_are_named_once(caplog):
    caplog.set_level(logging.WARNING)
    warn_of_large_scenes(("a", "b", "c"), [5, 12, 11], 12)
    assert caplog.messages == []
    warn_of_large_scenes(("a", "b", "c"), [5, 12, 11], 10)
    assert len(caplog.messages) == 1
    assert "2 of 3 training scenes have more than train.max_points = 10" in caplog.text
    assert "largest: b, 12 points" in caplog.text and "crop_to_budget" in caplog.text


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"sizes": []}, "no training scenes"),
        ({"sizes": [-1]}, "sizes"),
        ({"budget": 0}, "budget"),
        ({"batch_size": 0}, "batch_size"),
        ({"rank": 2, "num_ranks": 2}, "rank"),
    ],
)
def test_bad_arguments(options, match):
    with pytest.raises(ValueError, match=match):
        BudgetStream(**{"sizes": [1], "budget": 1, "batch_size": 1, "seed": 0, **options})
