"""Loaders: batches of voxelized scenes, read and augmented in worker processes if asked to."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset, Subset

from pointseg import distributed
from pointseg.data import SegBatch, collate
from pointseg.engine.interrupt import WorkersStay
from pointseg.engine.sampler import SceneStream


class SceneSource(Protocol):
    """What loaders need of a dataset: scenes, and an epoch that augmentation depends on."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...

    def set_epoch(self, epoch: int) -> None: ...


class EpochView(Dataset[Any]):
    """A dataset indexed by ``(epoch, scene index)``.

    The epoch travels with the index, so it reaches worker processes that live longer than an epoch.
    """

    def __init__(self, dataset: SceneSource) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> Any:
        epoch, index = key
        self.dataset.set_epoch(epoch)
        return self.dataset[index]


def training_loader(
    dataset: SceneSource,
    batch_size: int,
    seed: int,
    position: int,
    num_workers: int,
    pin_memory: bool = False,
) -> DataLoader[SegBatch]:
    """This rank's endless batches from ``position`` in the stream of training scenes on; see
    :class:`SceneStream`.

    ``pin_memory``: in memory that a GPU copies from by itself, while the host goes on.
    """
    return DataLoader(
        EpochView(dataset),
        batch_sampler=SceneStream(
            len(dataset), batch_size, seed, position, distributed.rank(), distributed.num_ranks()
        ),
        num_workers=num_workers,
        pin_memory=pin_memory,
        collate_fn=collate,
        worker_init_fn=partial(_start_worker, WorkersStay()),
        generator=_own_generator(),
    )


def evaluation_loader(dataset: Dataset[Any], num_workers: int) -> DataLoader[SegBatch]:
    """Every scene once, in order, one a batch, so that memory is that of the largest scene.

    Of R ranks, each has every R-th scene.
    """
    if distributed.num_ranks() > 1:
        own = range(distributed.rank(), len(dataset), distributed.num_ranks())  # type: ignore[arg-type]
        dataset = Subset(dataset, own)
    return DataLoader(
        dataset,
        batch_size=1,
        num_workers=num_workers,
        collate_fn=collate,
        worker_init_fn=WorkersStay(),
        generator=_own_generator(),
    )


def _own_generator() -> torch.Generator:
    """For a loader's own draws: starting one must not move the global random state."""
    return torch.Generator().manual_seed(0)


def _start_worker(stay: WorkersStay, worker_id: int) -> None:
    stay(worker_id)
    # At the turn of an epoch workers are in different epochs, and a dataset may keep its epoch in
    # shared memory: each worker sets the epoch of a copy of its own.
    info = torch.utils.data.get_worker_info()
    assert info is not None
    view = info.dataset
    assert isinstance(view, EpochView)
    view.dataset = copy.deepcopy(view.dataset)
