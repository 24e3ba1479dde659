"""The stream of training scenes: every scene once an epoch, and resumable from any position."""

from __future__ import annotations

from itertools import chain, islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from pointseg.engine.sampler import EpochView, SceneStream, epoch_order, loader_generator


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


class Recorder:
    """A dataset whose items say which epoch and index they were asked for."""

    epoch = -1

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[int, int]:
        return self.epoch, index

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_epoch_reaches_the_dataset_in_every_worker(num_workers):
    loader = DataLoader(
        EpochView(Recorder()),
        batch_sampler=SceneStream(3, 2, seed=4, position=1),
        num_workers=num_workers,
        collate_fn=list,
        generator=loader_generator(),
    )
    got = list(chain.from_iterable(islice(loader, 4)))
    assert got == entries(SceneStream(3, 1, seed=4, position=1), 8)


def test_starting_a_loader_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    loader = DataLoader(EpochView(Recorder()), sampler=[(0, 0)], generator=loader_generator())
    next(iter(loader))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("num_scenes", "batch_size"), [(0, 1), (1, 0)])
def test_bad_sizes(num_scenes, batch_size):
    with pytest.raises(ValueError, match="scenes|batch_size"):
        SceneStream(num_scenes, batch_size, seed=0)
