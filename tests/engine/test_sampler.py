"""The stream of training scenes: every scene once an epoch, and resumable from any position."""

from __future__ import annotations

from itertools import chain, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointseg.engine.sampler import SceneStream, epoch_order


def entries(stream: SceneStream, count: int) -> list[tuple[int, int]]:
    return list(islice(chain.from_iterable(stream), count))


@given(
    num_scenes=st.integers(1, 9),
    batch_size=st.integers(1, 5),
    seed=st.integers(0, 3),
    start=st.integers(0, 40),
)
def test_resuming_gives_the_rest_of_the_stream(num_scenes, batch_size, seed, start):
    whole = entries(SceneStream(num_scenes, 1, seed), start + 30)
    resumed = entries(SceneStream(num_scenes, batch_size, seed, position=start), 30)
    assert resumed == whole[start:]


@given(num_scenes=st.integers(1, 9), batch_size=st.integers(1, 5))
def test_every_scene_comes_once_an_epoch(num_scenes, batch_size):
    stream = entries(SceneStream(num_scenes, batch_size, seed=5), 3 * num_scenes)
    for epoch in range(3):
        scenes = [scene for e, scene in stream if e == epoch]
        assert sorted(scenes) == list(range(num_scenes))


def test_all_batches_are_full():
    batches = list(islice(SceneStream(5, 3, seed=0), 10))
    assert {len(batch) for batch in batches} == {3}


def test_order_depends_on_seed_and_epoch_only():
    assert (epoch_order(50, 1, 2) == epoch_order(50, 1, 2)).all()
    assert (epoch_order(50, 1, 2) != epoch_order(50, 1, 3)).any()
    assert (epoch_order(50, 1, 2) != epoch_order(50, 2, 2)).any()


@pytest.mark.parametrize(("num_scenes", "batch_size"), [(0, 1), (1, 0)])
def test_bad_sizes(num_scenes, batch_size):
    with pytest.raises(ValueError, match="scenes|batch_size"):
        SceneStream(num_scenes, batch_size, seed=0)
